"""Numbers modulo given moduli, written at their true width in bits.

A stream of numbers of w bits is one long little-endian bit string: number i occupies bits [w i, w (i + 1)), zero bits
pad the end to a multiple of 64. Several moduli make several streams, one after the other.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import NDArray

from protocols.errors import LeftoverError, ResidueError, WrongLengthError

_SIX = np.uint64(6)
_MASK6 = np.uint64(63)
_64 = np.uint64(64)
_1 = np.uint64(1)
_0 = np.uint64(0)


@njit(cache=True, nogil=True)
def _pack(values, width, words):  # type: ignore[no-untyped-def]
    """Write values (n,) uint64, each below 2**width, into words (ceil(n width / 64),) uint64."""
    pending = _0
    filled = _0
    at = 0
    for value in values:
        pending |= value << filled
        filled += width
        if filled >= _64:
            words[at] = pending
            at += 1
            filled -= _64
            # A shift by 64 is undefined; it would arise only where the value ended exactly with the word.
            pending = value >> (width - filled) if filled > _0 else _0
    if filled > _0:
        words[at] = pending


@njit(cache=True, nogil=True)
def _unpack(words, width, modulus, values):  # type: ignore[no-untyped-def]
    """Read values (n,) uint64 from words and one word more; returns how many of them are not below the modulus."""
    mask = (_1 << width) - _1
    bad = 0
    bit = _0
    for i in range(values.shape[0]):
        at = bit >> _SIX
        shift = bit & _MASK6
        # (x << 1) << (63 - shift) is x << (64 - shift) without the undefined shift by 64.
        value = ((words[at] >> shift) | ((words[at + _1] << _1) << (_MASK6 - shift))) & mask
        values[i] = value
        bad += value >= modulus
        bit += width
    return bad


@njit(cache=True, nogil=True)
def _add_rows(total, rows, modulus):  # type: ignore[no-untyped-def]
    """total (n,) = (total + the sum of rows (m, n)) mod modulus, in place; all below the modulus, at most 2**63."""
    for row in range(rows.shape[0]):
        for i in range(total.shape[0]):
            s = total[i] + rows[row, i]
            total[i] = min(s, s - modulus)


@njit(cache=True, nogil=True)
def _add(total, values, modulus):  # type: ignore[no-untyped-def]
    """total = (total + values) mod modulus, elementwise, in place; both below the modulus, modulus at most 2**63."""
    for i in range(total.shape[0]):
        s = total[i] + values[i]
        total[i] = min(s, s - modulus)


@dataclass(frozen=True)
class Streams:
    """The layout of a body: for each modulus a stream of `count` residues. Arrays are (len(moduli), count) uint64."""

    moduli: tuple[int, ...]
    count: int

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Bits of one residue in each stream."""
        return tuple((modulus - 1).bit_length() for modulus in self.moduli)

    @cached_property
    def n_bytes(self) -> int:
        """Bytes of a packed body."""
        return 8 * sum(self._words(width) for width in self.widths)

    def _words(self, width: int) -> int:
        return (self.count * width + 63) // 64

    def zeros(self) -> NDArray[np.uint64]:
        """An array of this layout, all zero."""
        return np.zeros((len(self.moduli), self.count), np.uint64)

    def pack(self, residues: NDArray[np.uint64]) -> bytes:
        """The body that holds these residues, each below its modulus."""
        parts = []
        for row, width in zip(residues, self.widths, strict=True):
            words = np.zeros(self._words(width), np.uint64)
            _pack(row, np.uint64(width), words)
            parts.append(words.astype("<u8", copy=False).tobytes())
        return b"".join(parts)

    def unpack(self, body: memoryview | bytes, into: NDArray[np.uint64], *, what: str) -> None:
        """Read a body into an array of this layout; `what` names the body in messages.

        Raises WrongLengthError, ResidueError, LeftoverError (padding bits that are not zero); `into` is then undefined.
        """
        if len(body) != self.n_bytes:
            raise WrongLengthError(f"{what} holds {len(body)} bytes of residues; {self.n_bytes} were expected.")
        at = 0
        for row, modulus, width in zip(into, self.moduli, self.widths, strict=True):
            n_words = self._words(width)
            # A copy: views of received bytes may lie at any address, and the loop reads a word beyond the last.
            words = np.empty(n_words + 1, np.uint64)
            words[:n_words] = np.frombuffer(body, "<u8", n_words, at)
            words[n_words] = 0
            at += 8 * n_words
            used = self.count * width % 64
            if used and int(words[n_words - 1]) >> used:
                raise LeftoverError(f"{what} has padding bits that are not zero.")
            bad = _unpack(words, np.uint64(width), np.uint64(modulus), row)
            if bad:
                raise ResidueError(f"{what} holds {bad} numbers that are not below their modulus {modulus}.")

    def add(self, total: NDArray[np.uint64], residues: NDArray[np.uint64]) -> None:
        """total = (total + residues) modulo each stream's modulus, in place."""
        for row, values, modulus in zip(total, residues, self.moduli, strict=True):
            _add(row, values, np.uint64(modulus))

    def add_rows(self, total: NDArray[np.uint64], rows: NDArray[np.uint64]) -> None:
        """total = (total + each of the rows, (moduli, m, count)) modulo each stream's modulus, in place."""
        for row, values, modulus in zip(total, rows, self.moduli, strict=True):
            _add_rows(row, values, np.uint64(modulus))
