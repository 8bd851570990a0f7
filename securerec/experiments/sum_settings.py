"""Which sums are measured, and what is said of each."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import protocols
from protocols.registry import PROTOCOLS, load

NOISE_SIGMA = 2.0
"""Deviation of each client's noise: the least that `securerec run` adds."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A sum of `clients` vectors of `length` values that fit `bits` bits before noise.

    dropouts: share of the parties asked in the phase `dropouts_at` that are gone from then on.
    """

    protocol: str
    length: int
    clients: int
    bits: int
    dropouts: float = 0.0
    dropouts_at: str = "upload"

    def spec(self) -> protocols.SumSpec:
        return protocols.SumSpec(
            length=self.length,
            max_clients=self.clients,
            min_clients=max(1, int(self.clients * 0.6)),
            value_bound=(1 << (self.bits - 1)) - 1,
            noise_sigma=NOISE_SIGMA,
        )

    def values(self, client: int) -> NDArray[np.int64]:
        """A client's vector, the same at each call: extreme values at both ends, noise on all."""
        rng = np.random.default_rng([self.length, self.bits, client])
        bound = self.spec().value_bound
        values = rng.integers(-bound, bound + 1, self.length)
        edge = min(64, self.length // 2)
        values[:edge], values[-edge:] = bound, -bound
        return values + np.rint(rng.normal(0, NOISE_SIGMA, self.length)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Cost:
    """One row. upload_bytes: all that one client sends in a round, the largest; expansion: over 4 bytes a value.

    client_ms: all of one client's work, median; server_ms: a client's share of receiving; opening_ms: from the last
    upload to the sum, the server's and the slowest decryptor's work; decryptor_ms: the latter alone; decryptor_bytes:
    what one decryptor gets and sends; wrong: values that differ from the plain sum; peak_mb: how much the server's
    memory grew at its peak.
    """

    protocol: str
    parameters: str
    length: int
    clients: int
    bits: int
    upload_bytes: int
    expansion: float
    client_ms: float
    server_ms: float
    opening_ms: float
    decryptor_ms: float
    decryptor_bytes: int
    wrong: int
    peak_mb: float | None


def phases_of(protocol: str) -> tuple[str, ...]:
    """Names of a protocol's phases."""
    return tuple(phase.name for phase in load(PROTOCOLS[protocol].server).round_class.phases)


def settings(
    names: list[str],
    lengths: list[int],
    clients: list[int],
    bits: list[int],
    *,
    beside: list[str],
    dropouts: float,
    dropouts_at: str,
) -> Iterator[Setting]:
    """The grid, and each of the ways beside once for each length and bit width."""
    for length in lengths:
        for width in bits:
            for name in names:
                for n in clients:
                    yield Setting(name, length, n, width, dropouts, dropouts_at)
            for name in beside:
                yield Setting(name, length, max(clients), width)
