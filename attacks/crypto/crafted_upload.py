"""The crafted upload (0, K): one upload that makes the opened sum show K times the decryptor's secret key.

An upload is a pair (c0, c1), and what is opened is the sum of all c0 + c1 s. With c0 = 0 and c1 = K the sum gains K s.
Take K = A scale radix^f X^-j, a point of the grid: then K s lies on the grid as well, adds no noise, and the integers
opened in field f gain A times the coefficients of X^-j s, which are those of s from the j-th on (with the sign turned
past the end, as X^N = -1). Each field of each ciphertext carries a window of its own, so that all values of the vector
show a coefficient of the key; a short vector needs several rounds.

Flooding or rounding noise away does not help: s is in the message. Nor does a look at how far the sum is off the grid,
or a bound on the sums: A = 1 changes each by at most 1. A proof that the upload is well formed would help, or keys of
which no client chooses what they are multiplied by (`ckks-committee`).

A is chosen against what else is in the sum. With sybils that upload zeros A = 1 is enough. With honest clients A
should be some times the size of their sums and leave them room below `spec.sum_bound_of(n)`; readings of one
coefficient, from different fields and rounds, are averaged. A recovered key is checked against the public key before it
is returned. Not tried: subtracting a model of the honest sum; lists of candidates for coefficients read wrongly.

The weakness belongs to every scheme with one joint key and unproven ciphertexts; stated for secure aggregation in the
README's account of `ckks`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.crypto.keys import fits_public_key
from attacks.errors import AttackError
from protocols.ckks.parameters import Parameters
from protocols.ring import Ring


@dataclass(frozen=True, slots=True, eq=False)
class CraftedUpload:
    """body: of an upload, packed. coefficient, sign: (length,) int64, which coefficient of the key each opened value
    shows and with which sign; sign 0 where it shows none."""

    body: bytes
    coefficient: NDArray[np.int64]
    sign: NDArray[np.int64]


def craft(parameters: Parameters, *, amplitude: int, start: int = 0) -> CraftedUpload:
    """An upload that adds `amplitude` times the key's coefficients to the opened sum, window by window from `start`.

    Raises AttackError for an amplitude that the fields cannot hold.
    """
    spec, degree, used = parameters.spec, parameters.degree, parameters.n_coefficients
    if not 1 <= amplitude <= spec.sum_bound:
        raise AttackError(f"the amplitude must be from 1 to {spec.sum_bound}, or the sum is refused as out of range")
    residues = parameters.streams.zeros()
    coefficient = np.zeros(parameters.fields * used, np.int64)
    sign = np.zeros_like(coefficient)
    at = start
    for first in range(0, used, degree):
        count = min(degree, used - first)
        multiplier = np.zeros(degree, object)
        for f in range(parameters.fields):
            where = f * used + first
            # The last fields of the last coefficients are padding, in which the decryptor accepts zeros only.
            if where + count > spec.length:
                continue
            shift = at % degree
            shown = np.arange(shift, shift + count)
            coefficient[where : where + count] = shown % degree
            sign[where : where + count] = np.where(shown < degree, 1, -1)
            # X^-shift = -X^(N - shift)
            place, turn = (degree - shift, -1) if shift else (0, 1)
            multiplier[place] += turn * amplitude * parameters.scale * parameters.radix**f
            at += count
        for row, q in zip(residues, parameters.data_primes, strict=True):
            c1 = (multiplier % q).astype(np.uint64)
            Ring.of(degree, q).forward(c1)
            row[used + first : used + first + degree] = c1
    return CraftedUpload(parameters.streams.pack(residues), coefficient[: spec.length], sign[: spec.length])


def recover_key(
    parameters: Parameters,
    public_key: bytes,
    send: Callable[[bytes], NDArray[np.int64]],
    *,
    amplitude: int,
    max_rounds: int = 16,
) -> NDArray[np.int8] | None:
    """The decryptor's secret key, (N,) int8 ternary, or None where `max_rounds` rounds did not show it.

    public_key: the bytes of the protocol's public key. send: runs one round in which one upload has the body it is
    given, and returns the opened integers (spec.length,); what it raises passes through.
    """
    total, readings = np.zeros(parameters.degree, np.int64), np.zeros(parameters.degree, np.int64)
    start = 0
    for _ in range(max_rounds):
        crafted = craft(parameters, amplitude=amplitude, start=start)
        opened = send(crafted.body)
        np.add.at(total, crafted.coefficient, crafted.sign * opened)
        np.add.at(readings, crafted.coefficient, np.abs(crafted.sign))
        start += int(np.abs(crafted.sign).sum())
        if not readings.all():
            continue
        key = np.clip(np.rint(total / (readings * amplitude)), -1, 1).astype(np.int8)
        if fits_public_key(parameters, public_key, key):
            return key
    return None
