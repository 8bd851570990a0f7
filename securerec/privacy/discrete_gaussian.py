"""The discrete Gaussian on the integers, sampled exactly and fast.

N_Z(0, sigma^2) gives the integer x a probability proportional to exp(-x^2 / (2 sigma^2)) (Canonne, Kamath, Steinke
2020, "The Discrete Gaussian for Differential Privacy", Definition 1). A sampler in floating point has another law
near its tails and in its low bits, and privacy was lost that way before (Mironov 2012). Here the law is exact: let U
be a uniform real in [0, 1), F(m) = P(|X| <= m), and |X| the number of m with F(m) <= U. A sampler needs only as many
bits of U as tell on which side of each F(m) it falls. Sixty-three bits, against F rounded down to 63 bits, do for all
U but those that share a cell with some F(m); such a U gets 64 more bits, compared with F computed to that many, and
so on until it is decided. The decided cases are a table look-up; the others have probability (table length) / 2^63
and are worked out in whole numbers.

sigma is the exact rational value of the float; the bounds on F are proved by counting rounding errors, not assumed.

Time and memory access depend on the values drawn (a look-up through a guide table, a short scan, a loop in the rare
case): somebody who can time or watch the cache of the very device that draws its noise may learn about that noise.
Constant time is not promised.
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from securerec.privacy.randomness import KeyStream

SIGMA_MIN, SIGMA_MAX = 0.5, float(2**18)
_WORD_BITS = 63  # of each 64-bit word the lowest bit is the sign


class DiscreteGaussian:
    """N_Z(0, sigma^2) for sigma from 0.5 to 2^18. The table is built once a process for each sigma (see `_table`)."""

    def __init__(self, sigma: float) -> None:
        if not SIGMA_MIN <= sigma <= SIGMA_MAX:
            raise ValueError(f"sigma must lie between {SIGMA_MIN} and {SIGMA_MAX:.0f}, but is {sigma}")
        self.sigma = float(sigma)
        self._table = _table(self.sigma)

    def sample(self, stream: KeyStream, size: int) -> NDArray[np.int64]:
        """`size` independent draws, (size,) int64, from as many words of the stream (more where ties need them)."""
        words = stream.uint64(size)
        values = np.empty(size, dtype=np.int64)
        undecided = np.empty(size, dtype=np.bool_)
        if _look_up(words, self._table.thresholds, self._table.guide, self._table.shift, values, undecided):
            for i in np.flatnonzero(undecided):
                values[i] = _decide(self.sigma, int(words[i]), stream)
        return values


class _Table(NamedTuple):
    thresholds: NDArray[np.uint64]  # floor(2^63 F(m)) for m = 0, 1, ..., the last being 2^63 - 1
    guide: NDArray[np.uint32]  # guide[j]: the first m whose threshold is at least j << shift
    shift: np.uint64


@lru_cache(maxsize=8)
def _table(sigma: float) -> _Table:
    extra = 0
    while True:  # more than once only where bounds straddle a whole number, which has a chance below 2^-20
        bounds = cumulative_bounds(Fraction(sigma) ** 2, _WORD_BITS + extra)
        thresholds = [below >> extra if below >> extra == above >> extra else -1 for below, above in bounds]
        if min(thresholds) >= 0:
            break
        extra += 64
    guide_bits = min(max(12, len(thresholds).bit_length() + 2), 20)
    shift = _WORD_BITS - guide_bits
    limits = np.array(thresholds, dtype=np.uint64)
    guide = np.searchsorted(limits, np.arange(1 << guide_bits, dtype=np.uint64) << np.uint64(shift)).astype(np.uint32)
    return _Table(limits, guide, np.uint64(shift))


@njit(cache=True, nogil=True)
def _look_up(
    words: NDArray[np.uint64],
    thresholds: NDArray[np.uint64],
    guide: NDArray[np.uint32],
    shift: np.uint64,
    values: NDArray[np.int64],
    undecided: NDArray[np.bool_],
) -> int:
    count = 0
    for i in range(words.size):
        uniform = words[i] >> np.uint64(1)
        m = guide[uniform >> shift]
        while thresholds[m] < uniform:
            m += 1
        tie = thresholds[m] == uniform
        undecided[i] = tie
        count += tie
        values[i] = -np.int64(m) if words[i] & np.uint64(1) else np.int64(m)
    return count


def _decide(sigma: float, word: int, stream: KeyStream) -> int:
    """The draw that begins with `word`, with as many further words as it takes."""
    negative, uniform, bits = word & 1, word >> 1, _WORD_BITS
    while True:
        uniform, bits = uniform << 64 | int(stream.uint64(1)[0]), bits + 64
        for m, (below, above) in enumerate(cumulative_bounds(Fraction(sigma) ** 2, bits)):
            if uniform < below:
                return -m if negative else m
            if uniform <= above:
                break


def cumulative_bounds(variance: Fraction, bits: int) -> Iterator[tuple[int, int]]:
    """For m = 0, 1, ...: the floors of a lower and an upper bound of 2^bits P(|X| <= m), until no more than 2^-bits
    is left.

    Equal floors are the exact floor. Fixed point with `work` fractional bits, weights by the recurrence
    w(m+1) = w(m) r(m), r(m+1) = r(m) q, with w(0) = 1, r(0) = exp(-1/(2 variance)), q = exp(-1/variance).
    Everything is rounded down. q and r(0) are less than 2 units low, so r(m) is at most 3m + 2 units low, w(m) at
    most 3 m^2 and w(0) + 2 (w(1) + ... + w(m)) at most 2 (m+1)^3. Beyond m the weights fall faster than a geometric
    row of ratio r(m), which bounds the tail.
    """
    work = bits + 128
    one = 1 << work
    ratio, step, weight = _exp_minus(1 / (2 * variance), work), _exp_minus(1 / variance, work), one
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


def _exp_minus(x: Fraction, bits: int) -> int:
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
