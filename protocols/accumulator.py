"""A running sum of packed residues: bodies are added as they lie in their messages, word by word.

A body's even and odd numbers are summed apart, so that above each number there is room for its sum: as far as the next
one of its kind, a number's width away. What a sum of words carries is counted, and passed on to the next word when
numbers are made of the words: as soon as somebody asks for them.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from protocols.packing import Streams, _load

_0 = np.uint64(0)
_1 = np.uint64(1)
_3 = np.uint64(3)
_7 = np.uint64(7)
_56 = np.uint64(56)
_63 = np.uint64(63)
_16 = np.uint32(16)
_COUNT = np.uint32((1 << 16) - 1)

_MOST_BITS = 16
"""Words are turned into numbers before they have 2**_MOST_BITS bodies in them: no more is counted of carries."""
_BLOCK = 256
"""Words after which tables may repeat themselves: what is small stays near the processor."""
_LEAST_BITS = 5
"""Where there is room for fewer than 2**_LEAST_BITS bodies, numbers are added one by one."""


# In the two that follow, tables of words repeat themselves after `block` words, and hold one word more.


@njit(cache=True, nogil=True)
def _halves(data, i, mask):  # type: ignore[no-untyped-def]
    """Word i of data: the bits of its even numbers, which are in the mask, and those of its odd ones."""
    word = _load(data, np.uint64(i) << _3)
    even = word & mask
    return even, word ^ even


@njit(cache=True, nogil=True)
def _add_words(data, even_bits, even, odd, carries):  # type: ignore[no-untyped-def]
    """even, odd (n,) uint64 += the n words of data (8 n,) uint8: the bits in the table even_bits, and the others.

    carries (n,) uint32 += what is carried: of even in the lower 16 bits, of odd in the upper ones.
    """
    block = even_bits.shape[0] - 1
    for start in range(0, even.shape[0], block):
        # In views, so that the compiler sees indices from zero, and vectorises.
        here, e, o = data[8 * start :], even[start : start + block], odd[start : start + block]
        carried = carries[start : start + block]
        for i in range(e.shape[0]):
            ours, others = _halves(here, i, even_bits[i])
            e[i] += ours
            o[i] += others
            carried[i] += np.uint32(e[i] < ours) + (np.uint32(o[i] < others) << _16)


@njit(cache=True, nogil=True)
def _any_too_large(data, even_bits, even_missing, odd_missing):  # type: ignore[no-untyped-def]
    """Whether a number in the n words of data (8 n,) uint8 is not below the modulus.

    even_missing, odd_missing: tables with, in the place of each number, what its modulus lacks to 2**width. With that
    added, a number that is too large reaches beyond its own bits. Carries go no further than into the next word.
    """
    block, n = even_bits.shape[0] - 1, data.shape[0] >> 3
    ours, others = _halves(data, 0, even_bits[0])
    bad = (ours + even_missing[0]) & ~even_bits[0] | (others + odd_missing[0]) & even_bits[0]
    for start in range(0, n - 1, block):
        here = data[8 * start :]
        for i in range(min(block, n - 1 - start)):
            ours, others = _halves(here, i, even_bits[i])
            carry = np.uint64(ours + even_missing[i] < ours)
            other_carry = np.uint64(others + odd_missing[i] < others)
            ours, others = _halves(here, i + 1, even_bits[i + 1])
            bad |= (ours + even_missing[i + 1] + carry) & ~even_bits[i + 1]
            bad |= (others + odd_missing[i + 1] + other_carry) & even_bits[i + 1]
    last = (n - 1) % block
    ours, others = _halves(data, n - 1, even_bits[last])
    return bad != 0 or ours + even_missing[last] < ours or others + odd_missing[last] < others


@njit(cache=True, nogil=True)
def _settle(sums, carries, words, width, parity, total, modulus):  # type: ignore[no-untyped-def]
    """total (count,) uint64 below the modulus += the sums of its numbers of this parity, modulo it, in place.

    sums (n,): of words, and carries (n,) their carries in the 16 lowest bits; both are zero afterwards. words: room for
    n + 2 words, as bytes and as uint64.
    """
    as_bytes, as_words = words
    carry = _0
    for i in range(sums.shape[0]):
        word = sums[i] + carry
        carry = np.uint64(carries[i] & _COUNT) + np.uint64(word < carry)
        as_words[i] = word
        sums[i] = _0
        carries[i] >>= _16
    as_words[sums.shape[0]] = carry
    # Beyond 64 bits a number's sum does not go, and where there are fewer up to the next one, no further than that.
    room = 2 * width
    mask = (_1 << np.uint64(room)) - _1 if room < 64 else ~_0
    for i in range(parity, total.shape[0], 2):
        bit = np.uint64(i) * np.uint64(width)
        shift = bit & _7
        value = _load(as_bytes, bit >> _3) >> shift
        value |= _load(as_bytes, (bit >> _3) + _1) >> _56 << _1 << (_63 - shift)
        s = total[i] + (value & mask) % modulus
        total[i] = min(s, s - modulus)


class Accumulator:
    """Adds bodies as they arrive. upload, total: the layouts of a body and of the sum, the same number of residues;
    each modulus of the sum at least as large as the upload's.
    """

    def __init__(self, upload: Streams, total: Streams) -> None:
        self._upload, self._layout = upload, total
        self._total = total.zeros()
        bits = min(_MOST_BITS, *(min(width, 63 - width) for width in upload.widths))
        self._by_words = bits >= _LEAST_BITS
        self._room, self._waiting = 1 << bits, 0
        places = zip(upload.slices, upload.widths, upload.moduli, strict=True) if self._by_words else ()
        self._words = [_Words(place, width, modulus, upload.count) for place, width, modulus in places]

    def __repr__(self) -> str:
        return f"Accumulator({self._layout.count} numbers)"

    @property
    def total(self) -> NDArray[np.uint64]:
        """The sum, in the total's layout; a later body may or may not change this array."""
        if self._waiting:
            self._settle()
        return self._total

    def add(self, body: memoryview | bytes, *, what: str) -> None:
        """Add one body; a refused one changes nothing. Raises WrongLengthError, ResidueError, LeftoverError."""
        if not self._by_words:
            self._upload.add_packed(self._total, body, self._layout.moduli, what=what)
            return
        data = self._upload.checked(body, what)
        if any(words.refuses(data[words.place]) for words in self._words):
            self._upload.unpack(body, self._upload.zeros(), what=what)
        for words in self._words:
            words.add(data[words.place])
        self._waiting += 1
        if self._waiting == self._room - 1:
            self._settle()

    def remove(self, body: memoryview | bytes, *, what: str) -> None:
        """Take a body out again that was added before. Raises what `add` raises."""
        self._upload.take_packed(self.total, body, self._layout.moduli, what=what)

    def pack(self) -> bytes:
        """The sum, in the total's layout."""
        return self._layout.pack(self.total)

    def _settle(self) -> None:
        for row, modulus, words in zip(self._total, self._layout.moduli, self._words, strict=True):
            words.settle(row, modulus)
        self._waiting = 0


class _Words:
    """The sums of one stream's words."""

    def __init__(self, place: slice, width: int, modulus: int, count: int) -> None:
        """place: of the stream in a body. width: of each of its `count` numbers."""
        self.place, self._width = place, width
        n_words = (place.stop - place.start) // 8
        self._even, self._odd = np.zeros((2, n_words), np.uint64)
        self._carries = np.zeros(n_words, np.uint32)
        self._even_bits = _table((1 << width) - 1, width, 0)
        missing = (1 << width) - modulus
        self._missing = [_table(missing, width, parity) for parity in (0, 1) if missing]

    def refuses(self, data: NDArray[np.uint8]) -> bool:
        """Whether there is a number that is not below the modulus."""
        return bool(self._missing) and bool(_any_too_large(data, self._even_bits, *self._missing))

    def add(self, data: NDArray[np.uint8]) -> None:
        _add_words(data, self._even_bits, self._even, self._odd, self._carries)

    def settle(self, total: NDArray[np.uint64], modulus: int) -> None:
        """total (count,) += all that was added, modulo this modulus; nothing is left here."""
        words = np.zeros(len(self._even) + 2, np.uint64)
        for parity, sums in enumerate((self._even, self._odd)):
            _settle(sums, self._carries, (words.view(np.uint8), words), self._width, parity, total, np.uint64(modulus))


def _table(number: int, width: int, parity: int) -> NDArray[np.uint64]:
    """Words of a stream with this number in all places of the parity, and zero in the others: at least _BLOCK words,
    after which they are the same again, and the next one.
    """
    # 64 numbers fill `width` words, and there are as many even as odd ones.
    repeats = -(-_BLOCK // width)
    bits = np.zeros((64 * repeats, width), np.uint8)
    bits[parity::2] = [number >> bit & 1 for bit in range(width)]
    words = np.packbits(bits, bitorder="little").view("<u8").astype(np.uint64)
    return np.append(words, words[0])
