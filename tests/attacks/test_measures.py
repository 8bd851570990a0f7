import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks import measures


def slow_auc(scores, positives):
    """Every pair of a positive and a negative."""
    pairs = [(own > other) + (own == other) / 2 for own in scores[positives] for other in scores[~positives]]
    return np.mean(pairs)


def slow_roc(scores, positives, fpr):
    """The ROC curve point by point, then a straight line between its points."""
    points = [(0.0, 0.0)]
    for threshold in sorted(set(scores.tolist()), reverse=True):
        called = scores >= threshold
        points.append((np.mean(called[~positives]), np.mean(called[positives])))
    xs, ys = np.array(points).T
    after = np.flatnonzero(xs > fpr)[0]
    share = (fpr - xs[after - 1]) / (xs[after] - xs[after - 1])
    return ys[after - 1] + share * (ys[after] - ys[after - 1])


@st.composite
def labelled(draw):
    n = draw(st.integers(2, 60))
    positives = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    positives[0], positives[-1] = True, False
    return np.array(draw(st.lists(st.integers(0, 8), min_size=n, max_size=n)), dtype=np.float32), positives


@given(labelled())
def test_auc_equals_the_count_over_all_pairs(case):
    assert measures.auc(*case) == pytest.approx(slow_auc(*case))


@given(labelled(), st.sampled_from([0.01, 0.1, 0.5]))
def test_tpr_equals_the_roc_curve_read_point_by_point(case, fpr):
    assert measures.tpr_at_fpr(*case, fpr) == pytest.approx(slow_roc(*case, fpr))


@given(labelled())
def test_constant_scores_are_chance(case):
    _, positives = case
    constant = np.zeros(len(positives))
    assert measures.auc(constant, positives) == measures.CHANCE_AUC
    assert measures.tpr_at_fpr(constant, positives, 0.01) == pytest.approx(measures.CHANCE_TPR)


def test_f1_of_a_known_case():
    predicted, positives = np.array([1, 1, 0, 0], dtype=bool), np.array([1, 0, 1, 1], dtype=bool)
    assert measures.f1(predicted, positives) == pytest.approx(2 * 0.5 * (1 / 3) / (0.5 + 1 / 3))
    assert measures.f1(np.zeros(4, dtype=bool), positives) == 0


def test_bootstrap_bounds_cover_the_true_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(200):
        low, high = measures.bootstrap_bounds(rng.exponential(1.0, (80, 1)), rng)
        covered.append(low[0] <= 1.0 <= high[0])
    assert 0.88 <= np.mean(covered) <= 0.99


def test_bootstrap_is_that_of_its_generator_and_one_client_bounds_nothing():
    values = np.random.default_rng(0).random((30, 2))
    first, again = (measures.bootstrap_bounds(values, np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(first, again)
    low, high = measures.bootstrap_bounds(values[:1], np.random.default_rng(1))
    assert np.all(np.isneginf(low)) and np.all(np.isposinf(high))


def test_estimates_are_the_columns_means_within_their_bounds():
    values = np.random.default_rng(0).random((40, 3))
    estimates = measures.estimates(values, np.random.default_rng(1))
    low, high = measures.bootstrap_bounds(values, np.random.default_rng(1))
    assert [each.mean for each in estimates] == pytest.approx(values.mean(axis=0))
    assert [(each.low, each.high) for each in estimates] == list(zip(low, high, strict=True))
