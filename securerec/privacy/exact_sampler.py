"""Exact draws from a symmetric law on the integers, by look-up in a table that is proved, not assumed.

A sampler in floating point has another law near its tails and in its low bits, and privacy was lost that way before
(Mironov 2012). Here the law is exact: let U be a uniform real in [0, 1), F(m) = P(|X| <= m), and |X| the number of m
with F(m) <= U. A sampler needs only as many bits of U as tell on which side of each F(m) it falls, and draws no others:

1. Sixteen bits a draw: a sign, and the first 15 bits of U, which name one of 2^15 cells of [0, 1). Where no F(m) lies
   in the cell, a table says the value.
2. Otherwise 48 bits more. Sixty-three bits of U, against F rounded down to 63 bits, decide for all U but those that
   share one of those finer cells with some F(m).
3. Such a U, which has probability (table length) / 2^63, gets 64 bits more, compared with F computed to that many, and
   so on until it is decided, all in whole numbers.

A law is a subclass that computes whole-number bounds of F; what they rest on is said, and tested, where they are.

Time and memory access depend on the values drawn (table look-ups, a short scan, a loop in the rare case): somebody who
can time or watch the cache of the very device that draws its noise may learn about that noise. Constant time is not
promised.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from securerec.privacy.randomness import KeyStream

_CELL_BITS, _MORE_BITS = 15, 48
UNIFORM_BITS = _CELL_BITS + _MORE_BITS
_A_WORD = 4  # draws that begin with one 64-bit word
_BLOCK = 1 << 14  # draws at a time, such that words and tables stay in the processor's cache
_UNDECIDED = -(1 << 15)


class ExactSampler(ABC):
    """A symmetric law on the integers. Equal ones (a frozen dataclass each) share a table, built once a process."""

    @abstractmethod
    def cumulative_bounds(self, bits: int) -> Iterator[tuple[int, int]]:
        """For m = 0, 1, ...: the floors of a lower and an upper bound of 2^bits P(|X| <= m), neither ever above
        2^bits - 1, until the lower one reaches that. Equal floors are the exact floor.
        """

    def sample(self, stream: KeyStream, size: int) -> NDArray[np.int64]:
        """`size` independent draws, (size,) int64."""
        values = np.zeros(size, dtype=np.int64)
        self.add_to(values, stream)
        return values

    def add_to(self, values: NDArray[np.int64], stream: KeyStream) -> None:
        """Add an independent draw to each of values (n,) int64, contiguous, in place.

        Takes a word of the stream for every four draws and one for each that these leave undecided.
        """
        table = _table(self)
        undecided = np.empty(min(values.size, _BLOCK) + 1, dtype=np.uint32)
        for start in range(0, values.size, _BLOCK):
            block = values[start : start + _BLOCK]
            words = stream.uint64(-(-block.size // _A_WORD))
            count = _add_decided(words, table.values, block, undecided)
            more = stream.uint64(count)
            ties = _add_searched(words, more, undecided, table.thresholds, table.guide, table.shift, block)
            for i in np.flatnonzero(more) if ties else ():
                place = int(undecided[i])
                first = int(words[place // _A_WORD]) >> 16 * (place % _A_WORD) & 0xFFFF
                block[place] += self._decide(first & 1, (first >> 1 << _MORE_BITS) + int(more[i]) - 1, stream)

    def _decide(self, negative: int, uniform: int, stream: KeyStream) -> int:
        """The draw that begins with a sign and these 63 bits, with as many further words as it takes."""
        bits = UNIFORM_BITS
        while True:
            uniform, bits = uniform << 64 | int(stream.uint64(1)[0]), bits + 64
            for m, (below, above) in enumerate(self.cumulative_bounds(bits)):
                if uniform < below:
                    return -m if negative else m
                if uniform <= above:
                    break


class _Table(NamedTuple):
    thresholds: NDArray[np.uint64]  # floor(2^63 F(m)) for m = 0, 1, ..., the last being 2^63 - 1
    guide: NDArray[np.uint32]  # guide[j]: how many thresholds lie below j << shift
    shift: np.uint64
    values: NDArray[np.int16]  # by 16 bits, the sign lowest: the draw, or _UNDECIDED


@lru_cache(maxsize=16)
def _table(law: ExactSampler) -> _Table:
    thresholds = np.array(_floors(law), dtype=np.uint64)
    guide_bits = min(max(_CELL_BITS, thresholds.size.bit_length()), 20)
    shift = np.uint64(UNIFORM_BITS - guide_bits)
    guide = np.searchsorted(thresholds, np.arange((1 << guide_bits) + 1, dtype=np.uint64) << shift)
    cells = guide[:: 1 << guide_bits - _CELL_BITS]
    decided = (cells[1:] == cells[:-1]) & (cells[:-1] < -_UNDECIDED)
    signed = np.stack([cells[:-1], -cells[:-1]], axis=1)
    values = np.where(decided[:, None], signed, _UNDECIDED).ravel().astype(np.int16)
    return _Table(thresholds, guide.astype(np.uint32), shift, values)


def _floors(law: ExactSampler) -> list[int]:
    extra = 0
    while True:  # more than once only where bounds straddle a whole number, which is as good as never
        bounds = law.cumulative_bounds(UNIFORM_BITS + extra)
        floors = [below >> extra if below >> extra == above >> extra else -1 for below, above in bounds]
        if min(floors) >= 0:
            # with more bits than these the bounds go on beyond the first that is full at 63
            return floors[: floors.index((1 << UNIFORM_BITS) - 1) + 1]
        extra += 64


@njit(cache=True, nogil=True)
def _add_decided(
    words: NDArray[np.uint64], table: NDArray[np.int16], values: NDArray[np.int64], undecided: NDArray[np.uint32]
) -> int:
    """Add what 16 bits decide, and _UNDECIDED elsewhere; returns in how many places, which go to `undecided`.

    No branch depends on a draw: the processor could not foresee it. So `undecided` has room for one place more.
    """
    count = 0
    for k in range(values.size):
        value = table[words[k >> 2] >> np.uint64(16 * (k & 3)) & np.uint64(0xFFFF)]
        values[k] += value
        undecided[count] = k
        count += value == _UNDECIDED
    return count


@njit(cache=True, nogil=True)
def _add_searched(
    words: NDArray[np.uint64],
    more: NDArray[np.uint64],
    undecided: NDArray[np.uint32],
    thresholds: NDArray[np.uint64],
    guide: NDArray[np.uint32],
    shift: np.uint64,
    values: NDArray[np.int64],
) -> int:
    """Replace _UNDECIDED by what 63 bits decide, by 0 for a tie; returns how many ties there are.

    `more` is then 0 for what is done, and one more than its 48 bits for a tie.
    """
    ties = 0
    for i in range(more.size):
        place = undecided[i]
        first = words[place >> 2] >> np.uint64(16 * (place & 3)) & np.uint64(0xFFFF)
        low = more[i] & np.uint64((1 << 48) - 1)
        uniform = first >> np.uint64(1) << np.uint64(48) | low
        m = np.int64(guide[uniform >> shift])
        m += thresholds[m] < uniform  # as good as always enough, and no branch
        while thresholds[m] < uniform:
            m += 1
        tie = thresholds[m] == uniform
        ties += tie
        more[i] = low + np.uint64(1) if tie else np.uint64(0)
        sign = 1 - 2 * np.int64(first & np.uint64(1))
        values[place] += (np.int64(0) if tie else sign * m) - _UNDECIDED
    return ties
