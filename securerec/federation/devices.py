"""What devices do in a round: privatise the local update, and answer the server's messages. Bytes in, bytes out."""

import hashlib
import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

import protocols
from securerec.errors import RunError
from securerec.federation.guards import (
    Guards,
    Origin,
    TableRefused,
    TableWatch,
    check_once,
    check_scores,
    table_digest,
)
from securerec.models.head import Heads
from securerec.models.scorers import Learner, ScoreFunctions
from securerec.privacy.mechanism import FixedPoint, Mechanism
from securerec.privacy.randomness import NoiseKey
from securerec.training.updates import Change, Updates

Quantiser = Mechanism | FixedPoint


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a process needs to play some devices of a run's sums, for all its rounds.

    setup: the public facts, as bytes; enrolment_public: the pinned key that signed the roster; identities: each
    device's private keys by client number; noise_secret: the stored NoiseKey from which each device's noise grows;
    min_survivors: every device's floor, below which it takes no part, since its noise was sized for it; origin: where
    the item table starts; learner: how devices score; heads: what is added to the scores of each, in the order of
    `identities`, None for nothing; guards: what devices check before they answer.
    """

    setup: bytes
    enrolment_public: bytes
    identities: dict[int, bytes] = field(repr=False)
    noise_secret: bytes = field(repr=False)
    quantiser: Quantiser
    min_survivors: int
    origin: Origin
    learner: Learner
    heads: Heads | None = field(default=None, repr=False)
    guards: Guards = Guards()


@dataclass(frozen=True, slots=True)
class LocalUpdates:
    """What some devices trained in a round.

    table: (n_rows, width) as it was broadcast. updates: what each of `clients` changes. functions: what they score
    with after it, in the order of `clients`; None where nothing is scored. label: of the attempt, which with round,
    client and the client's own update names its noise. basis: digest of what was broadcast beside the table. record:
    return the integers too.
    """

    round_number: int
    table: NDArray[np.float32]
    clients: NDArray[np.int64]
    updates: Updates = field(repr=False)
    functions: ScoreFunctions | None = field(repr=False)
    label: str
    basis: bytes = b""
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
    recorded: dict[int, NDArray[np.int64]] = field(repr=False)


class DeviceHost:
    """Plays some devices, each with its own keys and state. They share the process, and the tables they are sent."""

    def __init__(self, enrolment: Enrolment, *, answered: MutableMapping[tuple[int, bytes], str] | None = None) -> None:
        """answered: by device and table, what it answered in any run; durable where devices outlive this process, a
        dictionary if None.
        """
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
        self._answered: MutableMapping[tuple[int, bytes], str] = {} if answered is None else answered
        self._watch = TableWatch(enrolment.guards, enrolment.origin)
        self._refusal: TableRefused | None = None
        self._place: dict[int, int] = {}
        self._rounds: dict[int, protocols.ClientRound] = {}

    def begin(self, work: LocalUpdates) -> None:
        """Hand the devices what they trained; replaces what is left of an earlier round."""
        self._work = work
        self._context = table_digest(work.table, work.basis)
        self._place = {int(client): place for place, client in enumerate(work.clients)}
        self._rounds = {}
        self._refusal = None
        try:
            self._watch.look(work.table, work.round_number)
        except TableRefused as refusal:
            self._refusal = refusal

    def answer(self, messages: dict[int, bytes]) -> Answers:
        """Each device's answer to its message.

        Raises ProtocolError and TableRefused where a device refuses, RunError before `begin`.
        """
        work = self._work
        if work is None:
            raise RunError("devices were asked to answer before they had trained")
        started, privatising, saturated = time.perf_counter(), 0.0, 0
        answers: dict[int, bytes] = {}
        recorded: dict[int, NDArray[np.int64]] = {}
        for number, message in messages.items():
            joined, change = self._rounds.get(number), None
            if joined is None:
                joined = self._rounds[number] = self._clients[number].join(message)
                change = work.updates.of(number)
                self._check(work, number, joined.context, change)
            if joined.uploads_next:
                privatised = time.perf_counter()
                values, cut = self._privatise(work, number, change or work.updates.of(number))
                privatising += time.perf_counter() - privatised
                saturated += cut
                joined.provide(values)
                if work.record:
                    recorded[number] = values
            answers[number] = joined.answer(message)
        seconds = {"privatise": privatising, "encrypt": time.perf_counter() - started - privatising}
        return Answers(answers, seconds, saturated, recorded)

    def _check(self, work: LocalUpdates, number: int, signed_for: bytes, change: Change) -> None:
        """Raise TableRefused unless device `number` may answer this round's table."""
        guards = self._enrolment.guards
        if guards.agreement and signed_for != self._context:
            raise TableRefused(
                f"Device {number} does not answer: the broadcast of round {work.round_number} is signed for another "
                "item table than the one it was sent."
            )
        if self._refusal is not None:
            raise self._refusal
        functions = work.functions
        if functions is not None and not self._enrolment.origin.noised:
            place = self._place[number]
            scores = self._enrolment.learner.logits(work.table, functions.of([place]))[0]
            if self._enrolment.heads is not None:
                scores += self._enrolment.heads.logits(np.array([place]))[0]
            check_scores(guards, number, scores)
        check_once(guards, self._answered, number, self._context, own_digest(change))

    def _privatise(self, work: LocalUpdates, number: int, change: Change) -> tuple[NDArray[np.int64], int]:
        quantiser, (rows, delta) = self._enrolment.quantiser, change
        stream = self._noise_key.stream(own_label(work.label, change), work.round_number, number)
        cut = quantiser.saturated(delta) if isinstance(quantiser, FixedPoint) else 0
        return quantiser.privatise(rows, delta, stream), cut


def own_digest(change: Change) -> str:
    """Of one client's change alone, hex: what the others change is nothing that a device knows."""
    rows, delta = change
    state = hashlib.sha256(len(rows).to_bytes(8, "little") + rows.tobytes())
    state.update(delta.tobytes())
    return state.hexdigest()


def own_label(label: str, change: Change) -> str:
    """Names the noise of one client in an attempt: another change of its own gets other noise, as does every other
    attempt.
    """
    return f"{label} {own_digest(change)}"
