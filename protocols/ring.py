"""Polynomials modulo X^N + 1 and a prime q = 1 mod 2N: the number-theoretic transform, in SEAL's order, with its roots.

Butterflies after Harvey, Faster arithmetic for number-theoretic transforms (2014): a product by a constant w needs the
precomputed quotient floor(w 2^64 / q) and leaves a residue below 2q. Loops after Longa and Naehrig (2016), algorithms 1
and 2: the input in natural order, the output in bit-reversed order, powers of the 2N-th root merged in.
"""

from functools import lru_cache

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

MAX_PRIME_BITS = 60
"""SEAL's own limit; the transforms would take 62."""


@intrinsic
def _high(typing_context, a, b):  # type: ignore[no-untyped-def]
    """The upper 64 bits of the product of two uint64."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@njit(cache=True, nogil=True)
def _forward(a, w, w_quotient, q):  # type: ignore[no-untyped-def]
    """In place; a (N,) uint64 below q, w (N,) the root's powers in bit-reversed order."""
    n = a.shape[0]
    two_q = q + q
    half = n >> 1
    blocks = 1
    while blocks < n:
        for block in range(blocks):
            factor = w[blocks + block]
            quotient = w_quotient[blocks + block]
            start = 2 * block * half
            for j in range(start, start + half):
                x = a[j]
                x = min(x, x - two_q)
                y = a[j + half]
                y = y * factor - _high(y, quotient) * q
                a[j] = x + y
                a[j + half] = x - y + two_q
        blocks <<= 1
        half >>= 1
    for j in range(n):
        x = a[j]
        x = min(x, x - two_q)
        a[j] = min(x, x - q)


@njit(cache=True, nogil=True)
def _inverse(a, w, w_quotient, q, scale, scale_quotient):  # type: ignore[no-untyped-def]
    """In place; w the inverse root's powers in bit-reversed order, scale = 1/N mod q."""
    n = a.shape[0]
    two_q = q + q
    half = 1
    blocks = n >> 1
    while blocks:
        for block in range(blocks):
            factor = w[blocks + block]
            quotient = w_quotient[blocks + block]
            start = 2 * block * half
            for j in range(start, start + half):
                x = a[j]
                y = a[j + half]
                s = x + y
                a[j] = min(s, s - two_q)
                d = x - y + two_q
                a[j + half] = d * factor - _high(d, quotient) * q
        blocks >>= 1
        half <<= 1
    for j in range(n):
        x = a[j]
        x = x * scale - _high(x, scale_quotient) * q
        a[j] = min(x, x - q)


@njit(cache=True, nogil=True)
def _dot(rows, factors, at_once, q, unit_quotient, word, word_quotient, out):  # type: ignore[no-untyped-def]
    """out (m,) = the sums of rows (m, at least n) uint64 below q times factors (n,), modulo q.

    So many products at once do not exceed 128 bits. word = 2^64 modulo q.
    """
    n = factors.shape[0]
    for row in range(rows.shape[0]):
        total = np.uint64(0)
        for start in range(0, n, at_once):
            low = high = np.uint64(0)
            for i in range(start, min(n, start + at_once)):
                value, factor = rows[row, i], factors[i]
                product = value * factor
                low += product
                high += _high(value, factor) + np.uint64(low < product)
            x = low - _high(low, unit_quotient) * q
            y = high * word - _high(high, word_quotient) * q
            total += min(x, x - q)
            total = min(total, total - q)
            total += min(y, y - q)
            total = min(total, total - q)
        out[row] = total


@njit(cache=True, nogil=True)
def _add_multiple(total, values, factor, quotient, q):  # type: ignore[no-untyped-def]
    """total (n,) uint64 below q += values (m <= n,) int64 times factor, modulo q, in place."""
    for i in range(values.shape[0]):
        value = values[i]
        x = np.uint64(abs(value))
        x = x * factor - _high(x, quotient) * q
        x = min(x, x - q)
        if value < 0:
            x = q - x
        s = total[i] + x
        total[i] = min(s, s - q)


def _quotients(values: list[int], q: int) -> NDArray[np.uint64]:
    return np.array([(value << 64) // q for value in values], np.uint64)


def add_multiple(total: NDArray[np.uint64], values: NDArray[np.int64], factor: int, q: int) -> None:
    """total (n,) += factor * values (m <= n,), modulo q, in place; total below q, factor any integer."""
    factor %= q
    _add_multiple(total, values, np.uint64(factor), _quotients([factor], q)[0], np.uint64(q))


class Weights:
    """Public numbers that residues are weighed with."""

    def __init__(self, factors: NDArray[np.uint64], q: int) -> None:
        """factors: (n,) below q, a modulus of at most 62 bits."""
        self.q = q
        self._factors = factors
        word = (1 << 64) % q
        self._word = np.uint64(word)
        self._unit_quotient, self._word_quotient = _quotients([1, word], q)
        self._at_once = 1 << min(32, 128 - 2 * q.bit_length())

    def dot(self, rows: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """(m,) uint64: the weighted sums modulo q of the first n residues of rows (m, at least n), all below q."""
        out = np.empty(len(rows), np.uint64)
        modulus, word, quotient = np.uint64(self.q), self._word, self._word_quotient
        _dot(rows, self._factors, self._at_once, modulus, self._unit_quotient, word, quotient, out)
        return out


def is_prime(n: int) -> bool:
    """Miller-Rabin with the first twelve primes, which decides every n below 3.3e24 (Sorenson, Webster 2015)."""
    witnesses = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
    if n < 2 or any(n % p == 0 for p in witnesses):
        return n in witnesses
    odd = n - 1
    twos = (odd & -odd).bit_length() - 1
    odd >>= twos
    for witness in witnesses:
        x = pow(witness, odd, n)
        if x in (1, n - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


def largest_primes(bits: int, degree: int, count: int) -> list[int]:
    """The `count` largest primes q = 1 mod 2 degree of exactly `bits` bits, falling; fewer where there are no more."""
    found: list[int] = []
    step = 2 * degree
    candidate = ((1 << bits) - 1) // step * step + 1
    while len(found) < count and candidate.bit_length() == bits:
        if is_prime(candidate):
            found.append(candidate)
        candidate -= step
    return found


def minimal_root(degree: int, q: int) -> int:
    """The smallest primitive (2 degree)-th root of unity modulo q, which is the one SEAL uses."""
    order = 2 * degree
    generator = 2
    while pow(root := pow(generator, (q - 1) // order, q), degree, q) != q - 1:
        generator += 1
    square = root * root % q
    best = root
    for _ in range(degree - 1):
        root = root * square % q
        best = min(best, root)
    return best


class Ring:
    """Z_q[X] / (X^N + 1) with its transform tables. `Ring.of` keeps one for each degree and prime."""

    def __init__(self, degree: int, q: int) -> None:
        """degree: a power of two. q: a prime, 1 modulo 2 degree, of at most MAX_PRIME_BITS bits."""
        self.degree, self.q = degree, q
        root = minimal_root(degree, q)
        bits = degree.bit_length() - 1
        order = [int(format(i, f"0{bits}b")[::-1], 2) for i in range(degree)]
        self._q = np.uint64(q)
        self._w, self._w_quotient = self._powers(root, order)
        self._v, self._v_quotient = self._powers(pow(root, -1, q), order)
        scale = pow(degree, -1, q)
        self._scale, self._scale_quotient = np.uint64(scale), _quotients([scale], q)[0]

    def _powers(self, root: int, order: list[int]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        powers = [1]
        for _ in range(self.degree - 1):
            powers.append(powers[-1] * root % self.q)
        reversed_powers = [powers[i] for i in order]
        return np.array(reversed_powers, np.uint64), _quotients(reversed_powers, self.q)

    @staticmethod
    @lru_cache(maxsize=64)
    def of(degree: int, q: int) -> "Ring":
        """The ring, made once a process."""
        return Ring(degree, q)

    def forward(self, a: NDArray[np.uint64]) -> None:
        """Coefficients (N,) below q to their transform, bit-reversed order, in place."""
        _forward(a, self._w, self._w_quotient, self._q)

    def inverse(self, a: NDArray[np.uint64]) -> None:
        """A transform (N,) below q, bit-reversed order, to its coefficients, in place."""
        _inverse(a, self._v, self._v_quotient, self._q, self._scale, self._scale_quotient)

    def add_multiple(self, total: NDArray[np.uint64], values: NDArray[np.int64], factor: int) -> None:
        """total (n,) += factor * values (m <= n,), modulo q, in place; total below q, factor any integer."""
        add_multiple(total, values, factor, self.q)
