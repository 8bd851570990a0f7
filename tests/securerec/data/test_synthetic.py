import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securerec.data.splits import leave_one_out
from securerec.data.synthetic import LEAST_ITEMS, synthesize
from securerec.errors import DataError
from securerec.evaluation.ease import ease_scorer, ease_weights


@settings(max_examples=40)
@given(users=st.integers(1, 60), items=st.integers(10, 80), share=st.floats(0, 1), seed=st.integers(0, 2**16))
def test_a_world_has_the_size_asked_for_and_no_item_twice(users: int, items: int, share: float, seed: int) -> None:
    most = max(LEAST_ITEMS, items // 5)
    interactions = users * LEAST_ITEMS + round(share * users * (most - LEAST_ITEMS))
    world = synthesize(users, items, interactions, np.random.default_rng(seed)).interactions
    assert (world.n_users, world.n_items, world.n_interactions) == (users, items, interactions)
    assert world.counts().min() >= LEAST_ITEMS and world.counts().max() <= most
    assert all(len(set(world.of(user))) == len(world.of(user)) for user in range(users))


def test_equal_generators_make_equal_worlds() -> None:
    first, second, other = (synthesize(30, 50, 200, np.random.default_rng(seed)).digest() for seed in (1, 1, 2))
    assert first == second != other


def test_popularity_is_a_power_law_and_activity_log_normal() -> None:
    world = synthesize(4000, 2000, 160_000, np.random.default_rng(0)).interactions
    popularity = np.sort(world.popularity())[::-1]
    ranks = np.arange(20, 1000)
    slope = np.polyfit(np.log(ranks), np.log(popularity[ranks] + 1), 1)[0]
    assert -1.3 < slope < -0.7
    logs = np.log(world.counts())
    spread = (np.quantile(logs, 0.84) - np.quantile(logs, 0.16)) / 2
    assert 0.8 < spread < 1.1


def test_there_are_tastes_to_learn_beyond_popularity() -> None:
    split = leave_one_out(synthesize(2000, 400, 50_000, np.random.default_rng(0)).interactions)
    users = np.arange(split.train.n_users)
    scorer = ease_scorer(ease_weights(split.train, reg=100.0), split.train)
    hits = []
    for scores in (scorer(users), np.tile(split.train.popularity().astype(np.float64), (len(users), 1))):
        scores = scores.copy()
        scores[split.train.users(), split.train.items] = -np.inf
        scores[users, split.validation] = -np.inf
        hits.append(float(np.mean((scores > scores[users, split.test][:, None]).sum(axis=1) < 10)))
    assert hits[0] > hits[1] + 0.05


@pytest.mark.parametrize("size", [(0, 50, 10), (5, 9, 20), (5, 50, 14), (5, 50, 51), (5, 50, 10**12)])
def test_worlds_that_cannot_be_are_refused(size: tuple[int, int, int]) -> None:
    with pytest.raises(DataError, match="too small|have between 15 and 50"):
        synthesize(*size, np.random.default_rng(0))
