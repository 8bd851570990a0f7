"""Shamir's secret sharing, byte by byte over GF(256): any t shares give the secret, fewer say nothing about it.

Shamir, How to Share a Secret (1979). The field is that of AES, modulo x^8 + x^4 + x^3 + x + 1. Holder x, 1 to 255,
holds the value at x of polynomials whose constant terms are the secret's bytes. Eight bytes lie in a word, and are
multiplied together by shifts and masks alone: no table is looked up, and no branch taken, by a secret byte. Which
holders there are is public.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

MAX_HOLDERS = 255

_LOW7 = np.uint64(0x7F7F7F7F7F7F7F7F)
_BIT0 = np.uint64(0x0101010101010101)
_REDUCE = np.uint64(0x1B)
_7 = np.uint64(7)
_1 = np.uint64(1)


@njit(cache=True, nogil=True)
def _add_multiple(total, words, factor):  # type: ignore[no-untyped-def]
    """total (n,) uint64 ^= factor * words (n,), in every byte; factor, 0 to 255, is public; words is used up."""
    n = total.shape[0]
    while factor:
        if factor & 1:
            for i in range(n):
                total[i] ^= words[i]
        factor >>= 1
        if factor:
            for i in range(n):
                words[i] = ((words[i] & _LOW7) << _1) ^ (((words[i] >> _7) & _BIT0) * _REDUCE)


@njit(cache=True, nogil=True)
def _evaluate(coefficients, shares):  # type: ignore[no-untyped-def]
    """shares (k, n) uint64 = the polynomials with these coefficients (t, n), constant terms first, at 1 to k."""
    t, n = coefficients.shape
    before = np.empty(n, np.uint64)
    for holder in range(shares.shape[0]):
        value = shares[holder]
        value[:] = coefficients[t - 1]
        for i in range(t - 2, -1, -1):
            before[:] = value
            value[:] = coefficients[i]
            _add_multiple(value, before, holder + 1)


@njit(cache=True, nogil=True)
def _at_zero(xs, exponents, logarithms, factors):  # type: ignore[no-untyped-def]
    """factors (t,) = Lagrange's coefficients at zero for points xs (t,), all public: product of x_j / (x_j - x_i)."""
    for i in range(xs.shape[0]):
        exponent = 0
        for j in range(xs.shape[0]):
            if j != i:
                exponent += logarithms[xs[j]] - logarithms[xs[i] ^ xs[j]]
        factors[i] = exponents[exponent % 255]


@njit(cache=True, nogil=True)
def _combine(shares, factors, secret):  # type: ignore[no-untyped-def]
    for i in range(shares.shape[0]):
        _add_multiple(secret, shares[i].copy(), factors[i])


def _tables() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Powers of the generator 3, and logarithms to it."""
    exponents, logarithms = np.zeros(255, np.int64), np.zeros(256, np.int64)
    power = 1
    for i in range(255):
        exponents[i], logarithms[power] = power, i
        doubled = power << 1 ^ (0x11B if power & 0x80 else 0)
        power ^= doubled
    return exponents, logarithms


_EXPONENTS, _LOGARITHMS = _tables()


def split(secret: bytes, *, threshold: int, holders: int, randomness: bytes) -> NDArray[np.uint8]:
    """Shares of a secret for holders 1 to `holders`, (holders, len(secret)) uint8.

    secret: a multiple of 8 bytes. randomness: (threshold - 1) * len(secret) bytes that nobody else knows, used once.
    """
    if not 1 <= threshold <= holders <= MAX_HOLDERS or len(secret) % 8:
        raise ValueError(f"cannot share {len(secret)} bytes {threshold} of {holders}")
    coefficients = np.frombuffer(secret + randomness, np.uint64).reshape(threshold, -1)
    shares = np.empty((holders, len(secret) // 8), np.uint64)
    _evaluate(coefficients, shares)
    return shares.view(np.uint8)


def join(xs: NDArray[np.int64], shares: NDArray[np.uint8]) -> bytes:
    """The secret, from exactly `threshold` shares (t, length) uint8 of different holders xs (t,) int64."""
    factors = np.empty(len(xs), np.int64)
    _at_zero(xs, _EXPONENTS, _LOGARITHMS, factors)
    secret = np.zeros(shares.shape[1] // 8, np.uint64)
    _combine(np.ascontiguousarray(shares).view(np.uint64), factors, secret)
    return secret.tobytes()
