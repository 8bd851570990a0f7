import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securerec.data.interactions import Interactions
from securerec.privacy.randomness import NoiseKey
from securerec.training.interaction.examples import coin_limit, distinct, draw_words, taken

N_ITEMS = 60


def words(seed: int, negatives: int = 4, n_items: int = N_ITEMS) -> np.ndarray:
    return draw_words(NoiseKey.from_seed(seed).stream("test", 0, 0), n_items, negatives)


@given(
    items=st.sets(st.integers(0, N_ITEMS - 1), min_size=1),
    other=st.integers(0, N_ITEMS - 1),
    sample_rate=st.sampled_from([0.1, 0.5, 1.0]),
    seed=st.integers(0, 50),
)
def test_one_interaction_more_leaves_every_other_example_as_it_was(
    items: set[int], other: int, sample_rate: float, seed: int
) -> None:
    draws = words(seed)
    without = taken(np.array(sorted(items - {other}), np.int32), draws, sample_rate)
    with_it = taken(np.array(sorted(items | {other}), np.int32), draws, sample_rate)
    np.testing.assert_array_equal(with_it[with_it[:, 0] != other], without)


def test_negatives_are_uniform_over_the_whole_catalogue_the_positives_included() -> None:
    items = np.arange(0, 2000, 2, dtype=np.int32)
    drawn = taken(items, words(1, negatives=8, n_items=2000), 1.0)[:, 1:]
    share = np.isin(drawn, items).mean()
    assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(drawn.size)
    counts = np.bincount(drawn.ravel() // 100, minlength=20)
    expected = drawn.size / 20
    # 19 degrees of freedom: the 1 - 1e-6 quantile is 64
    assert ((counts - expected) ** 2 / expected).sum() < 64


@pytest.mark.parametrize("sample_rate", [0.03, 0.4, 1.0])
def test_examples_are_taken_independently_at_the_sample_rate(sample_rate: float) -> None:
    n_items = 20_000
    items = np.arange(n_items, dtype=np.int32)
    first, second = (taken(items, words(seed, 0, n_items), sample_rate)[:, 0] for seed in (0, 1))
    spread = np.sqrt(sample_rate * (1 - sample_rate) / n_items)
    assert abs(len(first) / n_items - sample_rate) <= 5 * spread
    both = len(np.intersect1d(first, second)) / n_items
    assert abs(both - sample_rate**2) <= 5 * np.sqrt(sample_rate**2 * (1 - sample_rate**2) / n_items)


@given(sample_rate=st.floats(1e-12, 1.0))
def test_the_chance_of_being_taken_never_exceeds_the_sample_rate(sample_rate: float) -> None:
    limit = int(coin_limit(sample_rate))
    assert 0 <= sample_rate * 2.0**63 - limit < 1 + 2.0**63 * 1e-15
    assert limit <= 2**63


def test_a_repeated_interaction_is_one_interaction() -> None:
    train = Interactions.from_lists([[5, 3, 5], [], [1]], N_ITEMS)
    once = distinct(train)
    assert [once.of(user).tolist() for user in range(3)] == [[3, 5], [], [1]]
    assert once.n_items == N_ITEMS
