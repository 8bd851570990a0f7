import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from protocols.committee.gaussian import cumulative_table, invert, sample
from protocols.committee.parameters import SIGMA


def by_search(word: int, sigma: float) -> int:
    """The sample of a 64-bit word, from the definition, one comparison after the other."""
    magnitude = sum(1 for entry in cumulative_table(sigma).tolist() if entry < word >> 1)
    return -magnitude if word & 1 else magnitude


@pytest.mark.parametrize("sigma", [0.5, SIGMA, 20.0])
def test_table_holds_the_probabilities_of_the_definition_to_63_bits(sigma: float) -> None:
    table = cumulative_table(sigma).tolist()
    assert all(earlier <= later for earlier, later in zip(table, table[1:], strict=False))
    # Taylor series in exact fractions: no library's exponential.
    rate = Fraction(sigma) ** -2 / 2

    def exponential(x: Fraction) -> Fraction:
        halvings = max(0, math.ceil(math.log2(float(x) + 1)) + 4)
        y, term, total = x / 2**halvings, Fraction(1), Fraction(1)
        for k in range(1, 40):
            term = Fraction(round(-term * y / k * 2**400), 2**400)
            total += term
        for _ in range(halvings):
            total = Fraction(round(total * total * 2**400), 2**400)
        return total

    weights = [exponential(rate * k * k) * (1 if k == 0 else 2) for k in range(int(14 * sigma) + 2)]
    total = sum(weights)
    reached = Fraction(0)
    for k, entry in enumerate(table):
        reached += weights[k]
        assert abs((entry + 1) - reached / total * 2**63) <= Fraction(51, 100)


def test_fast_inversion_is_the_slow_one_at_every_boundary_and_at_random() -> None:
    edges = [e + d for e in cumulative_table(SIGMA).tolist() for d in (-1, 0, 1)]
    words = [2 * m + sign for m in (*edges, 0, 2**63 - 1) for sign in (0, 1)]
    rng = np.random.default_rng(0)
    words += rng.integers(0, 2**64, 2000, dtype=np.uint64).tolist()
    fast = invert(np.array(words, np.uint64).view(np.int64), SIGMA)
    assert fast.tolist() == [by_search(word, SIGMA) for word in words]


@pytest.mark.parametrize("sigma", [0.5, SIGMA])
def test_samples_follow_the_distribution(sigma: float) -> None:
    drawn = sample(400_000, sigma)
    edge = math.ceil(4 * sigma)
    values = np.arange(-edge, edge + 1)
    weights = np.exp(-(np.arange(-200, 201) ** 2) / (2 * sigma**2))
    expected = np.exp(-(values**2) / (2 * sigma**2)) / weights.sum()
    counts = np.array([(drawn == v).sum() for v in values])
    counts, expected = np.append(counts, (np.abs(drawn) > edge).sum()), np.append(expected, 1 - expected.sum())
    large = expected * len(drawn) > 5
    counts = np.append(counts[large], counts[~large].sum())
    expected = np.append(expected[large], expected[~large].sum()) * len(drawn)
    keep = expected > 0
    # Fails by chance once in a million runs.
    assert stats.chisquare(counts[keep], expected[keep] * counts[keep].sum() / expected[keep].sum()).pvalue > 1e-6


def test_every_call_draws_anew_and_any_count_is_served() -> None:
    assert (sample(2000, SIGMA) != sample(2000, SIGMA)).any()
    assert [len(sample(n, SIGMA)) for n in (0, 1, 255, 256, 257)] == [0, 1, 255, 256, 257]
