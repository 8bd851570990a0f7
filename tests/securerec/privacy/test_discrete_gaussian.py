import math
import random
from bisect import bisect_right
from decimal import Decimal, getcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from securerec.privacy.discrete_gaussian import DiscreteGaussian, cumulative_bounds
from securerec.privacy.randomness import KeyStream, NoiseKey

SIGMAS = [0.5, 2.0, 7.3, 151.2, 4000.0]
getcontext().prec = 110


class Words(KeyStream):
    """A stream that says what it is told, and counts."""

    def __init__(self, words: list[int]) -> None:
        self.words, self.taken = words, 0

    def uint64(self, n: int) -> np.ndarray:
        taken, self.taken = self.words[self.taken : self.taken + n], self.taken + n
        assert len(taken) == n, "the sampler asked for more words than it should need"
        return np.array(taken, dtype=np.uint64)


def magnitude_cdf(sigma: float, terms: int | None = None) -> list[Decimal]:
    """P(|X| <= m) with 110 decimal digits, by adding up exp(-m^2 / (2 sigma^2))."""
    two = 2 * Decimal(sigma) ** 2
    weights = [(-Decimal(m * m) / two).exp() for m in range(terms or math.ceil(20 * sigma) + 20)]
    sums, total = [], Decimal(0)
    for m, weight in enumerate(weights):
        total += weight if m == 0 else 2 * weight
        sums.append(total)
    return [part / total for part in sums]


def probabilities(sigma: float) -> tuple[np.ndarray, np.ndarray]:
    reach = math.ceil(12 * sigma) + 3
    values = np.arange(-reach, reach + 1)
    weights = np.exp(-(values.astype(float) ** 2) / (2 * sigma**2))
    return values, weights / weights.sum()


def bernoulli_exp(x: Fraction, rng: random.Random) -> bool:
    """Canonne, Kamath, Steinke 2020, Algorithm 1: true with probability exp(-x), in whole numbers."""
    while x > 1:
        if not bernoulli_exp(Fraction(1), rng):
            return False
        x -= 1
    k = 1
    while rng.randrange(x.denominator * k) < x.numerator:
        k += 1
    return k % 2 == 1


def rejection_sample(variance: Fraction, rng: random.Random) -> int:
    """Canonne, Kamath, Steinke 2020, Algorithms 2 and 3: discrete Laplace of scale t, then accept."""
    t = math.isqrt(variance.numerator // variance.denominator) + 1
    while True:
        u = rng.randrange(t)
        if not bernoulli_exp(Fraction(u, t), rng):
            continue
        v = 0
        while bernoulli_exp(Fraction(1), rng):
            v += 1
        y, negative = u + t * v, rng.random() < 0.5
        if negative and y == 0:
            continue
        if bernoulli_exp((y - variance / t) ** 2 / (2 * variance), rng):
            return -y if negative else y


@pytest.mark.parametrize("sigma", SIGMAS)
def test_samples_fit_the_distribution(sigma: float) -> None:
    samples = DiscreteGaussian(sigma).sample(NoiseKey.from_seed(20).stream(f"fit {sigma}", 0, 0), 1_000_000)
    values, p = probabilities(sigma)
    step = max(1, len(values) // 4000)  # cells of several integers where there are many
    cells = (samples - values[0]) // step
    observed = np.bincount(cells, minlength=math.ceil(len(values) / step)).astype(float)
    expected = np.add.reduceat(p, np.arange(0, len(values), step)) * samples.size
    full = expected >= 10
    observed = np.append(observed[full], observed[~full].sum())
    expected = np.append(expected[full], expected[~full].sum())
    if expected[-1] < 5:  # a tail too thin for a cell of its own
        observed, expected = observed[:-1], expected[:-1] * (observed[:-1].sum() / expected[:-1].sum())
    assert stats.chisquare(observed, expected).pvalue > 0.001


@pytest.mark.parametrize("sigma", [*SIGMAS, 60_000.0])
def test_mean_and_variance(sigma: float) -> None:
    n = 400_000
    samples = DiscreteGaussian(sigma).sample(NoiseKey.from_seed(21).stream("moments", 0, 0), n).astype(float)
    values, p = probabilities(min(sigma, 4000.0))
    variance = float((p * values.astype(float) ** 2).sum()) if sigma <= 4000 else sigma**2
    fourth = float((p * values.astype(float) ** 4).sum()) if sigma <= 4000 else 3 * sigma**4
    assert abs(samples.mean()) < 4 * math.sqrt(variance / n)
    assert abs((samples**2).mean() - variance) < 4 * math.sqrt((fourth - variance**2) / n)


@pytest.mark.parametrize("sigma", [2.0, 7.3])
def test_samples_agree_with_the_rejection_sampler(sigma: float) -> None:
    rng = random.Random(22)
    slow = [rejection_sample(Fraction(sigma) ** 2, rng) for _ in range(4000)]
    fast = DiscreteGaussian(sigma).sample(NoiseKey.from_seed(23).stream("both", 0, 0), 40_000).tolist()
    edges = [-math.inf, *sorted({round(i * sigma / 3) + 0.5 for i in range(-6, 7)}), math.inf]
    table = np.array([np.histogram(sample, bins=edges)[0] for sample in (slow, fast)])
    assert stats.chi2_contingency(table).pvalue > 0.001


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0, 7.3, 151.2])
def test_table_is_the_exact_floor_of_the_distribution_function(sigma: float) -> None:
    thresholds = [int(t) for t in DiscreteGaussian(sigma)._table.thresholds]
    exact = magnitude_cdf(sigma)
    assert thresholds == [int(f * 2**63) for f in exact[: len(thresholds)]]
    assert thresholds[-1] == 2**63 - 1 and thresholds[-2] < 2**63 - 1


@pytest.mark.parametrize("sigma", [0.5, 3.7, 40.0])
@pytest.mark.parametrize("bits", [63, 127, 255])
def test_bounds_hold_the_distribution_function_between_them(sigma: float, bits: int) -> None:
    bounds = list(cumulative_bounds(Fraction(sigma) ** 2, bits))
    for (below, above), exact in zip(bounds, magnitude_cdf(sigma, math.ceil(24 * sigma) + 20), strict=False):
        assert below <= exact * 2**bits < above + 1
        assert above - below <= 1
    assert bounds[-1][0] == 2**bits - 1


@pytest.mark.parametrize("sigma", [0.5, 7.3, 4000.0])
def test_look_up_agrees_with_a_search_around_every_threshold(sigma: float) -> None:
    sampler = DiscreteGaussian(sigma)
    thresholds = [int(t) for t in sampler._table.thresholds[:-1]]
    uniforms = [u for t in thresholds for u in (t - 1, t + 1) if u not in (thresholds[0], 2**63 - 1)]
    decided = sorted(set(uniforms) - set(thresholds) - {2**63 - 1})
    samples = sampler.sample(Words([u << 1 for u in decided]), len(decided))
    assert samples.tolist() == [bisect_right(thresholds, u) for u in decided]


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("m", [0, 1, 5, 20])
def test_a_uniform_in_the_cell_of_a_threshold_is_decided_by_further_words(m: int, sign: int) -> None:
    sampler, exact = DiscreteGaussian(7.3), magnitude_cdf(7.3)[m]
    first = int(exact * 2**63)
    second = int(exact * 2**127) - (first << 64)
    third = int(exact * 2**191) - (first << 128) - (second << 64)
    tie, outcomes = first << 1 | sign, []
    for further in ([second - 1], [second + 1], [second, third - 1], [second, third + 1]):
        stream = Words([tie, *further])
        outcomes.append(int(sampler.sample(stream, 1)[0]))
        assert stream.taken == 1 + len(further)
    expected = [m, m + 1, m, m + 1]
    assert outcomes == [-x for x in expected] if sign else outcomes == expected


def test_the_tail_beyond_the_table_is_reached() -> None:
    sampler = DiscreteGaussian(2.0)
    length = len(sampler._table.thresholds)
    top = 2**64 - 1
    stream = Words([top, top, top, 12345])
    assert sampler.sample(stream, 1)[0] < -length  # all ones is negative, and 191 bits reach further than 63
    assert stream.taken == 4
    exact = magnitude_cdf(2.0, 80)
    uniform = Decimal(((2**63 - 1) << 128) + (top << 64) + 12345) / 2**191
    assert sampler.sample(Words([top - 1, top, 12345]), 1)[0] == bisect_right(exact, uniform)


@settings(deadline=None)
@given(m=st.integers(0, 14), shift=st.integers(-2, 2), rest=st.lists(st.integers(0, 2**64 - 1), min_size=4, max_size=4))
def test_any_words_give_the_inverse_of_the_distribution_function(m: int, shift: int, rest: list[int]) -> None:
    exact = magnitude_cdf(1.7, 60)
    uniform = min(max(int(exact[m] * 2**63) + shift, 0), 2**63 - 1)
    bits = uniform
    for word in rest:
        bits = bits << 64 | word
    assert DiscreteGaussian(1.7).sample(Words([uniform << 1, *rest]), 1)[0] == bisect_right(
        exact, Decimal(bits) / 2 ** (63 + 64 * 4)
    )


def test_a_tie_in_the_middle_leaves_the_other_draws_alone() -> None:
    sampler = DiscreteGaussian(7.3)
    words = NoiseKey.from_seed(1).stream("a", 0, 0).uint64(100).tolist()
    plain = sampler.sample(Words(words), 100)
    words[50] = int(sampler._table.thresholds[3]) << 1
    mixed = sampler.sample(Words([*words, 0]), 100)
    assert mixed[50] == 3
    np.testing.assert_array_equal(np.delete(mixed, 50), np.delete(plain, 50))


@pytest.mark.parametrize("sigma", [0.0, 0.49, -1.0, 2.0**18 + 1, math.inf, math.nan])
def test_sigma_out_of_range_is_refused(sigma: float) -> None:
    with pytest.raises(ValueError, match="sigma must lie between"):
        DiscreteGaussian(sigma)
