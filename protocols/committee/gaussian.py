"""Discrete Gaussians of one fixed deviation, by inversion of an exact table, from the operating system's randomness.

The table. P(|X| <= k) for P(X = x) proportional to exp(-x^2 / (2 sigma^2)), computed with DIGITS decimal digits and
rounded to multiples of 2^-63. Every probability is off by less than 2^-62, so a sample of the deviation in use, with
fewer than 2^6 magnitudes, is within 2^-57 of the true distribution; magnitudes beyond the table do not occur.

Timing. A magnitude is the number of table entries below a 63-bit word, and every word is compared with all of them by
arithmetic: neither branches nor addresses depend on a sample. What the compiler and the processor make of it is not
under this module's control, and Python around it promises nothing.
"""

import os
from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from protocols.key_stream import SEED_BYTES, key_stream

DIGITS = 60
_BITS = 63


@lru_cache(maxsize=4)
def cumulative_table(sigma: float) -> NDArray[np.int64]:
    """(k_max,) int64, rising: entry k is round(2^63 P(|X| <= k)) - 1, up to the last that is below 2^63 - 1.

    |X| is the number of entries that are below a uniform 63-bit word.
    """
    with localcontext() as context:
        context.prec = DIGITS
        rate = 1 / (2 * Decimal(sigma) ** 2)
        weights = [(-rate * k * k).exp() * (1 if k == 0 else 2) for k in range(int(16 * sigma) + 2)]
        total = sum(weights)
        entries = []
        reached = Decimal(0)
        for weight in weights:
            reached += weight
            entry = int((reached / total * (1 << _BITS)).to_integral_value()) - 1
            if entry >= (1 << _BITS) - 1:
                break
            entries.append(entry)
    return np.array(entries, np.int64)


@njit(cache=True, nogil=True)
def _invert(words, table, out):  # type: ignore[no-untyped-def]
    """out (n,) int64 from words (n,) int64: the lowest bit is the sign, the others choose the magnitude."""
    n, block = words.shape[0], 256
    magnitudes, counts = np.empty(block, np.int64), np.empty(block, np.int64)
    for start in range(0, n, block):
        size = min(block, n - start)
        for i in range(size):
            magnitudes[i] = (words[start + i] >> 1) & 0x7FFFFFFFFFFFFFFF
            counts[i] = 0
        # Entries outside, words inside and of a fixed number: so the loop is vectorised.
        for entry in table:
            for i in range(block):
                # The difference of two 63-bit numbers is negative, and its top bit set, where the entry is smaller.
                counts[i] += np.int64(np.uint64(entry - magnitudes[i]) >> np.uint64(63))
        for i in range(size):
            sign = -(words[start + i] & 1)
            out[start + i] = (counts[i] ^ sign) - sign


def invert(words: NDArray[np.int64], sigma: float) -> NDArray[np.int64]:
    """The samples (n,) int64 that uniform 64-bit words (n,) stand for. Zero takes both signs, hence counts once."""
    out = np.empty(words.shape, np.int64)
    _invert(words, cumulative_table(sigma), out)
    return out


def sample(count: int, sigma: float) -> NDArray[np.int64]:
    """(count,) int64, independent discrete Gaussians of parameter sigma.

    Words are the key stream of a seed from the operating system, used for this call only.
    """
    words = np.frombuffer(key_stream(os.urandom(SEED_BYTES), 8 * count), "<i8")
    return invert(words, sigma)
