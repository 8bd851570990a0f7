"""How a round's updates become one sum of integers through a protocol: devices upload, adders add, the decryptor
opens.
"""

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

import protocols
from securerec.federation.devices import DeviceGroup, Quantiser
from securerec.federation.pool import DevicePool
from securerec.privacy.randomness import NoiseKey
from securerec.training.cohort import CohortUpdate

GROUPS_PER_WORKER = 4
"""Several groups a worker, so that unequal devices even out."""


@dataclass(frozen=True, slots=True)
class OpenedSum:
    """What came out of a round: `total` (length,) int64 over `survivors` clients.

    `upload_bytes` a client, None where nothing was uploaded; `saturated` coordinates that met the bound of a sum
    without privacy; `seconds` by phase; `recorded` (n_clients, length) int32 the clients' integers when they
    were asked for.
    """

    total: NDArray[np.int64]
    survivors: int
    upload_bytes: int | None
    saturated: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    recorded: NDArray[np.int32] | None = None


class SecureSum:
    """Sums updates through a protocol of `protocols`, with its decryptor beside the server, both in this process."""

    def __init__(
        self, protocol: str, spec: protocols.SumSpec, quantiser: Quantiser, noise_key: NoiseKey, pool: DevicePool,
        *, run_id: bytes, label: str,
    ) -> None:  # fmt: skip
        self.quantiser, self.label = quantiser, label
        self._noise_secret, self._pool = noise_key.to_bytes(), pool
        self._decryptor = protocols.decryptor(protocol, spec, run_id=run_id)
        self._bundle = self._decryptor.bundle()

    def __call__(self, update: CohortUpdate, round_number: int, *, record: bool) -> OpenedSum:
        """The exact sum of all clients' privatised updates. Raises ProtocolError when the decryptor refuses."""
        started = time.perf_counter()
        # Noise is bound to what it hides: other updates in the same round, after a crash, get other noise.
        label = f"{self.label} {update.digest()}"
        results = self._pool.play(self._groups(update, round_number, label, record))
        server = protocols.server(self._bundle, round_number=round_number)
        for result in results:
            server.merge(result.partial)
        played = time.perf_counter()
        total = self._decryptor.open(server.aggregate())
        opened = time.perf_counter()
        spent = {phase: sum(result.seconds[phase] for result in results) for phase in results[0].seconds}
        # The processes' clocks overlap: the time that passed here is split in proportion to theirs.
        share = (played - started) / max(sum(spent.values()), 1e-12)
        return OpenedSum(
            total,
            len(server.contributors),
            max(result.upload_bytes for result in results),
            sum(result.saturated for result in results),
            {phase: value * share for phase, value in spent.items()} | {"open": opened - played},
            np.concatenate([r.recorded for r in results if r.recorded is not None]) if record else None,
        )

    def _groups(self, update: CohortUpdate, round_number: int, label: str, record: bool) -> list[DeviceGroup]:
        groups = []
        n_groups = self._pool.workers * GROUPS_PER_WORKER if self._pool.workers > 1 else 1
        for clients in np.array_split(np.arange(len(update.counts)), n_groups):
            if not clients.size:
                continue
            parts = [update.of(int(client)) for client in clients]
            groups.append(
                DeviceGroup(
                    self._bundle, self.quantiser, self._noise_secret, label, round_number, clients,
                    np.concatenate(([0], np.cumsum(update.counts[clients]))),
                    np.concatenate([rows for rows, _ in parts]), np.concatenate([delta for _, delta in parts]), record,
                )
            )  # fmt: skip
        return groups
