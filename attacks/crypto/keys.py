"""Telling a secret key from garbage: SEAL's keys are ternary, and leave only a short error of the public key."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocols.ckks.parameters import Parameters
from protocols.ckks.wire import public_key_streams
from protocols.ring import Ring

_LARGEST_ERROR = 21
"""SEAL's errors are centred binomial with 42 coins."""


def centred(residues: NDArray[np.uint64], q: int) -> NDArray[np.int64]:
    """The representatives in (-q / 2, q / 2], for q below 2**63."""
    signed = residues.astype(np.int64)
    return np.where(signed > q // 2, signed - q, signed)


def multiply(a: NDArray[np.uint64], b: NDArray[np.uint64], q: int) -> NDArray[np.uint64]:
    """Elementwise a b mod q, through Python's integers."""
    return np.asarray(a.astype(object) * b.astype(object) % q).astype(np.uint64)


def as_key(transformed: NDArray[np.uint64], q: int) -> tuple[NDArray[np.int8] | None, float]:
    """The ternary polynomial (N,) whose transform modulo q this is, or None; and the share of ternary coefficients.

    Garbage has a share of about 3 / q, so a whole key does not arise by chance.
    """
    coefficients = transformed.copy()
    Ring.of(len(coefficients), q).inverse(coefficients)
    found = centred(coefficients, q)
    ternary = np.abs(found) <= 1
    return (found.astype(np.int8) if ternary.all() and found.any() else None), float(ternary.mean())


def fits_public_key(parameters: Parameters, public_key: bytes, key: Sequence[int] | NDArray[np.int8]) -> bool:
    """Whether b + a s is as short as SEAL's errors, for the public key (b, a) as the protocol's setup carries it.

    Holds for the true key, and for no other with noticeable probability: a wrong s leaves b + a s uniform.
    Raises a ProtocolError where the bytes are no public key of these parameters.
    """
    streams = public_key_streams(parameters)
    residues = streams.zeros()
    streams.unpack(public_key, residues, what="The public key")
    q, ring = parameters.key_primes[0], Ring.of(parameters.degree, parameters.key_primes[0])
    secret = (np.asarray(key, np.int64) % q).astype(np.uint64)
    ring.forward(secret)
    b, a = residues[0].reshape(2, -1)
    error = (b + multiply(a, secret, q)) % np.uint64(q)
    ring.inverse(error)
    return bool(np.abs(centred(error, q)).max() <= _LARGEST_ERROR)
