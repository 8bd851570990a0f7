"""How a round's updates become one sum of integers: devices, server and decryptors exchange a protocol's messages."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import protocols
from protocols.errors import ProtocolError
from securerec.federation.devices import Enrolment, LocalUpdates, Quantiser
from securerec.federation.guards import Origin, table_digest
from securerec.federation.pool import DevicePool
from securerec.federation.promise import attempt_label
from securerec.federation.spool import Spool
from securerec.models.head import Heads
from securerec.models.scorers import Learner, ScoreFunctions
from securerec.privacy.mechanism import FixedPoint
from securerec.privacy.randomness import KeyStream, NoiseKey
from securerec.training.cohort import Table
from securerec.training.updates import Updates


@dataclass(frozen=True, slots=True)
class OpenedSum:
    """What came out of a round: `total` (length,) int64 over `survivors` clients.

    `upload_bytes` is what one client sent in all its messages, the largest, None where nothing was sent; `saturated`
    coordinates that met the bound of a sum without privacy; `seconds` by phase; `recorded` (n_clients, length) int32
    the clients' integers when they were asked for.
    """

    total: NDArray[np.int64]
    survivors: int
    upload_bytes: int | None
    saturated: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    recorded: NDArray[np.int32] | None = field(default=None, repr=False)


def clear_sum(
    quantiser: Quantiser, updates: Updates, n_clients: int, stream_of: Callable[[int], KeyStream], *,
    record: bool = False,
) -> OpenedSum:  # fmt: skip
    """The sum of everybody's privatised vectors, without a protocol: nothing is sent.

    stream_of: a client's stream of noise. record: keep the clients' integers in the result.
    """
    clock = time.perf_counter()
    total, saturated = np.zeros(quantiser.dimension, np.int64), 0
    recorded = np.empty((n_clients, quantiser.dimension), np.int32) if record else None
    for client in range(n_clients):
        rows, delta = updates.of(client)
        if isinstance(quantiser, FixedPoint):
            saturated += quantiser.saturated(delta)
            if recorded is None:
                # most rows are untouched, and without noise they stay so
                if len(rows):
                    total.reshape(-1, delta.shape[1])[rows] += quantiser.steps(rows, delta)
                continue
        values = quantiser.privatise(rows, delta, stream_of(client))
        total += values
        if recorded is not None:
            recorded[client] = values
    return OpenedSum(total, n_clients, None, saturated, {"privatise": time.perf_counter() - clock}, recorded)


class SecureSum:
    """Sums updates through a protocol of `protocols`, all parties on this machine.

    Each party has identities of its own, made here and gone with this object: an interrupted run goes on with new ones.
    """

    def __init__(
        self, protocol: str, spec: protocols.SumSpec, quantiser: Quantiser, noise_key: NoiseKey, pool: DevicePool,
        *, run_id: bytes, label: str, origin: Origin, learner: Learner, folder: Path, basis: bytes = b"",
        heads: Heads | None = None, attempt: Callable[[], int] = lambda: 1,
    ) -> None:  # fmt: skip
        """learner: how devices score. folder: where uploads wait in a round, in a file without a name. basis: digest of
        what devices were sent beside the tables. heads: what is added to everybody's scores. attempt: which one at its
        release a sum is, from 1: no two share noise.
        """
        self._folder, self._basis, self._attempt = folder, basis, attempt
        self.quantiser, self.label = quantiser, label
        self._pool = pool
        self._clients = np.arange(spec.max_clients, dtype=np.int64)
        self._parts = pool.parts(self._clients)
        self._min_survivors = spec.min_clients
        enrolled = protocols.enrol(protocol, spec, run_id=run_id, client_ids=range(spec.max_clients))
        self._server, self._decryptors = enrolled.server(), enrolled.decryptors
        pool.enrol(
            label,
            [
                Enrolment(
                    enrolled.setup, enrolled.enrolment.public,
                    {int(client): enrolled.client_identities[int(client)].to_bytes() for client in part},
                    noise_key.to_bytes(), quantiser, spec.min_clients, origin, learner,
                    None if heads is None else Heads(heads.head, heads.tastes[part]),
                )
                for part in self._parts
            ],
        )  # fmt: skip

    @property
    def scale(self) -> float:
        """Integers to a unit of the update."""
        return self.quantiser.scale

    def __call__(
        self, table: Table, updates: Updates, round_number: int, *, functions: ScoreFunctions | None = None,
        record: bool = False,
    ) -> OpenedSum:  # fmt: skip
        """The exact sum of all clients' privatised updates, which follow from the broadcast `table`.

        functions: what the clients score with after local training; None where nothing is scored. record: keep the
        clients' integers in the result. Raises ProtocolError when a round is given up or a party refuses it, RunError
        where uploads find no room.
        """
        with Spool(self._folder) as spool:
            return self._round(table, updates, round_number, functions, record, spool)

    def _round(
        self, table: Table, updates: Updates, round_number: int, functions: ScoreFunctions | None, record: bool,
        spool: Spool,
    ) -> OpenedSum:  # fmt: skip
        clock = time.perf_counter()
        label = attempt_label(self.label, self._attempt())
        work = [
            LocalUpdates(
                round_number, table, part, updates.part(part),
                None if functions is None else functions.of(part),
                label, self._basis, record,
            )
            for part in self._parts
        ]  # fmt: skip
        self._pool.begin(self.label, work)
        server_round = self._server.open_round(
            round_number, context=table_digest(table, self._basis), min_survivors=self._min_survivors, spool=spool
        )
        played = _Played(np.zeros(len(self._clients), np.int64))
        recorded = np.empty((len(self._clients), self.quantiser.dimension), np.int32) if record else None
        devices = time.perf_counter() - clock
        opening = 0.0
        while not server_round.done:
            clock = time.perf_counter()
            outbox = server_round.outbox()
            to_clients = [
                {int(c): outbox[address] for c in part if (address := protocols.Address("client", int(c))) in outbox}
                for part in self._parts
            ]
            for answers in self._pool.answers(self.label, to_clients) if any(to_clients) else ():
                played.count(answers.seconds, answers.saturated)
                adding = time.perf_counter()
                for client, message in answers.messages.items():
                    server_round.receive(message)
                    played.sent[client] += len(message)
                played.seconds["add"] += time.perf_counter() - adding
                if recorded is not None:
                    for client, values in answers.recorded.items():
                        recorded[client] = values
            devices += time.perf_counter() - clock
            clock = time.perf_counter()
            for address, message in outbox.items():
                if address.role == "decryptor":
                    server_round.receive(self._decryptors[address.number].answer(message))
            server_round.close_phase()
            opening += time.perf_counter() - clock
        result = server_round.result
        if result.complaints:
            # All parties here run the genuine program: whatever was refused is a fault, not an attack.
            raise ProtocolError(result.complaints[0])
        return OpenedSum(
            result.values, len(result.survivors), int(played.sent.max()), played.saturated,
            played.shares(devices) | {"open": opening}, recorded,
        )  # fmt: skip


@dataclass(slots=True)
class _Played:
    """What all devices together took and sent."""

    sent: NDArray[np.int64]
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("privatise", "encrypt", "add"), 0.0))
    saturated: int = 0

    def count(self, seconds: dict[str, float], saturated: int) -> None:
        for phase, spent in seconds.items():
            self.seconds[phase] += spent
        self.saturated += saturated

    def shares(self, passed: float) -> dict[str, float]:
        """The seconds that passed, split in proportion: the processes' clocks overlap."""
        share = passed / max(sum(self.seconds.values()), 1e-12)
        return {phase: spent * share for phase, spent in self.seconds.items()}
