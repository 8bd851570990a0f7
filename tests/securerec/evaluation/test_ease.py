import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securerec.data.interactions import Interactions
from securerec.evaluation import ease
from securerec.evaluation.ease import ease_scorer, ease_weights, recency_matrix


def random_lists(rng, n_users=40, n_items=15):
    return Interactions.from_lists([rng.permutation(n_items)[: rng.integers(1, 9)] for _ in range(n_users)], n_items)


def dense(interactions):
    seen = np.zeros((interactions.n_users, interactions.n_items))
    for user in range(interactions.n_users):
        seen[user, interactions.of(user)] = 1
    return seen


def test_each_column_is_the_ridge_regression_of_its_item_on_the_others():
    """The definition, item by item, without the closed form's inverse."""
    train = random_lists(np.random.default_rng(0))
    seen, weights = dense(train), ease_weights(train, reg=3.0)
    assert weights.dtype == np.float32
    for item in range(train.n_items):
        others = np.delete(np.arange(train.n_items), item)
        left = np.vstack([seen[:, others], np.sqrt(3.0) * np.eye(len(others))])
        right = np.concatenate([seen[:, item], np.zeros(len(others))])
        assert np.allclose(weights[others, item], np.linalg.lstsq(left, right, rcond=None)[0], atol=1e-6)
        assert weights[item, item] == 0


@given(st.integers(0, 2**32 - 1), st.floats(0, 3))
def test_scores_are_the_weighted_sum_over_a_users_list_from_the_newest(seed, exponent):
    rng = np.random.default_rng(seed)
    history = random_lists(rng, n_users=5)
    weights = rng.normal(size=(15, 15)).astype(np.float32)
    scores = ease_scorer(weights, history, exponent=exponent)(np.array([3, 0, 4]))
    for row, user in enumerate((3, 0, 4)):
        newest_first = history.of(user)[::-1]
        expected = sum((1 + k) ** -exponent * weights[item] for k, item in enumerate(newest_first))
        assert np.allclose(scores[row], expected, atol=1e-4)


def test_without_recency_every_item_counts_the_same():
    history = random_lists(np.random.default_rng(1))
    assert np.array_equal(recency_matrix(history, 0.0).toarray(), dense(history))


def test_an_item_that_comes_twice_counts_where_it_is_newest():
    history = Interactions.from_lists([[2, 0, 1, 0], [], [1, 1, 1]], 3)
    assert np.allclose(recency_matrix(history, 1.0).toarray(), [[1, 1 / 2, 1 / 3], [0, 0, 0], [0, 1, 0]])
    once = Interactions.from_lists([[2, 1, 0], [], [1]], 3)
    assert np.array_equal(ease_weights(history, reg=1.0), ease_weights(once, reg=1.0))


def test_users_without_items_score_zero_everywhere():
    history = Interactions.from_lists([[], [0, 1], []], 3)
    scores = ease_scorer(ease_weights(history, reg=1.0), history, exponent=0.5)(np.array([0, 1, 2]))
    assert not scores[[0, 2]].any() and scores[1].any()
    empty = Interactions.from_lists([[], []], 3)
    assert not ease_weights(empty, reg=1.0).any() and recency_matrix(empty, 1.0).nnz == 0


def test_recency_tells_which_of_two_tastes_comes_next():
    """Even items go together, so do odd ones; each user changes from one kind to the other."""
    rng = np.random.default_rng(2)
    even, odd = np.arange(0, 20, 2), np.arange(1, 20, 2)
    lists = [[*rng.permutation(even)[:6], *rng.permutation(odd)[:6]] for _ in range(30)]
    lists += [rng.permutation(kind)[:6] for kind in (even, odd) for _ in range(30)]
    train = Interactions.from_lists(lists, 20)
    weights = ease_weights(train, reg=5.0)
    ahead = {}
    for exponent in (0.0, 1.0):
        scores = ease_scorer(weights, train, exponent=exponent)(np.arange(30))
        ahead[exponent] = (scores[:, odd] - scores[:, even]).mean()
    assert ahead[1.0] > 5 * abs(ahead[0.0])


@pytest.mark.parametrize("reg", [0.0, -1.0, np.nan])
def test_a_penalty_that_cannot_be_inverted_is_refused(reg):
    with pytest.raises(ValueError, match="reg > 0"):
        ease_weights(random_lists(np.random.default_rng(0)), reg=reg)


def test_a_catalogue_beyond_the_memory_bound_is_refused(monkeypatch):
    monkeypatch.setattr(ease, "MOST_ITEMS", 14)
    with pytest.raises(ValueError, match="15 items on each side; at most 14"):
        ease_weights(random_lists(np.random.default_rng(0)), reg=1.0)


def test_weights_of_another_catalogue_and_strange_exponents_are_refused():
    history = random_lists(np.random.default_rng(0))
    with pytest.raises(ValueError, match="do not fit 15 items"):
        ease_scorer(np.zeros((14, 14), np.float32), history)
    for exponent in (-0.1, np.inf, np.nan):
        with pytest.raises(ValueError, match="recency exponent"):
            ease_scorer(np.zeros((15, 15), np.float32), history, exponent=exponent)
