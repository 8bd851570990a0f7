import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_auc_score

from attacks.goals.classifier import components, folds, macro_auc, macro_f1, out_of_fold
from attacks.goals.resampling import interval, resamples, weighted_auc
from attacks.measures import auc


@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.booleans())
def test_weighted_auc_is_the_auc_of_clients_repeated(seed, n, ties):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, n).astype(float) if ties else rng.normal(size=n)
    positives, weights = rng.random(n) < 0.5, rng.integers(0, 4, (5, n)).astype(float)
    for weight, found in zip(weights, weighted_auc(scores, positives, weights), strict=True):
        again = np.repeat(np.arange(n), weight.astype(int))
        own = positives[again]
        assert np.isnan(found) if own.all() or not own.any() else found == pytest.approx(auc(scores[again], own))


@pytest.mark.parametrize("n_classes", [2, 4])
def test_macro_measures_are_those_of_scikit_learn(n_classes):
    rng = np.random.default_rng(0)
    codes, scores, ones = np.arange(80) % n_classes, rng.normal(size=(80, n_classes)), np.ones((1, 80))
    member = codes[:, None] == np.arange(n_classes)
    expected = np.mean([roc_auc_score(member[:, c], scores[:, c]) for c in ([1] if n_classes == 2 else range(4))])
    assert macro_auc(scores, codes, ones)[0] == pytest.approx(expected)
    assert macro_f1(scores, codes, ones)[0] == pytest.approx(f1_score(codes, scores.argmax(axis=1), average="macro"))


def test_a_client_is_read_by_models_that_never_saw_its_label():
    rng = np.random.default_rng(1)
    parts, codes = rng.normal(size=(60, 5)), rng.integers(0, 2, 60)
    fold = folds(codes, rng)
    before = out_of_fold(parts, codes, fold)
    for number in range(5):
        turned = np.where(fold == number, 1 - codes, codes)
        assert np.array_equal(out_of_fold(parts, turned, fold)[fold == number], before[fold == number])


def test_each_class_is_spread_over_the_folds():
    codes = np.repeat([0, 1, 2], [10, 25, 40])
    fold = folds(codes, np.random.default_rng(2))
    for code in range(3):
        assert np.ptp(np.bincount(fold[codes == code], minlength=5)) <= 1


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_planted_difference_is_learnt_and_labels_by_lot_are_not(n_classes):
    rng = np.random.default_rng(3)
    codes = rng.integers(0, n_classes, 150)
    features = rng.normal(size=(150, 200))
    features[:, : 20 * n_classes] += np.repeat(codes[:, None] == np.arange(n_classes), 20, axis=1)
    parts, weights = components(features, rng), resamples(150, rng)
    fold = folds(codes, rng)
    assert interval(macro_auc(out_of_fold(parts, codes, fold), codes, weights)).low > 0.8
    lot = [rng.permutation(codes) for _ in range(10)]
    by_lot = [macro_auc(out_of_fold(parts, each, folds(each, rng)), each, np.ones((1, 150)))[0] for each in lot]
    assert abs(np.mean(by_lot) - 0.5) < 0.06


def test_features_that_do_not_vary_are_a_coin():
    rng = np.random.default_rng(4)
    codes, parts = np.arange(40) % 2, components(np.full((40, 300), 0.3, np.float32), rng)
    assert macro_auc(out_of_fold(parts, codes, folds(codes, rng)), codes, np.ones((1, 40)))[0] == 0.5


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e30])
def test_components_have_one_unit_whatever_the_features(scale):
    features = np.random.default_rng(5).normal(size=(50, 20))
    found = components(features * scale, np.random.default_rng(6))
    assert found.std() == pytest.approx(1) and found.shape == (50, 20)
    assert np.allclose(found, components(features, np.random.default_rng(6)), atol=1e-6)


def test_resamples_begin_with_everybody_once():
    weights = resamples(30, np.random.default_rng(7))
    assert np.all(weights[0] == 1) and np.all(weights.sum(axis=1) == 30) and len(np.unique(weights, axis=0)) > 900


def test_interval_passes_over_resamples_without_a_figure():
    values = np.concatenate([[0.7], np.linspace(0, 1, 999), [np.nan]])
    found = interval(values)
    assert found.mean == 0.7 and found.low == pytest.approx(0.025) and found.high == pytest.approx(0.975)
