import math
import random
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from securerec.privacy.discrete_laplace import DiscreteLaplace
from securerec.privacy.randomness import NoiseKey

SCALES = [0.25, 1.5, 5.2, 107.3, 2800.0]


def probabilities(scale: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    reach = math.ceil(25 * scale) + 3
    values = np.arange(-reach, reach + 1)
    return values, math.tanh(0.5 / scale) * np.exp(-np.abs(values) / scale)


@pytest.mark.parametrize("scale", SCALES)
def test_samples_fit_the_distribution_at_a_level_of_one_in_a_thousand(scale: float, fit: Callable[..., float]) -> None:
    samples = DiscreteLaplace(scale).sample(NoiseKey.from_seed(40).stream(f"fit {scale}", 0, 0), 1_000_000)
    assert fit(samples, *probabilities(scale)) > 0.001


@pytest.mark.parametrize("scale", [*SCALES, 8192.0])
def test_mean_and_variance(scale: float) -> None:
    n, law = 400_000, DiscreteLaplace(scale)
    samples = law.sample(NoiseKey.from_seed(41).stream("moments", 0, 0), n).astype(float)
    values, p = probabilities(scale)
    variance, fourth = float((p * values.astype(float) ** 2).sum()), float((p * values.astype(float) ** 4).sum())
    assert variance == pytest.approx(law.sigma**2, rel=1e-6)
    assert abs(samples.mean()) < 4 * math.sqrt(variance / n)
    assert abs((samples**2).mean() - variance) < 4 * math.sqrt((fourth - variance**2) / n)


@pytest.mark.parametrize("scale", [0.9, 5.2])
def test_samples_agree_with_coins_tossed_until_one_fails(scale: float) -> None:
    """The difference of two geometric counts has this law."""
    rng, q = random.Random(42), math.exp(-1 / scale)

    def geometric() -> int:
        count = 0
        while rng.random() < q:
            count += 1
        return count

    slow = [geometric() - geometric() for _ in range(6000)]
    fast = DiscreteLaplace(scale).sample(NoiseKey.from_seed(43).stream("both", 0, 0), 50_000).tolist()
    edges = [-math.inf, *sorted({round(i * scale / 2) + 0.5 for i in range(-6, 7)}), math.inf]
    table = np.array([np.histogram(sample, bins=edges)[0] for sample in (slow, fast)])
    assert stats.chi2_contingency(table).pvalue > 0.001


@pytest.mark.parametrize("scale", [0.25, 5.2])
def test_the_tail_is_below_its_bound(scale: float) -> None:
    law = DiscreteLaplace(scale)
    _, one = probabilities(scale)
    law_of_sum = one
    for n in range(1, 5):
        if n > 1:
            law_of_sum = np.convolve(law_of_sum, one)
        middle = len(law_of_sum) // 2
        beyond = law_of_sum[::-1].cumsum()[::-1]
        for y in range(1, math.ceil(12 * scale)):
            assert beyond[middle + y] <= math.exp(-n * law.tail_exponent(y / n)) * (1 + 1e-6)


@pytest.mark.parametrize("scale", [0.0, 0.24, -1.0, 2.0**15 + 1, math.inf, math.nan])
def test_a_scale_out_of_range_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="scale must lie between"):
        DiscreteLaplace(scale)
