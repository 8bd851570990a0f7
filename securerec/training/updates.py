"""What a cohort is about to upload, before anything protects it."""

import hashlib
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from securerec.models.scorers import ScoreFunctions

Table = NDArray[np.float32]

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
    rows: NDArray[np.int32] = field(repr=False)
    delta: NDArray[np.float32] = field(repr=False)

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
        return digest_of(self, self.clients, np.diff(self.cuts))

    def part(self, clients: NDArray[np.int64]) -> "RowUpdates":
        return RowUpdates.gathered(self, clients)


@dataclass(frozen=True, slots=True)
class CohortUpdate:
    """What one round's local training changed. The arrays belong to the trainer and hold until its next round.

    Client c touched `rows[starts[c] : starts[c] + counts[c]]` (item numbers), and `delta` at the same places is
    `E_c - E`, the change of its own view of those item rows from the broadcast table. `losses` (n_clients,) float64 is
    each client's mean binary cross-entropy in nats. `functions`: what the clients score with after it.
    """

    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    rows: NDArray[np.int32] = field(repr=False)
    delta: NDArray[np.float32] = field(repr=False)
    losses: NDArray[np.float64]
    functions: ScoreFunctions

    def digest(self) -> str:
        """SHA-256 of everybody's changes, hex: equal updates have equal digests."""
        return digest_of(self, np.arange(len(self.counts)), self.counts)

    def part(self, clients: NDArray[np.int64]) -> RowUpdates:
        """A copy of some clients' changes."""
        return RowUpdates.gathered(self, clients)

    def of(self, client: int) -> Change:
        """Touched rows (t,) and their change (t, dim) of one client."""
        span = slice(self.starts[client], self.starts[client] + self.counts[client])
        return self.rows[span], self.delta[span]


@dataclass(frozen=True, slots=True)
class IntegerSum:
    """The plain sum of rounded updates: `total` (n_items, dim) int64, and how many coordinates met the bound."""

    total: NDArray[np.int64]
    saturated: int


def place_of(clients: NDArray[np.int64], client: int) -> int:
    """Where a client stands in a rising list of them. Raises KeyError for one that is not there."""
    place = int(np.searchsorted(clients, client))
    if place == len(clients) or clients[place] != client:
        raise KeyError(client)
    return place


def digest_of(updates: Updates, clients: NDArray[np.int64], counts: NDArray[np.int64] | None = None) -> str:
    """SHA-256 over every client's rows and changes. counts: how many rows each of `clients` changes, where known."""
    if counts is None:
        counts = np.array([len(updates.of(int(client))[0]) for client in clients], np.int64)
    state = hashlib.sha256(np.asarray(counts, np.int64).tobytes())
    for client in clients:
        rows, delta = updates.of(int(client))
        state.update(rows.tobytes())
        state.update(delta.tobytes())
    return state.hexdigest()
