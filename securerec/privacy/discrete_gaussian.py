"""The discrete Gaussian on the integers: N_Z(0, sigma^2) gives x a probability proportional to exp(-x^2 / (2 sigma^2))
(Canonne, Kamath, Steinke 2020, "The Discrete Gaussian for Differential Privacy", Definition 1).

sigma is the exact rational value of the float; the bounds are proved by counting rounding errors, not assumed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from securerec.privacy.exact_sampler import ExactSampler

SIGMA_MIN, SIGMA_MAX = 0.5, float(2**18)


@dataclass(frozen=True)
class DiscreteGaussian(ExactSampler):
    """N_Z(0, sigma^2) for sigma from 0.5 to 2^18."""

    sigma: float

    def __post_init__(self) -> None:
        if not SIGMA_MIN <= self.sigma <= SIGMA_MAX:
            raise ValueError(f"sigma must lie between {SIGMA_MIN} and {SIGMA_MAX:.0f}, but is {self.sigma}")

    def cumulative_bounds(self, bits: int) -> Iterator[tuple[int, int]]:
        """As `ExactSampler.cumulative_bounds`.

        Fixed point with `work` fractional bits, weights by the recurrence w(m+1) = w(m) r(m), r(m+1) = r(m) q, with
        w(0) = 1, r(0) = exp(-1/(2 sigma^2)), q = exp(-1/sigma^2). Everything is rounded down. q and r(0) are less than
        2 units low, so r(m) is at most 3m + 2 units low, w(m) at most 3 m^2 and w(0) + 2 (w(1) + ... + w(m)) at most
        2 (m+1)^3. Beyond m the weights fall faster than a geometric row of ratio r(m), which bounds the tail.
        """
        work, variance = bits + 128, Fraction(self.sigma) ** 2
        one = 1 << work
        ratio, step, weight = exp_minus(1 / (2 * variance), work), exp_minus(1 / variance, work), one
        sums = [one]
        while weight >> 64:
            weight = weight * ratio >> work
            ratio = ratio * step >> work
            sums.append(sums[-1] + 2 * weight)
        last = len(sums) - 1
        tail = 2 * (weight + 3 * last**2) * one // (one - ratio - 3 * last - 2) + 1
        least, most = sums[-1], sums[-1] + 2 * (last + 1) ** 3 + tail
        full = (1 << bits) - 1  # F(m) < 1, so no floor is larger
        for m, total in enumerate(sums):
            below = (total << bits) // most
            yield below, min((total + 2 * (m + 1) ** 3 << bits) // least, full)
            if below == full:
                return


def exp_minus(x: Fraction, bits: int) -> int:
    """A lower bound of 2^bits exp(-x), less than 2 units low, for 0 < x <= 4.

    The Taylor series with 32 guard bits. Each term is rounded down; what a term inherits from the one before shrinks
    by x / k, so it is at most 6 units off, K terms are at most 6 K off together, and what is left out is smaller than
    one term: less than 2^20 guard units while K < 10^5.
    """
    total, term, k = 0, 1 << bits + 32, 0
    while term:
        total += -term if k & 1 else term
        k += 1
        term = term * x.numerator // (x.denominator * k)
    return total - (1 << 20) >> 32
