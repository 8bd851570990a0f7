import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks import scoring
from attacks.errors import AttackError, ViewError
from attacks.registry import Attack, ItemScores
from attacks.views import DenseUploads, OpenedSum, Truth, UploadView


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
    assert scoring.auc(*case) == pytest.approx(slow_auc(*case))


@given(labelled(), st.sampled_from([0.01, 0.1, 0.5]))
def test_tpr_equals_the_roc_curve_read_point_by_point(case, fpr):
    assert scoring.tpr_at_fpr(*case, fpr) == pytest.approx(slow_roc(*case, fpr))


@given(labelled())
def test_constant_scores_are_chance(case):
    _, positives = case
    constant = np.zeros(len(positives))
    assert scoring.auc(constant, positives) == scoring.CHANCE_AUC
    assert scoring.tpr_at_fpr(constant, positives, 0.01) == pytest.approx(scoring.CHANCE_TPR)


def test_f1_of_a_known_case():
    predicted, positives = np.array([1, 1, 0, 0], dtype=bool), np.array([1, 0, 1, 1], dtype=bool)
    assert scoring.f1(predicted, positives) == pytest.approx(2 * 0.5 * (1 / 3) / (0.5 + 1 / 3))
    assert scoring.f1(np.zeros(4, dtype=bool), positives) == 0


def test_bootstrap_bounds_cover_the_true_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(200):
        low, high = scoring.bootstrap_bounds(rng.exponential(1.0, (80, 1)), rng)
        covered.append(low[0] <= 1.0 <= high[0])
    assert 0.88 <= np.mean(covered) <= 0.99


def test_bootstrap_is_that_of_its_generator_and_one_client_bounds_nothing():
    values = np.random.default_rng(0).random((30, 2))
    first, again = (scoring.bootstrap_bounds(values, np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(first, again)
    low, high = scoring.bootstrap_bounds(values[:1], np.random.default_rng(1))
    assert np.all(np.isneginf(low)) and np.all(np.isposinf(high))


N = 8
TRUTH = Truth.from_lists(N, np.array([4, 7, 9]), [np.array([0, 1]), np.array([5]), np.array([], dtype=np.int32)])


def view_of(clients, kind="unprotected_upload"):
    table, popularity = np.zeros((N, 2), dtype=np.float32), np.arange(N, dtype=np.int64)
    clients = np.array(clients)
    if kind == "opened_sum":
        return UploadView(kind, 1, table, popularity, 10, OpenedSum(clients, table))
    return UploadView(kind, 1, table, popularity, 10, DenseUploads(clients, np.zeros((len(clients), N, 2), np.float32)))


def attack_with(scores, name="fixed", kinds=("unprotected_upload", "opened_sum")):
    scores = np.array(scores, dtype=np.float32)
    return Attack(name, kinds, "", "", "", lambda view: ItemScores(scores, scores > 0))


def run(view, attack, popularity=None):
    return scoring.run_attacks([view], TRUTH, popularity, np.random.default_rng(0), [attack])


def test_each_clients_row_is_held_against_its_own_truth():
    row = np.zeros((2, N))
    row[0, [0, 1]] = row[1, 5] = 1
    assert run(view_of([4, 7]), attack_with(row))[0].auc == 1.0
    assert run(view_of([7, 4]), attack_with(row))[0].auc < 0.5


def test_scores_of_a_sum_are_held_against_every_client_in_it():
    row = np.zeros((1, N))
    row[0, 5] = 1
    (finding,) = run(view_of([4, 7], "opened_sum"), attack_with(row))
    assert finding.n == 2
    assert finding.auc == pytest.approx((1.0 + (5 / 6) / 2) / 2)


def test_controls_stand_beside_the_attack_and_the_advantage_is_their_difference():
    popularity = np.zeros(N)
    popularity[5] = 1
    (finding,) = run(view_of([4, 7]), attack_with(np.zeros((2, N))), popularity)
    assert finding.auc == 0.5
    assert finding.popularity_auc == pytest.approx((5 / 12 + 1) / 2)
    assert finding.advantage == pytest.approx(finding.auc - finding.popularity_auc)
    assert finding.low <= finding.auc <= finding.high
    assert finding.advantage_low <= finding.advantage <= finding.advantage_high
    assert {"attack", "view", "auc", "low", "high", "popularity_auc", "n"} <= finding.to_json().keys()


def test_client_without_items_is_left_out_and_a_view_of_only_such_clients_is_refused():
    assert run(view_of([4, 9]), attack_with(np.zeros((2, N))))[0].n == 1
    with pytest.raises(AttackError, match="nothing to score"):
        run(view_of([9]), attack_with(np.zeros((1, N))))


def test_attack_runs_only_on_the_kinds_it_names():
    assert run(view_of([4, 7]), attack_with(np.zeros((2, N)), kinds=("opened_sum",))) == []


def test_answer_of_the_wrong_shape_or_not_finite_is_refused():
    with pytest.raises(AttackError, match="the view asks for"):
        run(view_of([4, 7]), attack_with(np.zeros((1, N))))
    with pytest.raises(AttackError, match="not finite"):
        run(view_of([4, 7]), attack_with(np.full((2, N), np.nan)))


def test_truth_of_another_run_is_refused():
    with pytest.raises(ViewError, match="no client 5"):
        run(view_of([5]), attack_with(np.zeros((1, N))))
    with pytest.raises(AttackError, match="not of one run"):
        other = Truth.from_lists(3, np.array([4]), [np.array([1])])
        scoring.run_attacks([view_of([4])], other, None, np.random.default_rng(0), [attack_with(np.zeros((1, N)))])
