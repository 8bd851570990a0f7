"""Numbers modulo given moduli, written at their true width in bits.

A stream of numbers of w bits is one long little-endian bit string: number i occupies bits [w i, w (i + 1)), zero bits
pad the end to a multiple of 64. Several moduli make several streams, one after the other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from protocols.errors import LeftoverError, ResidueError, WrongLengthError

_64 = np.uint64(64)
_63 = np.uint64(63)
_56 = np.uint64(56)
_6 = np.uint64(6)
_7 = np.uint64(7)
_3 = np.uint64(3)
_1 = np.uint64(1)
_0 = np.uint64(0)

_REACH = 9
"""Bytes from a number's first one that reading it may touch."""
_IN_A_WORD = 57
"""Widths up to which a number lies in the eight bytes from its first one, wherever in that it begins."""


@intrinsic
def _load(typing_context, data, at):  # type: ignore[no-untyped-def]
    """The uint64 whose lowest byte is number `at` of data, (n,) uint8. Neither aligned nor checked to be inside."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(builder.bitcast(array.data, ir.IntType(8).as_pointer()), [arguments[1]])
        word = builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()))
        word.align = 1
        return word

    return types.uint64(data, types.uint64), generate


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


# In the three that follow, the numbers of `width` bits that begin at bit `first` of data (m,) uint8, which goes on for
# _REACH bytes from the last one's first. Each returns how many are larger than `largest`. `wide`: beyond _IN_A_WORD.
# They repeat how a number is read: as an inlined function it made the loops 10 to 18% slower.


@njit(cache=True, nogil=True)
def _read(data, first, width, wide, largest, values):  # type: ignore[no-untyped-def]
    """values (n,) uint64 = the numbers."""
    mask = (_1 << width) - _1
    bad = _0
    for i in range(values.shape[0]):
        bit = first + np.uint64(i) * width
        value = _load(data, bit >> _3) >> (bit & _7)
        if wide:
            # x << 1 << (63 - shift) is x << (64 - shift) without the undefined shift by 64.
            value |= _load(data, (bit >> _3) + _1) >> _56 << _1 << (_63 - (bit & _7))
        value &= mask
        bad += (largest - value) >> _63
        values[i] = value
    return bad


@njit(cache=True, nogil=True)
def _read_all(data, start, stride, width, wide, largest, values, faults):  # type: ignore[no-untyped-def]
    """values (n, count) uint64 = the numbers of n bodies of `stride` bytes, this stream `start` bytes into each.

    faults (n,) int64 grow by how many numbers of a body are too large, and by one for padding bits that are not zero.
    """
    bits = np.uint64(values.shape[1]) * width
    used = bits & _63
    for body in range(values.shape[0]):
        at = np.uint64(body) * stride + start
        faults[body] += np.int64(_read(data, at << _3, width, wide, largest, values[body]))
        if used > _0 and _load(data, at + (bits >> _6 << _3)) >> used != _0:
            faults[body] += 1


@njit(cache=True, nogil=True)
def _add_packed(data, first, width, wide, largest, total, modulus):  # type: ignore[no-untyped-def]
    """total (n,) uint64 below the modulus, at most 2**63, += the numbers, modulo it, in place."""
    mask = (_1 << width) - _1
    bad = _0
    for i in range(total.shape[0]):
        bit = first + np.uint64(i) * width
        value = _load(data, bit >> _3) >> (bit & _7)
        if wide:
            value |= _load(data, (bit >> _3) + _1) >> _56 << _1 << (_63 - (bit & _7))
        value &= mask
        bad += (largest - value) >> _63
        s = total[i] + value
        total[i] = min(s, s - modulus)
    return bad


@njit(cache=True, nogil=True)
def _take_packed(data, first, width, wide, largest, total, modulus):  # type: ignore[no-untyped-def]
    """total -= the numbers: undoes what _add_packed did, to the bit, also where it met numbers that are too large."""
    mask = (_1 << width) - _1
    bad = _0
    for i in range(total.shape[0]):
        bit = first + np.uint64(i) * width
        value = _load(data, bit >> _3) >> (bit & _7)
        if wide:
            value |= _load(data, (bit >> _3) + _1) >> _56 << _1 << (_63 - (bit & _7))
        value &= mask
        bad += (largest - value) >> _63
        d = total[i] - value
        total[i] = min(d, d + modulus)
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


_Loop = Callable[..., Any]


class _Place(NamedTuple):
    """Where a stream lies in a body, and how many of its numbers can be read where they are."""

    width: int
    start: int
    end: int
    inside: int


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

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where in a body each stream lies."""
        return tuple(slice(place.start, place.end) for place in self._places)

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
        data = self.checked(body, what)
        for stream, row in enumerate(into):
            self._refuse(self._run(_read, data, stream, row), stream, what)

    def unpack_all(self, bodies: Sequence[bytes], into: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Read n bodies into (len(moduli), n, count) uint64; returns which are good, (n,): the others hold residues
        that are not below their modulus, or padding bits that are not zero. Raises WrongLengthError.
        """
        for body in bodies:
            if len(body) != self.n_bytes:
                raise WrongLengthError(f"A body holds {len(body)} bytes of residues; {self.n_bytes} were expected.")
        data = np.frombuffer(b"".join((*bodies, bytes(_REACH))), np.uint8)
        faults = np.zeros(len(bodies), np.int64)
        for place, modulus, values in zip(self._places, self.moduli, into, strict=True):
            _read_all(
                data, np.uint64(place.start), np.uint64(self.n_bytes), np.uint64(place.width), place.width > _IN_A_WORD,
                np.uint64(modulus - 1), values, faults,
            )  # fmt: skip
        return faults == 0

    def add_packed(
        self, total: NDArray[np.uint64], body: memoryview | bytes, moduli: tuple[int, ...], *, what: str
    ) -> None:
        """total = (total + the residues of a body of this layout) modulo these moduli, each at least as large as the
        layout's own, in place, without unpacking them. Raises what `unpack` raises; `total` is then as it was.
        """
        self._fold(_add_packed, _take_packed, total, body, moduli, what)

    def take_packed(
        self, total: NDArray[np.uint64], body: memoryview | bytes, moduli: tuple[int, ...], *, what: str
    ) -> None:
        """The inverse of `add_packed`, which raises the same."""
        self._fold(_take_packed, _add_packed, total, body, moduli, what)

    def _fold(
        self,
        loop: _Loop,
        inverse: _Loop,
        total: NDArray[np.uint64],
        body: memoryview | bytes,
        moduli: tuple[int, ...],
        what: str,
    ) -> None:
        data = self.checked(body, what)
        for stream, (row, modulus) in enumerate(zip(total, moduli, strict=True)):
            bad = self._run(loop, data, stream, row, np.uint64(modulus))
            if bad:
                # What is too large is found as it is added: it is rare, and another reading would cost each body.
                for done in range(stream + 1):
                    self._run(inverse, data, done, total[done], np.uint64(moduli[done]))
                self._refuse(bad, stream, what)

    def _run(self, loop: _Loop, data: NDArray[np.uint8], stream: int, row: NDArray[np.uint64], *more: np.uint64) -> int:
        """What a loop over all numbers of a stream returns."""
        place = self._places[stream]
        fixed = np.uint64(place.width), place.width > _IN_A_WORD, np.uint64(self.moduli[stream] - 1)
        bad = loop(data[place.start : place.end], _0, *fixed, row[: place.inside], *more)
        if place.inside < self.count:
            # The last numbers are read where reading on does no harm.
            at, first = divmod(place.inside * place.width, 8)
            rest = data[place.start + at : place.end]
            tail = np.zeros(len(rest) + _REACH, np.uint8)
            tail[: len(rest)] = rest
            tail.flags.writeable = False
            bad += loop(tail, np.uint64(first), *fixed, row[place.inside :], *more)
        return int(bad)

    @cached_property
    def _places(self) -> list[_Place]:
        places, start = [], 0
        for width in self.widths:
            n_bytes = 8 * self._words(width)
            inside = (8 * (n_bytes - _REACH) + 7) // width + 1
            places.append(_Place(width, start, start + n_bytes, min(self.count, max(0, inside))))
            start += n_bytes
        return places

    def checked(self, body: memoryview | bytes, what: str) -> NDArray[np.uint8]:
        """The body, read only. Raises WrongLengthError, LeftoverError; its numbers are not looked at."""
        if len(body) != self.n_bytes:
            raise WrongLengthError(f"{what} holds {len(body)} bytes of residues; {self.n_bytes} were expected.")
        data = np.frombuffer(body, np.uint8)
        data.flags.writeable = False
        for place in self._places:
            used = self.count * place.width % 64
            if used and int.from_bytes(body[place.end - 8 : place.end], "little") >> used:
                raise LeftoverError(f"{what} has padding bits that are not zero.")
        return data

    def _refuse(self, bad: int, stream: int, what: str) -> None:
        if bad:
            raise ResidueError(f"{what} holds {bad} numbers that are not below their modulus {self.moduli[stream]}.")

    def add(self, total: NDArray[np.uint64], residues: NDArray[np.uint64]) -> None:
        """total = (total + residues) modulo each stream's modulus, in place."""
        for row, values, modulus in zip(total, residues, self.moduli, strict=True):
            _add(row, values, np.uint64(modulus))

    def add_rows(self, total: NDArray[np.uint64], rows: NDArray[np.uint64]) -> None:
        """total = (total + each of the rows, (moduli, m, count)) modulo each stream's modulus, in place."""
        for row, values, modulus in zip(total, rows, self.moduli, strict=True):
            _add_rows(row, values, np.uint64(modulus))
