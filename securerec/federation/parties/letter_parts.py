"""What letters are made of: a strict reader of bytes, and the writers that it reads."""

import struct
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from protocols.identity import MAX_NUMBER
from securerec.errors import SecurerecError

MAX_NAME = 64
"""Bytes of a name, such as a release's."""

SHAPE, NUMBERED = struct.Struct("<II"), struct.Struct("<QI")
"""Rows and width of an array; number and length of an entry."""


class LetterError(SecurerecError):
    """Bytes that are no letter, or one that this program does not read."""

    exit_code = 8


class Body:
    """Reads a letter's body from front to back."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, n: int) -> memoryview:
        if n > self.left:
            raise LetterError(f"A letter is cut short: {n} bytes are missing where {self.left} are left.")
        taken = self._data[self._at : self._at + n]
        self._at += n
        return taken

    def u8(self) -> int:
        return self.take(1)[0]

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def count(self, least: int) -> int:
        """Of entries that have at least so many bytes each."""
        n = self.u32()
        if n * least > self.left:
            raise LetterError(
                f"A letter is cut short: {n} entries cannot stand in the {self.left} bytes that are left."
            )
        return n

    def number(self) -> int:
        number = self.u64()
        if number > MAX_NUMBER:
            raise LetterError(f"A letter names the number {number}, which nobody has.")
        return number

    def name(self) -> str:
        text = bytes(self.take(self.u8()))
        if not text or len(text) > MAX_NAME or not all(0x20 <= c < 0x7F for c in text):
            raise LetterError("A letter holds a name that is empty, too long or not of plain characters.")
        return text.decode("ascii")

    def floats(self, dtype: str) -> NDArray[np.floating]:
        rows, width = SHAPE.unpack(self.take(SHAPE.size))
        kind = np.dtype(dtype)
        raw = self.take(rows * width * kind.itemsize)
        values = np.frombuffer(raw, kind).reshape(rows, width).astype(kind.newbyteorder("="), copy=True)
        if not np.isfinite(values).all():
            raise LetterError("A letter holds a number that is not finite.")
        return values

    def numbered(self) -> dict[int, bytes]:
        """Bytes by number, ascending."""
        found: dict[int, bytes] = {}
        last = -1
        for _ in range(self.count(NUMBERED.size)):
            number, length = self.number(), self.u32()
            last = ascending(last, number)
            found[number] = bytes(self.take(length))
        return found

    def end(self) -> None:
        if self.left:
            raise LetterError(f"A letter is followed by {self.left} bytes that do not belong to it.")


def ascending(last: int, number: int) -> int:
    if number <= last:
        raise LetterError(f"A letter names number {number} after {last}: each stands once, in order.")
    return number


def write_name(text: str) -> bytes:
    raw = text.encode()
    if not 0 < len(raw) <= MAX_NAME:
        raise LetterError(f"The name {text[:MAX_NAME]!r} has no place in a letter: 1 to {MAX_NAME} characters.")
    return bytes([len(raw)]) + raw


def write_floats(values: NDArray[np.floating], dtype: str) -> bytes:
    if values.ndim != 2:
        raise LetterError(f"An array of {values.ndim} dimensions has no place in a letter: it takes 2.")
    return SHAPE.pack(*values.shape) + np.ascontiguousarray(values, dtype).tobytes()


def write_numbered(entries: Mapping[int, bytes]) -> bytes:
    parts = [len(entries).to_bytes(4, "little")]
    for number in sorted(entries):
        if not 0 <= number <= MAX_NUMBER or len(entries[number]) >= 1 << 32:
            raise LetterError(f"The entry of number {number} has no place in a letter.")
        parts += [NUMBERED.pack(number, len(entries[number])), entries[number]]
    return b"".join(parts)
