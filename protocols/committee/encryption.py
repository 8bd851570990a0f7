"""Encryption under one-time keys and opening under their sum: the arithmetic of the committee's CKKS, no party.

With common polynomials a_i, a client's key s and errors e_i: c_i = -(a_i s) + e_i + m_i, of which the coefficients that
carry fields are kept, without their lowest bits. (sum of c_i, a_i) is a CKKS ciphertext under S = sum of s, in SEAL's
ring, order and roots.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from protocols.committee.gaussian import sample
from protocols.committee.parameters import SIGMA, Parameters
from protocols.errors import NoiseError, RangeError
from protocols.grid import centred, fields_of, nearest
from protocols.ring import Ring, _high


@njit(cache=True, nogil=True)
def _montgomery(a, b, q, negative_inverse):  # type: ignore[no-untyped-def]
    """a b / 2^64 modulo q (Montgomery 1985); a, b below q, negative_inverse = -1/q modulo 2^64."""
    low = a * b
    x = _high(a, b) + _high(low * negative_inverse, q) + np.uint64(low != 0)
    return min(x, x - q)


@njit(cache=True, nogil=True)
def _multiply(a, b, q, negative_inverse, square, out):  # type: ignore[no-untyped-def]
    """out = a b modulo q, elementwise; square = 2^128 modulo q."""
    for i in range(out.shape[0]):
        out[i] = _montgomery(_montgomery(a[i], b[i], q, negative_inverse), square, q, negative_inverse)


@njit(cache=True, nogil=True)
def _subtract(total, values, q):  # type: ignore[no-untyped-def]
    """total (n,) -= values (at least n,), modulo q, in place."""
    for i in range(total.shape[0]):
        d = total[i] - values[i]
        total[i] = min(d, d + q)


def multiply(a: NDArray[np.uint64], b: NDArray[np.uint64], q: int) -> NDArray[np.uint64]:
    """Elementwise product of (n,) uint64 below q, an odd modulus of at most 62 bits: of polynomials, if transformed."""
    out = np.empty_like(b)
    negative_inverse = -pow(q, -1, 1 << 64) % (1 << 64)
    _multiply(a, b, np.uint64(q), np.uint64(negative_inverse), np.uint64((1 << 128) % q), out)
    return out


def rings(parameters: Parameters) -> list[Ring]:
    return [Ring.of(parameters.degree, q) for q in parameters.primes]


def transformed(parameters: Parameters, polynomial: NDArray[np.int64]) -> NDArray[np.uint64]:
    """(primes, degree) uint64: the transforms of a polynomial (degree,) int64."""
    residues = np.zeros((len(parameters.primes), parameters.degree), np.uint64)
    for row, ring in zip(residues, rings(parameters), strict=True):
        ring.add_multiple(row, polynomial, 1)
        ring.forward(row)
    return residues


def encrypt(
    parameters: Parameters, a: NDArray[np.uint64], values: NDArray[np.int64]
) -> tuple[bytes, NDArray[np.uint64]]:
    """(the ciphertexts, packed; the one-time key, (primes, degree) uint64, transformed).

    a: (primes, ciphertexts, degree) uint64, transformed. values: (length,) int64, each within spec.upload_bound. Key
    and errors are drawn in here from the operating system's randomness. Whoever calls erases the key after use.
    """
    used, degree, dropped = parameters.n_coefficients, parameters.degree, parameters.dropped
    small = sample(degree + used, SIGMA)
    key = transformed(parameters, small[:degree])
    errors = small[degree:]
    body = np.zeros((len(parameters.primes), used), np.uint64)
    for row, ring, key_row, a_rows in zip(body, rings(parameters), key, a, strict=True):
        for field in range(parameters.fields):
            part = values[field * used : (field + 1) * used]
            ring.add_multiple(row, part, parameters.scale * parameters.radix**field)
        ring.add_multiple(row, errors, 1)
        _subtract_products(parameters, ring, row, a_rows, key_row)
        if dropped:
            row >>= np.uint64(dropped)
    small.fill(0)
    return parameters.ciphertext.pack(body), key


def decrypt(
    parameters: Parameters,
    a: NDArray[np.uint64],
    key: NDArray[np.uint64],
    total: NDArray[np.uint64],
    n_clients: int,
) -> NDArray[np.int64]:
    """The sum (length,) int64 of n_clients encryptions under keys that sum to `key`, exactly.

    total: (primes, n_coefficients) uint64, the sum of their ciphertexts, in the layout `Parameters.total`. Raises
    NoiseError, RangeError.
    """
    negative_key = np.empty_like(key)
    for out, row, q in zip(negative_key, key, parameters.primes, strict=True):
        out[:] = np.where(row == 0, row, np.uint64(q) - row)
    residues = completed(parameters, total, n_clients)
    for row, ring, key_row, a_rows in zip(residues, rings(parameters), negative_key, a, strict=True):
        _subtract_products(parameters, ring, row, a_rows, key_row)
    return decode(parameters, residues, n_clients)


def completed(parameters: Parameters, total: NDArray[np.uint64], n_clients: int) -> NDArray[np.uint64]:
    """The first components of the summed CKKS ciphertexts: `total` with the mean of the dropped bits put back."""
    residues = np.zeros_like(total)
    mean = np.full(total.shape[1], n_clients * ((1 << parameters.dropped) - 1) // 2)
    for row, ring, total_row in zip(residues, rings(parameters), total, strict=True):
        ring.add_multiple(row, total_row.view(np.int64), 1 << parameters.dropped)
        ring.add_multiple(row, mean, 1)
    return residues


def _subtract_products(
    parameters: Parameters,
    ring: Ring,
    row: NDArray[np.uint64],
    a_rows: NDArray[np.uint64],
    key_row: NDArray[np.uint64],
) -> None:
    """row (n_coefficients,) -= the coefficients of a_i key that carry fields, modulo the ring's prime."""
    degree = parameters.degree
    for index, a_row in enumerate(a_rows):
        product = multiply(a_row, key_row, ring.q)
        ring.inverse(product)
        _subtract(row[index * degree : (index + 1) * degree], product, np.uint64(ring.q))


def decode(parameters: Parameters, residues: NDArray[np.uint64], n_clients: int) -> NDArray[np.int64]:
    """Decrypted coefficients (primes, n_coefficients) to the exact sums (length,) int64.

    Raises NoiseError if a coefficient is further from the
    grid than `n_clients` honest encryptions can bring it, RangeError if it holds no fields within the bounds.
    """
    scale, spec = parameters.scale, parameters.spec
    grid, noise = nearest(centred(residues, parameters.primes), scale)
    limit = parameters.noise_bound(n_clients)
    if noise > limit:
        raise NoiseError(
            f"it lies {noise / scale:.3f} of a step off the grid, and {n_clients} honest clients stay within "
            f"{limit / scale:.3f}: some client's shares do not belong to its ciphertext, or an answer was wrong"
        )
    values = fields_of(grid, radix=parameters.radix, fields=parameters.fields, bound=spec.sum_bound, length=spec.length)
    if values is None:
        raise RangeError("it does not decrypt to fields within their bounds: some upload was out of range")
    reachable = spec.sum_bound_of(n_clients)
    if int(np.abs(values).max()) > reachable:
        raise RangeError(f"it holds a sum beyond {reachable}: some upload was out of range")
    return values
