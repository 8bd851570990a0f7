"""Uploads and opened sums of a run's mechanism, drawn as devices would make them, for audits of its epsilon."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from attacks.epsilon.worst_pair import Vector
from securerec.privacy.mechanism import Mechanism
from securerec.privacy.randomness import KEY_BYTES, NoiseKey

_LABEL = "audit"

Update = tuple[NDArray[np.int32], NDArray[np.float32]]
MakeKey = Callable[[bytes], NoiseKey]
NOTHING: Update = (np.empty(0, np.int32), np.empty((0, 1), np.float32))


def simulated_key(secret: bytes) -> NoiseKey:
    """A key that serves one audit only, marked as reproducible."""
    return NoiseKey(secret, reproducible=True)


def touched(update: Vector) -> Update:
    """Its coordinates that are not zero, as rows of width 1."""
    rows = np.flatnonzero(update)
    return rows.astype(np.int32), update[rows, None].astype(np.float32)


def project_uploads(
    mechanism: Mechanism,
    make_key: MakeKey,
    known_key: NoiseKey | None,
    update: Vector | None,
    direction: Vector,
    n: int,
    rng: np.random.Generator,
) -> Vector:
    """<direction, one client's uploads>, (n,), for n clients with one and the same update, (rounds, dimension)."""
    key = make_key(rng.bytes(KEY_BYTES))
    projections = np.zeros(n)
    for number, along in enumerate(direction):
        rows, delta = NOTHING if update is None else touched(update[number])
        looked_at = np.flatnonzero(along)
        for client in range(n):
            values = mechanism.privatise(rows, delta, key.stream(_LABEL, number, client))
            if known_key is not None:
                values = values - _noise(mechanism, rows, delta, known_key, number, client)
            projections[client] += along[looked_at] @ values[looked_at]
    return projections


def _noise(
    mechanism: Mechanism, rows: NDArray[np.int32], delta: NDArray[np.float32], key: NoiseKey, number: int, client: int
) -> NDArray[np.int64]:
    """What this key added to an update of these rows, rounding included; its size plays no part when whole."""
    return mechanism.privatise(rows, np.zeros_like(delta), key.stream(_LABEL, number, client))


def project_sums(
    mechanism: Mechanism,
    survivors: int,
    make_key: MakeKey,
    update: Vector | None,
    direction: Vector,
    n: int,
    rng: np.random.Generator,
) -> Vector:
    """<direction, sum>, (n,): one client with the update, (1, dimension), and all the others' noise.

    An upload of another client holds its noise for all n sums, in a vector that many times as long.
    """
    projections = project_uploads(mechanism, make_key, None, update, direction, n, rng)
    key = make_key(rng.bytes(KEY_BYTES))
    long = dataclasses.replace(mechanism, dimension=n * mechanism.dimension)
    total = np.zeros(long.dimension, np.int64)
    for client in range(1, survivors):
        total += long.privatise(*NOTHING, key.stream(_LABEL, 0, client))
    return projections + total.reshape(n, -1) @ direction[0]


def opened_sums(
    mechanism: Mechanism,
    survivors: int,
    rounds: int,
    make_key: MakeKey,
    updates: Sequence[Update],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Total over rounds of the sums of `survivors` uploads, (dimension,): the first ones with these updates in every
    round, the others with noise alone."""
    key = make_key(rng.bytes(KEY_BYTES))
    total = np.zeros(mechanism.dimension, np.int64)
    for number in range(1, rounds + 1):
        for client in range(survivors):
            rows, delta = updates[client] if client < len(updates) else NOTHING
            total += mechanism.privatise(rows, delta, key.stream(_LABEL, number, client))
    return total.astype(np.float64)
