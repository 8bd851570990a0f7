import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.models import head as module
from securerec.models.head import (
    Head,
    Heads,
    PublicFeatures,
    calibrated_biases,
    fit_tastes,
    make_head,
    public_features,
    weights_by_recency,
)

N_ITEMS = 40


def a_head(seed: int, d: int = 4) -> Head:
    rng = np.random.default_rng(seed)
    values = (rng.random((N_ITEMS, d)) < 0.4).astype(np.float32)
    return make_head(PublicFeatures(values, rng.uniform(2, 9, d)), rng.gamma(1.0, 8.0, N_ITEMS) + 3)


def some_lists(seed: int, n_users: int = 6) -> Interactions:
    rng = np.random.default_rng(seed)
    lists = [rng.permutation(N_ITEMS)[: rng.integers(0, 30)].tolist() for _ in range(n_users)]
    return Interactions.from_lists(lists, N_ITEMS)


def posterior(head: Head, items: np.ndarray, recency: float, added: np.ndarray) -> scipy.optimize.OptimizeResult:
    """The best taste by a general optimiser, from the definition, in float64."""
    n = len(items)
    weights = np.array([(1.0 + n - 1 - place) ** -recency for place in range(n)])
    weights *= module.MASS * np.sqrt(n) / weights.sum()

    def loss(taste: np.ndarray) -> float:
        scores = head.base.astype(float) + head.directions.astype(float) @ taste + added
        return float(-weights @ scores[items] + weights.sum() * np.logaddexp.reduce(scores) + taste @ taste / 2)

    return scipy.optimize.minimize(loss, np.zeros(head.directions.shape[1]), method="BFGS")


@given(seed=st.integers(0, 2**16), recency=st.sampled_from([0.0, 0.8, 2.0]), dim=st.sampled_from([0, 3]))
def test_tastes_are_the_maximum_a_posteriori(seed: int, recency: float, dim: int) -> None:
    head, lists, rng = a_head(seed), some_lists(seed), np.random.default_rng(seed)
    weights, table = (0.5 * rng.normal(size=(n, dim)).astype(np.float32) for n in (lists.n_users, N_ITEMS))
    tastes = fit_tastes(head, lists, recency=recency, weights=weights, table=table)
    for user in range(lists.n_users):
        if len(lists.of(user)) == 0:
            assert not tastes[user].any()
            continue
        best = posterior(head, lists.of(user), recency, table @ weights[user])
        # a dozen steps come near; what is left is far below the prior's width of 1
        np.testing.assert_allclose(tastes[user], best.x, atol=0.08 * max(1.0, np.abs(best.x).max()))


@given(seed=st.integers(0, 2**16), n_users=st.sampled_from([1, 2, 63, 64, 65, 150]), dim=st.sampled_from([0, 3]))
@settings(max_examples=20, deadline=None)
def test_a_device_alone_fits_what_it_fits_in_a_cohort_to_the_bit(seed: int, n_users: int, dim: int) -> None:
    head, lists, rng = a_head(seed, d=30), some_lists(seed, n_users), np.random.default_rng(seed)
    weights, table = (0.5 * rng.normal(size=(n, dim)).astype(np.float32) for n in (n_users, N_ITEMS))

    def fitted(users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = Interactions.from_lists([lists.of(int(user)).tolist() for user in users], N_ITEMS)
        tastes = fit_tastes(head, own, weights=weights[users], table=table)
        return tastes, calibrated_biases(Heads(head, tastes), 4, weights[users], table)

    tastes, biases = fitted(np.arange(n_users))
    for some in (rng.integers(0, n_users, 1), np.sort(rng.choice(n_users, (n_users + 1) // 2, replace=False))):
        own_tastes, own_biases = fitted(some)
        assert (own_tastes == tastes[some]).all() and (own_biases == biases[some]).all()


def test_directions_are_those_of_a_standard_normal_prior_and_a_diagonal_curvature() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(N_ITEMS, 3)).astype(np.float32)
    precision, popularity = np.array([2.0, 5.0, 9.0]), rng.gamma(1.0, 8.0, N_ITEMS) + 3
    head = make_head(PublicFeatures(values, precision), popularity)
    share = np.exp(head.base.astype(float)) / np.exp(head.base.astype(float)).sum()
    np.testing.assert_allclose(share @ head.directions, 0, atol=1e-5)
    curvature = (head.directions * share[:, None]).T @ head.directions
    np.testing.assert_allclose(curvature, np.diag(np.diag(curvature)), atol=1e-5)
    assert (np.diff(np.diag(curvature)) <= 1e-6).all()
    # a direction is a taste for features: scores with a standard normal taste spread as the prior says
    centred = np.column_stack([values, head.base]) - share @ np.column_stack([values, head.base])
    prior = centred @ np.diag(1 / np.append(precision, module.POPULARITY_PRECISION)) @ centred.T
    np.testing.assert_allclose(head.directions @ head.directions.T, prior, atol=1e-4)


@given(seed=st.integers(0, 2**16), recency=st.floats(0, 5))
def test_newer_interactions_weigh_more_and_a_list_weighs_as_the_root_of_its_length(seed: int, recency: float) -> None:
    lists = some_lists(seed)
    weights = weights_by_recency(lists, recency)
    for user in range(lists.n_users):
        own = weights[lists.offsets[user] : lists.offsets[user + 1]]
        assert own.sum() == pytest.approx(module.MASS * np.sqrt(len(own)))
        assert (np.diff(own) >= 0).all()
        if recency == 0 and len(own):
            np.testing.assert_allclose(own, own[0])


def test_features_that_are_the_same_for_all_items_are_left_out(toy: Dataset) -> None:
    assert public_features(toy).values.shape == (toy.interactions.n_items, 0)


def test_a_missing_year_counts_as_its_stand_in(toy: Dataset) -> None:
    years = np.array([0, 1990, 1950, 2001] * 20, np.int16)[: toy.interactions.n_items]
    object.__setattr__(toy, "years", years)
    values = public_features(toy).values
    np.testing.assert_array_equal(values[0], values[1])
    assert values[2].sum() < values[0].sum() < values[3].sum()


def test_without_a_head_nothing_is_added_to_a_score() -> None:
    assert not Heads.none(3, N_ITEMS).logits(np.arange(3)).any()


def test_biases_make_a_head_s_scores_odds_against_uniform_negatives() -> None:
    head, lists = a_head(3), some_lists(4)
    heads, rng = Heads(head, fit_tastes(head, lists)), np.random.default_rng(0)
    weights, table = (rng.normal(size=(n, 3)).astype(np.float32) for n in (lists.n_users, N_ITEMS))
    scores = heads.logits(np.arange(lists.n_users)).astype(float) + weights @ table.T
    share = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    want = np.log(share * N_ITEMS / 4)
    np.testing.assert_allclose(scores + calibrated_biases(heads, 4, weights, table)[:, None], want, atol=1e-4)
