"""The discrete Laplace law on the integers, also known as two-sided geometric: x with a probability proportional to
exp(-|x| / scale) (Ghosh, Roughgarden, Sundararajan 2009, "Universally Utility-Maximizing Privacy Mechanisms";
Inusah, Kozubowski 2006 for its moments).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from securerec.privacy.discrete_gaussian import exp_minus
from securerec.privacy.exact_sampler import ExactSampler

SCALE_MIN, SCALE_MAX = 0.25, float(2**15)


@dataclass(frozen=True)
class DiscreteLaplace(ExactSampler):
    """For a scale from 1/4 to 2^15, taken as the exact rational value of the float."""

    scale: float

    def __post_init__(self) -> None:
        if not SCALE_MIN <= self.scale <= SCALE_MAX:
            raise ValueError(f"the scale must lie between {SCALE_MIN} and {SCALE_MAX:.0f}, but is {self.scale}")

    @property
    def sigma(self) -> float:
        """Its deviation: the variance is 2q / (1-q)^2 = 1 / (2 sinh^2(1 / (2 scale))), q = exp(-1 / scale)."""
        return 1 / (math.sqrt(2) * math.sinh(0.5 / self.scale))

    def tail_exponent(self, y: float) -> float:
        """P(X >= y) <= exp(-tail_exponent(y)), and n tail_exponent(y / n) for a sum of n: Chernoff's bound.

        s y - ln E exp(sX) at the best s, where ln E exp(sX) = -ln(1 - (cosh s - 1) / (cosh(1/scale) - 1)) for
        0 <= s < 1 / scale. The derivative is zero where (1+y) e^(2s) - 2y cosh(1/scale) e^s + y - 1 = 0. Any s gives a
        bound, so an error in the best one costs no validity.
        """
        half, a = math.sinh(0.5 / self.scale), y * math.sinh(1 / self.scale)
        root = a * a / (math.sqrt(1 + a * a) + 1)  # sqrt(1 + a^2) - 1
        s = math.log1p((2 * y * half**2 + root) / (1 + y))
        return s * y + math.log1p(-((math.sinh(s / 2) / half) ** 2))

    def cumulative_bounds(self, bits: int) -> Iterator[tuple[int, int]]:
        """As `ExactSampler.cumulative_bounds`: P(|X| <= m) = 1 - 2 q^(m+1) / (1 + q), q = exp(-1 / scale).

        Interval arithmetic in fixed point with `work` fractional bits: each step is rounded down for the lower bound
        and up for the upper. `exp_minus` is a lower bound of q, less than 2 units low.
        """
        work = bits + 128
        one, full = 1 << work, (1 << bits) - 1
        q_low = exp_minus(1 / Fraction(self.scale), work)
        q_high = q_low + 2
        low, high = q_low, q_high
        while True:
            outside_low, outside_high = (low << work + 1) // (one + q_high), -(-(high << work + 1) // (one + q_low))
            below = one - outside_high >> work - bits
            yield max(below, 0), min(one - outside_low >> work - bits, full)  # F(m) < 1, so no floor is larger
            if below >= full:
                return
            low, high = low * q_low >> work, -(-high * q_high >> work)
