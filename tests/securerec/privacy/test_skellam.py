import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from securerec.privacy.randomness import NoiseKey
from securerec.privacy.skellam import Skellam

VARIANCES = [0.25, 4.0, 53.3, 22_861.4]


def poisson(mean: float, rng: np.random.Generator) -> int:
    """How many exponential gaps of mean 1 fit into `mean`: the Poisson process itself."""
    count, time = 0, rng.exponential()
    while time < mean:
        count, time = count + 1, time + rng.exponential()
    return count


@pytest.mark.parametrize("variance", VARIANCES)
def test_samples_fit_the_distribution_at_a_level_of_one_in_a_thousand(
    variance: float, fit: Callable[..., float]
) -> None:
    samples = Skellam(variance).sample(NoiseKey.from_seed(30).stream(f"fit {variance}", 0, 0), 1_000_000)
    reach = math.ceil(10 * math.sqrt(variance)) + 10
    values = np.arange(-reach, reach + 1)
    assert fit(samples, values, stats.skellam.pmf(values, variance / 2, variance / 2)) > 0.001


@pytest.mark.parametrize("variance", [*VARIANCES, 1.6e7])
def test_mean_and_variance(variance: float) -> None:
    n = 400_000
    samples = Skellam(variance).sample(NoiseKey.from_seed(31).stream("moments", 0, 0), n).astype(float)
    assert abs(samples.mean()) < 4 * math.sqrt(variance / n)
    # the fourth moment is 3 v^2 + v
    assert abs((samples**2).mean() - variance) < 4 * math.sqrt((2 * variance**2 + variance) / n)


@pytest.mark.parametrize("variance", [0.7, 53.3])
def test_samples_agree_with_the_difference_of_two_counted_processes(variance: float) -> None:
    rng = np.random.default_rng(32)
    slow = [poisson(variance / 2, rng) - poisson(variance / 2, rng) for _ in range(5000)]
    fast = Skellam(variance).sample(NoiseKey.from_seed(33).stream("both", 0, 0), 50_000).tolist()
    sigma = math.sqrt(variance)
    edges = [-math.inf, *sorted({round(i * sigma / 3) + 0.5 for i in range(-6, 7)}), math.inf]
    table = np.array([np.histogram(sample, bins=edges)[0] for sample in (slow, fast)])
    table = table[:, table.sum(axis=0) > 50]
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_a_sum_of_draws_is_skellam_again(fit: Callable[..., float]) -> None:
    key, n = NoiseKey.from_seed(34), 25
    total = np.zeros(200_000, np.int64)
    for client in range(n):
        Skellam(1.3).add_to(total, key.stream("sum", 0, client))
    values = np.arange(-80, 81)
    assert fit(total, values, stats.skellam.pmf(values, n * 1.3 / 2, n * 1.3 / 2)) > 0.001


@pytest.mark.parametrize("variance", [0.25, 53.3, 900.0])
def test_ratios_of_probabilities_are_bounded_from_both_sides(variance: float) -> None:
    """Against Bessel's power series in 100 digits: I_(m+1)(v) / I_m(v)."""
    work = 191
    for m, (low, high) in enumerate(Skellam(variance)._ratios(400, work)[:60]):
        half = Fraction(variance) / 2
        above = below = Decimal(1)
        term_a = term_b = Decimal(1)
        for j in range(1, 3 * math.ceil(variance) + 100):
            square = Decimal(half.numerator) ** 2 / Decimal(half.denominator) ** 2
            term_a, term_b = term_a * square / (j * (j + m + 1)), term_b * square / (j * (j + m))
            above, below = above + term_a, below + term_b
        exact = above / below * Decimal(half.numerator) / Decimal(half.denominator) / (m + 1)
        assert low <= exact * 2**work <= high and high - low < 2**16


@pytest.mark.parametrize("variance", [0.25, 4.0, 900.0])
def test_the_tail_is_below_its_bound(variance: float) -> None:
    for n in (1, 7):
        for y in np.arange(1, 12 * math.sqrt(n * variance)):
            exact = stats.skellam.sf(y - 0.5, n * variance / 2, n * variance / 2)
            assert exact <= math.exp(-n * Skellam(variance).tail_exponent(y / n)) * (1 + 1e-6)


@pytest.mark.parametrize("variance", [0.0, 0.24, -1.0, 2.0**30 + 1, math.inf, math.nan])
def test_a_variance_out_of_range_is_refused(variance: float) -> None:
    with pytest.raises(ValueError, match="variance must lie between"):
        Skellam(variance)
