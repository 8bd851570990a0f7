import numpy as np
import pytest

from attacks.interactions.list_vector import list_log_odds
from attacks.measures import auc

N_ITEMS = 800


def lists(n: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Who has what (n, N_ITEMS), log-odds of popularity and counts among 1000 people."""
    rng = np.random.default_rng(0)
    share = 0.5 / (1 + np.arange(N_ITEMS)) ** 0.7
    counts = rng.binomial(1000, share)
    has = rng.random((n, N_ITEMS)) < share
    return has, np.log((counts + 0.5) / (1000 - counts + 0.5)), counts


def mean_auc(scores: np.ndarray, has: np.ndarray) -> float:
    return float(np.mean([auc(row, own) for row, own in zip(scores, has, strict=True)]))


def vectors(has: np.ndarray, noise: float) -> np.ndarray:
    clean = has / np.sqrt(has.sum(axis=1, keepdims=True))
    return clean + noise * np.random.default_rng(1).normal(size=has.shape)


def test_without_noise_the_list_is_read() -> None:
    has, prior, counts = lists()
    assert np.array_equal(list_log_odds(vectors(has, 0.0), prior, counts) > 0, has)


@pytest.mark.parametrize(("noise", "gain"), [(0.05, 0.1), (0.2, 0.01)])
def test_under_noise_vector_and_popularity_together_say_more_than_popularity(noise: float, gain: float) -> None:
    has, prior, counts = lists()
    known = mean_auc(np.tile(prior, (len(has), 1)), has)
    assert mean_auc(list_log_odds(vectors(has, noise), prior, counts), has) > known + gain


def test_under_noise_that_drowns_the_list_popularity_is_left() -> None:
    has, prior, counts = lists()
    known = mean_auc(np.tile(prior, (len(has), 1)), has)
    assert abs(mean_auc(list_log_odds(vectors(has, 20.0), prior, counts), has) - known) < 0.01
