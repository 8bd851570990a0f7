"""Key recovery from a ciphertext and its released decryption.

Li and Micciancio, "On the Security of Homomorphic Encryption on Approximate Numbers", EUROCRYPT 2021. A decryption is
m = c0 + c1 s exactly, noise included. Whoever knows m to the last bit solves for s, one division a slot of the
transform. Noise that clients put into their messages is part of m and no help.

*Doubles.* TenSEAL gives only the real parts of the N / 2 slots: half the values of r(X) = m(X) + m(1/X) at the complex
roots of X^N + 1. As r has equal values at a root and its conjugate, all N are known, and so is r, once its coefficients
are rounded to integers. Modulo a prime q, at a root w of X^N + 1 there:

    c1(w) s(w) + c1(1/w) s(1/w) = r(w) - c0(w) - c0(1/w)

One equation in two unknowns; a second ciphertext under the same key gives the other. In SEAL's order 1/w of slot i is
slot N - 1 - i.

*Integers.* The `ckks` protocol releases m rounded to its grid. The attack rebuilds the grid point and solves as if the
noise had been zero. An upload of one ciphertext carries only u <= N coefficients of c0, so m - c0 is known but for an x
of d = N - u coefficients: c1 s = k + X^u x. A second sum, c1' s = k' + X^u y, leaves with g = c1' / c1

    g X^u x = k' - g k + X^u y

whose first d rows have no y and are a Toeplitz system for x.

Tried: the linear solve, on every pair of whole ciphertexts with doubles; with integers on every whole ciphertext, and
where there is none on every pair of sums. Not tried: lattice reduction; averaging or guessing the noise of a release
that was rounded off the grid, cast to float32 or flooded with noise of the size of its own (there the linear solve
fails, which proves nothing); vectors that fill less than half of one ciphertext, which need more than two sums. Why the
integers should give nothing to any attack: where rounding never errs, they are a function of the messages alone, so a
release is RLWE samples with a known message, which anybody can make from the public key.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from attacks.crypto import toeplitz
from attacks.crypto.keys import as_key, multiply
from attacks.crypto.tenseal_bytes import Chunk, read_vector
from attacks.errors import AttackError
from protocols.ckks.parameters import Parameters
from protocols.errors import ProtocolError
from protocols.ring import Ring

_SLOT_GENERATOR = 3
"""SEAL's slot j is the value at zeta^(3^j), zeta = exp(i pi / N)."""


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """key: the secret key, (N,) int8 ternary, or None. solved: linear systems solved. ternary: the largest share, over
    them, of coefficients in {-1, 0, 1}: 1 with a key, about 3 / q without."""

    key: NDArray[np.int8] | None = field(repr=False)
    solved: int
    ternary: float


def from_doubles(
    vectors: Iterable[tuple[bytes, Sequence[float] | NDArray[np.float64]]], *, degree: int, data_primes: Sequence[int]
) -> Attempt:
    """Attack vectors under one key: each as `ckks_vector.serialize()` and what `ckks_vector.decrypt()` released for it.

    Needs two ciphertexts with all N / 2 slots in use, from one vector or several; sums count like any other. Of no use
    are vectors that were multiplied. Raises AttackError for bytes that are no such vector, a wrong number of doubles,
    fewer than two whole ciphertexts.
    """
    whole: list[tuple[Chunk, NDArray[np.float64]]] = []
    for data, values in vectors:
        released = np.asarray(values, np.float64)
        chunks = read_vector(data, degree=degree, data_primes=data_primes)
        if released.shape != (sum(chunk.n_values for chunk in chunks),) or not np.isfinite(released).all():
            raise AttackError("give, with each vector, the finite doubles that it decrypted to, one a value")
        at = 0
        for chunk in chunks:
            if chunk.n_values == degree // 2:
                whole.append((chunk, released[at : at + chunk.n_values]))
            at += chunk.n_values
    if len(whole) < 2:
        raise AttackError(f"two ciphertexts with all {degree // 2} slots in use are needed: give more vectors")
    ring = Ring.of(degree, data_primes[0])
    equations = [_equation(ring, chunk, values) for chunk, values in whole]
    return _best(ring.q, (_solve_pair(ring.q, *pair) for pair in combinations(equations, 2)))


def from_integers(sums: Iterable[tuple[bytes, NDArray[np.int64]]], parameters: Parameters) -> Attempt:
    """Attack opened sums of the `ckks` protocol under one key: each as the residues of the summed uploads, packed in
    the upload's layout, and the integers (spec.length,) int64 that were opened for it.

    Raises AttackError where the residues or integers are not of these parameters, or show too few coefficients.
    """
    cases = []
    for body, opened in sums:
        residues = parameters.streams.zeros()
        try:
            parameters.streams.unpack(body, residues, what="A sum")
        except ProtocolError as error:
            raise AttackError(str(error)) from None
        cases.append((residues, grid_point(parameters, opened)))
    return from_plaintexts(cases, parameters)


def from_plaintexts(cases: Iterable[tuple[NDArray[np.uint64], NDArray[np.object_]]], parameters: Parameters) -> Attempt:
    """As `from_integers`, from residues (data primes, streams.count) and the carrying coefficients of the plaintexts,
    (n_coefficients,) integers of any size.

    With the decryptor's unrounded plaintexts it finds the key. That is the control which shows that a failure of
    `from_integers` is owed to rounding, and it is what the decryptor itself could do.
    """
    degree, used = parameters.degree, parameters.n_coefficients
    ring = Ring.of(degree, parameters.data_primes[0])
    equations = []
    for residues, plain in cases:
        known = ((plain - residues[0, :used].astype(object)) % ring.q).astype(np.uint64)
        for first in range(0, max(used - degree, 0) + 1, degree):
            left = residues[0, used + first : used + first + degree]
            right = np.zeros(degree, np.uint64)
            right[: min(degree, used)] = known[first : first + degree]
            if left.all():
                equations.append((left, right))
    if used >= degree:
        return _best(ring.q, (_divide(ring, right, left) for left, right in equations))
    if 2 * used < degree or len(equations) < 2:
        raise AttackError(
            f"a sum shows {used} of {degree} coefficients: two sums of at least {degree // 2} coefficients are needed"
        )
    return _best(ring.q, (_solve_truncated(ring, used, *pair) for pair in combinations(equations, 2)))


def _divide(ring: Ring, right: NDArray[np.uint64], left: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """right (N,), coefficients, over left (N,), transformed and nowhere 0: transformed."""
    transformed = right.copy()
    ring.forward(transformed)
    return multiply(transformed, _inverses(left, ring.q), ring.q)


def _solve_truncated(
    ring: Ring,
    used: int,
    one: tuple[NDArray[np.uint64], NDArray[np.uint64]],
    other: tuple[NDArray[np.uint64], NDArray[np.uint64]],
) -> NDArray[np.uint64] | None:
    """s (N,), transformed, from two equations c1 s = k + X^used x, each with c1 transformed and k in coefficients."""
    (c1, k), (c1_other, k_other) = one, other
    missing = ring.degree - used
    ratio = multiply(c1_other, _inverses(c1, ring.q), ring.q)
    carried = k.copy()
    ring.forward(carried)
    carried = multiply(carried, ratio, ring.q)
    ring.inverse(carried)
    ring.inverse(ratio)
    g = ratio.tolist()
    # Row i of g X^used x is -sum_j g[missing + i - j] x[j], as X^N = -1; so both sides change their signs.
    right = [int(a) - int(b) for a, b in zip(carried[:missing], k_other[:missing], strict=True)]
    x = toeplitz.solve(g[missing : 2 * missing], g[missing:0:-1], right, ring.q)
    if x is None:
        return None
    whole = k.copy()
    whole[used:] = x.astype(np.uint64)
    return _divide(ring, whole, c1)


def grid_point(parameters: Parameters, opened: NDArray[np.int64]) -> NDArray[np.object_]:
    """The plaintext that opens to these integers with no noise at all: (n_coefficients,) Python integers."""
    if opened.shape != (parameters.spec.length,):
        raise AttackError(f"an opened sum of these parameters has {parameters.spec.length} integers")
    padded = np.zeros(parameters.fields * parameters.n_coefficients, object)
    padded[: len(opened)] = opened
    fields = padded.reshape(parameters.fields, -1)
    return np.asarray(sum(row * (parameters.scale * parameters.radix**f) for f, row in enumerate(fields)), object)


def _equation(ring: Ring, chunk: Chunk, values: NDArray[np.float64]) -> tuple[NDArray[np.uint64], NDArray[np.object_]]:
    """c1 (N,) and the right-hand side r(w) - c0(w) - c0(1/w), (N,) below q."""
    right = (_symmetric(values * chunk.scale, ring.degree) % ring.q).astype(np.uint64)
    ring.forward(right)
    c0 = chunk.c0[0].astype(object)
    return chunk.c1[0], np.asarray((right.astype(object) - c0 - c0[::-1]) % ring.q)


def _symmetric(values: NDArray[np.float64], degree: int) -> NDArray[np.object_]:
    """Coefficients (N,) of m(X) + m(1/X) from the real parts (N / 2,) of m at SEAL's slots."""
    order = np.array([pow(_SLOT_GENERATOR, j, 2 * degree) for j in range(degree // 2)]) // 2
    at_roots = np.empty(degree)
    at_roots[order] = 2 * values
    at_roots[degree - 1 - order] = 2 * values
    twist = np.exp(-1j * np.pi * np.arange(degree) / degree)
    coefficients = np.rint((np.fft.fft(at_roots) * twist).real / degree)
    return np.array([int(each) for each in coefficients], object)


def _solve_pair(
    q: int,
    one: tuple[NDArray[np.uint64], NDArray[np.object_]],
    other: tuple[NDArray[np.uint64], NDArray[np.object_]],
) -> NDArray[np.uint64] | None:
    """s (N,), transformed, by Cramer's rule in each pair of slots; None where a pair has no single solution."""
    a, b = one[0].astype(object), other[0].astype(object)
    u, v = one[1], other[1]
    determinant = np.asarray((a * b[::-1] - a[::-1] * b) % q).astype(np.uint64)
    if not determinant.all():
        return None
    numerator = np.asarray((u * b[::-1] - a[::-1] * v) % q).astype(np.uint64)
    return multiply(numerator, _inverses(determinant, q), q)


def _inverses(values: NDArray[np.uint64], q: int) -> NDArray[np.uint64]:
    return np.array([pow(value, -1, q) for value in values.tolist()], np.uint64)


def _best(q: int, solutions: Iterator[NDArray[np.uint64] | None]) -> Attempt:
    """Try solutions until one is a key."""
    solved, share = 0, 0.0
    for transformed in solutions:
        if transformed is None:
            continue
        solved += 1
        key, ternary = as_key(transformed, q)
        share = max(share, ternary)
        if key is not None:
            return Attempt(key, solved, share)
    return Attempt(None, solved, share)
