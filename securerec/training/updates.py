"""What a cohort is about to upload, before anything protects it."""

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Change = tuple[NDArray[np.int32], NDArray[np.float32]]
"""Touched rows (t,), no row twice, and their change (t, width); all other rows are zero."""


class Updates(Protocol):
    """One vector from each client: a change of the rows of a matrix."""

    def of(self, client: int) -> Change:
        """One client's."""
        ...

    def digest(self) -> str:
        """Hex; equal for equal changes of everybody, and different for different ones."""
        ...

    def part(self, clients: NDArray[np.int64]) -> "Updates":
        """Only what these clients' own devices need to have, to be sent to another process."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class RowUpdates:
    """Client `clients[i]` changed `rows[cuts[i]:cuts[i + 1]]` by the same slice of `delta` (total, width) float32.

    clients: (n,) int64, rising; cuts: (n + 1,) int64; rows: (total,) int32.
    """

    clients: NDArray[np.int64]
    cuts: NDArray[np.int64]
    rows: NDArray[np.int32]
    delta: NDArray[np.float32]

    @classmethod
    def gathered(cls, updates: Updates, clients: NDArray[np.int64]) -> "RowUpdates":
        """A copy of some clients' changes."""
        parts = [updates.of(int(client)) for client in clients]
        cuts = np.concatenate(([0], np.cumsum([len(rows) for rows, _ in parts]))).astype(np.int64)
        return cls(
            clients, cuts, np.concatenate([rows for rows, _ in parts]), np.concatenate([delta for _, delta in parts])
        )

    def of(self, client: int) -> Change:
        place = place_of(self.clients, client)
        span = slice(self.cuts[place], self.cuts[place + 1])
        return self.rows[span], self.delta[span]

    def digest(self) -> str:
        return digest_of(self, self.clients)

    def part(self, clients: NDArray[np.int64]) -> "RowUpdates":
        return RowUpdates.gathered(self, clients)


def place_of(clients: NDArray[np.int64], client: int) -> int:
    """Where a client stands in a rising list of them. Raises KeyError for one that is not there."""
    place = int(np.searchsorted(clients, client))
    if place == len(clients) or clients[place] != client:
        raise KeyError(client)
    return place


def digest_of(updates: Updates, clients: NDArray[np.int64]) -> str:
    """SHA-256 over every client's rows and changes."""
    parts = [updates.of(int(client)) for client in clients]
    state = hashlib.sha256(np.array([len(rows) for rows, _ in parts], np.int64).tobytes())
    for rows, delta in parts:
        state.update(rows.tobytes())
        state.update(delta.tobytes())
    return state.hexdigest()
