import math
import random
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from securerec.privacy.discrete_gaussian import DiscreteGaussian
from securerec.privacy.randomness import NoiseKey

SIGMAS = [0.5, 2.0, 7.3, 151.2, 4000.0]


def probabilities(sigma: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
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
def test_samples_fit_the_distribution_at_a_level_of_one_in_a_thousand(sigma: float, fit: Callable[..., float]) -> None:
    samples = DiscreteGaussian(sigma).sample(NoiseKey.from_seed(20).stream(f"fit {sigma}", 0, 0), 1_000_000)
    assert fit(samples, *probabilities(sigma)) > 0.001


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


@pytest.mark.parametrize("sigma", [0.0, 0.49, -1.0, 2.0**18 + 1, math.inf, math.nan])
def test_sigma_out_of_range_is_refused(sigma: float) -> None:
    with pytest.raises(ValueError, match="sigma must lie between"):
        DiscreteGaussian(sigma)
