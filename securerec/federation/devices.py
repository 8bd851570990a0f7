"""What devices do in a round: privatise the local update, and answer the server's messages. Bytes in, bytes out."""

import hashlib
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

import protocols
from securerec.errors import RunError
from securerec.privacy.mechanism import FixedPoint, Mechanism
from securerec.privacy.randomness import NoiseKey

Quantiser = Mechanism | FixedPoint


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a process needs to play some devices of a run's sums, for all its rounds.

    setup: the public facts, as bytes; enrolment_public: the pinned key that signed the roster; identities: each
    device's private keys by client number; noise_secret: the stored NoiseKey from which each device's noise grows;
    min_survivors: every device's floor, below which it takes no part, since its noise was sized for it.
    """

    setup: bytes
    enrolment_public: bytes
    identities: dict[int, bytes] = field(repr=False)
    noise_secret: bytes = field(repr=False)
    quantiser: Quantiser
    min_survivors: int


@dataclass(frozen=True, slots=True)
class LocalUpdates:
    """What some devices trained in a round.

    table: (n_items, dim) as it was broadcast. Device `clients[i]` touched `rows[cuts[i]:cuts[i + 1]]` and changed
    them by the same slice of `delta`. label: with round and client it names a device's noise. record: return the
    integers too.
    """

    round_number: int
    table: NDArray[np.float32]
    clients: NDArray[np.int64]
    cuts: NDArray[np.int64]
    rows: NDArray[np.int32]
    delta: NDArray[np.float32]
    label: str
    record: bool = False


@dataclass(frozen=True, slots=True)
class Answers:
    """What devices answered to messages of one phase.

    messages: by client. seconds: privatise, encrypt. saturated: coordinates that met the bound of an upload without
    privacy. recorded: by client the integers (length,) that it uploaded, where asked for.
    """

    messages: dict[int, bytes]
    seconds: dict[str, float]
    saturated: int
    recorded: dict[int, NDArray[np.int64]]


class DeviceHost:
    """Plays some devices: each with its own keys and state, sharing nothing but the process."""

    def __init__(self, enrolment: Enrolment) -> None:
        self._enrolment = enrolment
        self._noise_key = NoiseKey.from_bytes(enrolment.noise_secret)
        self._clients = {
            number: protocols.client(
                enrolment.setup, protocols.Identity.from_bytes(identity), enrolment.enrolment_public,
                min_survivors=enrolment.min_survivors,
            )
            for number, identity in enrolment.identities.items()
        }  # fmt: skip
        self._work: LocalUpdates | None = None
        self._context = b""
        self._place: dict[int, int] = {}
        self._rounds: dict[int, protocols.ClientRound] = {}

    def begin(self, work: LocalUpdates) -> None:
        """Hand the devices what they trained; replaces what is left of an earlier round."""
        self._work = work
        self._context = table_digest(work.table)
        self._place = {int(client): place for place, client in enumerate(work.clients)}
        self._rounds = {}

    def answer(self, messages: dict[int, bytes]) -> Answers:
        """Each device's answer to its message. Raises ProtocolError where a device refuses, RunError before `begin`."""
        work = self._work
        if work is None:
            raise RunError("devices were asked to answer before they had trained")
        started, privatising, saturated = time.perf_counter(), 0.0, 0
        answers: dict[int, bytes] = {}
        recorded: dict[int, NDArray[np.int64]] = {}
        for number, message in messages.items():
            joined = self._rounds.get(number)
            if joined is None:
                joined = self._rounds[number] = self._clients[number].join(message)
                if joined.context != self._context:
                    raise RunError(f"the broadcast of round {work.round_number} is signed for another item table")
            if joined.uploads_next:
                privatised = time.perf_counter()
                values, cut = self._privatise(work, number)
                privatising += time.perf_counter() - privatised
                saturated += cut
                joined.provide(values)
                if work.record:
                    recorded[number] = values
            answers[number] = joined.answer(message)
        seconds = {"privatise": privatising, "encrypt": time.perf_counter() - started - privatising}
        return Answers(answers, seconds, saturated, recorded)

    def _privatise(self, work: LocalUpdates, number: int) -> tuple[NDArray[np.int64], int]:
        place, quantiser = self._place[number], self._enrolment.quantiser
        span = slice(work.cuts[place], work.cuts[place + 1])
        rows, delta = work.rows[span], work.delta[span]
        stream = self._noise_key.stream(work.label, work.round_number, number)
        cut = quantiser.saturated(delta) if isinstance(quantiser, FixedPoint) else 0
        return quantiser.privatise(rows, delta, stream), cut


def table_digest(table: NDArray[np.float32]) -> bytes:
    """32 bytes that differ for different item tables; what a round's broadcast is signed for."""
    shape = np.array(table.shape, np.int64).tobytes()
    return hashlib.sha256(b"securerec item table\0" + shape + np.ascontiguousarray(table).tobytes()).digest()
