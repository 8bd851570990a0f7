import numpy as np
import pytest

from securerec.data.interactions import Interactions
from securerec.evaluation.baselines import (
    damped_popularity_scorer,
    factor_scorer,
    half_step,
    ials_factors,
    ials_scorer,
    popularity_scorer,
)


def two_tastes(rng, n_users=60, n_items=40, each=10):
    """Even users like the first half of the catalogue, odd users the second."""
    halves = [np.arange(n_items // 2), np.arange(n_items // 2, n_items)]
    return Interactions.from_lists([rng.permutation(halves[user % 2])[:each] for user in range(n_users)], n_items)


def objective(train, users, items, alpha, reg):
    """Hu, Koren and Volinsky's equation 3, cell by cell of the dense matrix."""
    had = np.zeros((train.n_users, train.n_items))
    for user in range(train.n_users):
        had[user, train.of(user)] = 1
    errors = (1 + alpha * had) * (had - users @ items.T) ** 2
    return errors.sum() + reg * ((users**2).sum() + (items**2).sum())


def test_half_step_equals_dense_weighted_least_squares_for_each_user():
    rng = np.random.default_rng(0)
    train = two_tastes(rng)
    items = rng.normal(size=(40, 5))
    fast = half_step(train.offsets, train.items, items, alpha=5.0, reg=0.7)
    for user in (0, 1, 59):
        had = np.zeros(40)
        had[train.of(user)] = 1
        root = np.sqrt(1 + 5.0 * had)[:, None]
        left = np.vstack([root * items, np.sqrt(0.7) * np.eye(5)])
        right = np.concatenate([root[:, 0] * had, np.zeros(5)])
        assert np.allclose(fast[user], np.linalg.lstsq(left, right, rcond=None)[0])


def test_each_iteration_lowers_the_objective():
    train = two_tastes(np.random.default_rng(0))
    values = []
    for iterations in (1, 2, 4, 8):
        users, items = ials_factors(
            train, dim=4, alpha=5.0, reg=1.0, iterations=iterations, rng=np.random.default_rng(1)
        )
        values.append(objective(train, users, items, 5.0, 1.0))
    assert values == sorted(values, reverse=True) and values[-1] < values[0]


def test_ials_ranks_unseen_items_of_a_users_own_taste_first():
    train = two_tastes(np.random.default_rng(0))
    scores = ials_scorer(train, dim=2, reg=5.0, rng=np.random.default_rng(1))(np.arange(60))
    for user in range(60):
        unseen = np.setdiff1d(np.arange(40), train.of(user))
        own = (unseen < 20) == (user % 2 == 0)
        assert scores[user, unseen[own]].min() > scores[user, unseen[~own]].max()


def test_ials_is_deterministic_in_its_generator_and_gives_float32():
    train = two_tastes(np.random.default_rng(0))
    first, again = (ials_scorer(train, dim=4, rng=np.random.default_rng(2))(np.arange(3)) for _ in range(2))
    assert np.array_equal(first, again) and first.dtype == np.float32


def test_more_rows_than_one_batch_solve_alike(monkeypatch):
    rng = np.random.default_rng(0)
    train, items = two_tastes(rng), rng.normal(size=(40, 5))
    whole = half_step(train.offsets, train.items, items, alpha=1.0, reg=1.0)
    monkeypatch.setattr("securerec.evaluation.baselines._SYSTEMS_AT_ONCE", 7)
    assert np.allclose(whole, half_step(train.offsets, train.items, items, alpha=1.0, reg=1.0))


def test_user_and_item_without_interactions_get_zero_factors():
    train = Interactions.from_lists([[0, 1], [], [1]], 4)
    users, items = ials_factors(train, dim=2, alpha=5.0, reg=1.0, iterations=3, rng=np.random.default_rng(0))
    assert np.all(users[1] == 0) and np.all(items[2:] == 0) and np.any(users[0] != 0)


def test_repeated_interactions_count_once():
    once, twice = Interactions.from_lists([[0, 1], [1, 2]], 3), Interactions.from_lists([[0, 1, 0], [1, 2, 2]], 3)
    scores = [ials_scorer(train, dim=2, rng=np.random.default_rng(0))(np.arange(2)) for train in (once, twice)]
    assert np.array_equal(*scores)


def test_popularity_counts_users_of_each_item_for_everybody_alike():
    scores = popularity_scorer(Interactions.from_lists([[0, 1], [1], [1, 2]], 4))(np.array([0, 2]))
    assert scores.tolist() == [[1, 3, 1, 0]] * 2


def test_damped_popularity_adds_up_lists_of_norm_one():
    lists = [[0, 1, 0], [1], [1, 2, 3, 0]]
    unit = np.zeros((3, 5))
    for user, items in enumerate(lists):
        unit[user, items] = 1
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    scores = damped_popularity_scorer(Interactions.from_lists(lists, 5))(np.array([0, 2]))
    assert np.allclose(scores, unit.sum(axis=0)) and scores.dtype == np.float32


def test_factors_of_different_dimension_are_refused():
    with pytest.raises(ValueError, match="share their dimension"):
        factor_scorer(np.zeros((2, 3)), np.zeros((4, 2)))


@pytest.mark.parametrize("wrong", [{"dim": 0}, {"reg": 0.0}, {"iterations": 0}, {"alpha": -1.0}])
def test_sizes_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="iALS needs"):
        ials_scorer(two_tastes(np.random.default_rng(0)), rng=np.random.default_rng(0), **wrong)
