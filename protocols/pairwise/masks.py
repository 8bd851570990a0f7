"""Masks: from a 32-byte seed to integers uniform modulo 2^W, and sums of them.

The seed's key stream (`protocols.key_stream`) is read as words. A word of 64 bits carries 64 // W numbers, each the low
W bits of its slot: sums of slots modulo their own power of two are sums of numbers modulo 2^W, so hundreds of masks are
added word by word, and taken apart once. Every W bits are uniform as they come: nothing is rejected, folded or
reduced.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from protocols.key_stream import KeyStreams
from protocols.spec import SumSpec


def width_of(spec: SumSpec) -> int:
    """W: the bits that hold every sum of the cohort and its sign, 2^W >= 2 sum_bound + 1."""
    return (2 * spec.sum_bound).bit_length()


@njit(cache=True, nogil=True)
def _add(total, words, top):  # type: ignore[no-untyped-def]
    """total += words, slot by slot; top has the highest bit of each slot set."""
    for i in range(total.shape[0]):
        a, b = total[i], words[i]
        total[i] = ((a & ~top) + (b & ~top)) ^ ((a ^ b) & top)


@njit(cache=True, nogil=True)
def _subtract(total, words, top):  # type: ignore[no-untyped-def]
    """total -= words, slot by slot."""
    for i in range(total.shape[0]):
        a, b = total[i], words[i]
        total[i] = ((a | top) - (b & ~top)) ^ ((a ^ ~b) & top)


@njit(cache=True, nogil=True)
def _spread(total, slot, mask, values):  # type: ignore[no-untyped-def]
    """values[s * len(total) + i] = number s of word i."""
    n = total.shape[0]
    start = 0
    shift = np.uint64(0)
    while start < values.shape[0]:
        for i in range(min(n, values.shape[0] - start)):
            values[start + i] = (total[i] >> shift) & mask
        start += n
        shift += slot


class MaskSum:
    """A sum of masks, each added or subtracted; (length,) modulo 2^width."""

    def __init__(self, width: int, length: int) -> None:
        """width: 1 to 63."""
        slots = 64 // width
        self._slot, self._width, self._length = 64 // slots, width, length
        # Bits above the last slot belong to it: what they hold is never looked at.
        self._top = np.uint64(sum(1 << (self._slot * (s + 1) - 1) for s in range(slots)) | 1 << 63)
        n_words = -(-length // slots)
        self._total = np.zeros(n_words, np.uint64)
        self._streams = KeyStreams(8 * n_words)
        self._mask = np.frombuffer(self._streams.held, "<u8")

    def __repr__(self) -> str:
        return f"MaskSum(width={self._width}, length={self._length})"

    def add(self, seed: bytes) -> None:
        """Add the mask of this seed."""
        self._streams.hold(seed)
        _add(self._total, self._mask, self._top)

    def subtract(self, seed: bytes) -> None:
        """Subtract the mask of this seed."""
        self._streams.hold(seed)
        _subtract(self._total, self._mask, self._top)

    def values(self) -> NDArray[np.uint64]:
        """The sum, (length,) uint64 below 2^width."""
        values = np.empty(self._length, np.uint64)
        _spread(self._total, np.uint64(self._slot), np.uint64((1 << self._width) - 1), values)
        return values

    def erase(self) -> None:
        """Overwrite the sum and the last mask."""
        self._total[:] = 0
        self._streams.erase()
