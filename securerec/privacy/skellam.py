"""The Skellam law on the integers: the difference of two independent Poisson draws of the same mean.

Sk(v) gives x the probability e^-v I_|x|(v), I being the modified Bessel function of the first kind; v is the variance,
twice the mean of each Poisson draw. The sum of independent draws of Sk(v) and Sk(w) is one of Sk(v + w), exactly:
Agarwal, Kairouz, Liu 2021, "The Skellam Mechanism for Differentially Private Federated Learning".
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from securerec.privacy.exact_sampler import ExactSampler

VARIANCE_MIN, VARIANCE_MAX = 0.25, float(2**30)


@dataclass(frozen=True)
class Skellam(ExactSampler):
    """Sk(variance) for a variance from 1/4 to 2^30, taken as the exact rational value of the float."""

    variance: float

    def __post_init__(self) -> None:
        if not VARIANCE_MIN <= self.variance <= VARIANCE_MAX:
            raise ValueError(
                f"the variance must lie between {VARIANCE_MIN} and {VARIANCE_MAX:.0f}, but is {self.variance}"
            )

    def tail_exponent(self, y: float) -> float:
        """P(X >= y) <= exp(-tail_exponent(y)), and n tail_exponent(y / n) for a sum of n: Chernoff's bound.

        sup over s of s y - v (cosh s - 1), since ln E exp(sX) = v (cosh s - 1); it is attained at s = asinh(y / v).
        """
        v = self.variance
        return y * math.asinh(y / v) - y * y / (math.hypot(y, v) + v)

    def cumulative_bounds(self, bits: int) -> Iterator[tuple[int, int]]:
        """As `ExactSampler.cumulative_bounds`.

        Interval arithmetic in fixed point with `work` fractional bits: each step is rounded down for the lower bound
        and up for the upper, so both hold whatever was lost. Ratios r(m) = P(m+1) / P(m) come from the recurrence of
        Bessel functions, I_(m-1) - I_(m+1) = (2m / v) I_m, that is r(m-1) = 1 / (2m/v + r(m)): downwards from
        0 <= r <= 1 far out in the tail, each step shrinking what is unknown by r(m-1)^2. Weights w(m+1) = w(m) r(m)
        from w(0) = 1 stand for probabilities up to a common factor, which their total, one for a law, removes. A
        Poisson law is log-concave, so is the difference of two, so r falls with m: beyond m the weights fall faster
        than a geometric row of ratio r(m).
        """
        work = bits + 128
        one = 1 << work
        ratios = self._ratios(self._reach(2.5 * work), work)
        low = high = sum_low = sum_high = one
        sums = [(one, one)]
        for ratio_low, ratio_high in ratios:
            low, high = low * ratio_low >> work, -(-high * ratio_high >> work)
            sum_low, sum_high = sum_low + 2 * low, sum_high + 2 * high
            sums.append((sum_low, sum_high))
            if not high >> 64:
                break
        # the last ratio went into the last weight, and those beyond are no larger
        tail = -(-2 * high * ratio_high // (one - ratio_high))
        full = (1 << bits) - 1  # F(m) < 1, so no floor is larger
        for m_low, m_high in sums:
            # F(m) = inner / (inner + outer) grows with the inner weights and falls with the outer ones
            below = (m_low << bits) // (m_low + sum_high - m_high + tail)
            yield below, min((m_high << bits) // (m_high + sum_low - m_low), full)
            if below == full:
                return

    def _ratios(self, reach: int, work: int) -> list[tuple[int, int]]:
        """(lower, upper) bounds of 2^work r(m) for m = 0, ..., reach - 1."""
        numerator, denominator = Fraction(self.variance).as_integer_ratio()
        scaled, step = numerator << 2 * work, 2 * denominator << work
        low, high = 0, 1 << work
        ratios = []
        for m in range(reach, 0, -1):
            base = step * m
            low, high = scaled // (base + numerator * high), -(-scaled // (base + numerator * low))
            ratios.append((low, high))
        ratios.reverse()
        return ratios

    def _reach(self, bits: float) -> int:
        """Some m with P(|X| > m) below about 2^-bits: too small a one would only widen the bounds."""
        m = 16.0
        while self.tail_exponent(m) < bits * math.log(2):
            m *= 1.1
        return math.ceil(m)
