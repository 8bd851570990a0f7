"""A node: one process that plays one device of a federation or many, for all its rounds.

A letter comes in, a letter goes out. In between stand, in this order: is it a letter at all; has it been answered
before; is it later than what was answered; does the owner's policy allow it; is there budget left of what the run
planned; is the broadcast signed for what came with it. Then the devices compute, and guard themselves as in one process
(`securerec.federation.guards`). Before an answer leaves it is on disk: what the devices score with, the ledger's line,
the answer itself.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from protocols.broadcast import Broadcast
from protocols.errors import ProtocolError
from protocols.identity import Identity
from protocols.session import Session
from protocols.setup import Setup
from securerec.device.ledger import DeviceLedger, Sent
from securerec.device.policy import Offer, Policy, PolicyRefused
from securerec.device.records import read_interactions, read_state, write_state
from securerec.device.store import Store
from securerec.errors import ConfigError, SecurerecError
from securerec.federation.devices import DeviceHost, Enrolment, LocalUpdates
from securerec.federation.guards import Origin, TableRefused, table_digest
from securerec.federation.parties.answers import Position, StoredAnswers
from securerec.federation.parties.budget import check_budget
from securerec.federation.parties.letters import (
    Ask,
    Hello,
    LetterError,
    Present,
    Reply,
    attempt_label,
    from_bytes,
    protocol_round,
    sentence,
    to_bytes,
)
from securerec.federation.parties.progress import Progress, read_opened, read_progress, write_opened, write_progress
from securerec.federation.parties.public import Federation
from securerec.federation.parties.silo import ROUND, Silo, Work
from securerec.federation.promise import Promise
from securerec.federation.warm_start import NoisySum, WarmStart
from securerec.models.scorers import ScoreFunctions
from securerec.privacy.events import Event
from securerec.privacy.randomness import NoiseKey
from securerec.training.cohort import Table

Record = Callable[[Position, int, NDArray[np.int64]], None]
"""Told of an attempt, a client, and the integers (length,) that it is about to upload."""


@dataclass(slots=True)
class _Begun:
    """The attempt that the devices have computed for. joined: whose answer has been made."""

    position: Position
    broadcast: Broadcast
    opened: dict[str, NoisySum]
    work: Work
    event: Event
    host: DeviceHost
    joined: set[int] = field(default_factory=set)


class Node:
    """Answers letters for some devices. One process a store (`securerec.device.store.held`)."""

    def __init__(
        self, federation: Federation, identities: Mapping[int, Identity], *, noise_key: NoiseKey, training_key: int,
        store: Store, policy: Policy, ledger: DeviceLedger, clock: Callable[[], float] = time.time,
        record: Record | None = None,
    ) -> None:  # fmt: skip
        """identities: by client number. training_key: seeds the devices' draws of negatives. clock: seconds since 1970.
        record: told of the integers that a device is about to upload, in tests of whole federations.

        Raises PolicyRefused for a federation that the policy does not name; ConfigError, RunError, StoreError and
        ProtocolError for files that do not fit each other.
        """
        if federation.enrolment != policy.pinned:
            raise PolicyRefused("This federation is enrolled by another key than the one that the policy names.")
        self._federation, self._policy, self._ledger, self._store = federation, policy, ledger, store
        self._promises = federation.check()
        if noise_key.reproducible != federation.test_mode:
            raise ConfigError("keys from a seed are for a federation in test mode, and there they must be")
        own = read_interactions(store)
        numbers = sorted(identities)
        if different := sorted(set(own.numbers.tolist()) ^ set(numbers)):
            raise ConfigError(
                f"{store.path} and the identities must be of the same clients, and client {different[0]} is in one "
                "alone"
            )
        if own.lists.n_items != federation.n_items:
            raise ConfigError(
                f"{store.path} is of {own.lists.n_items} items and the catalogue of {federation.n_items}: they must be "
                "the same"
            )
        self._identities = {number: identities[number] for number in numbers}
        self._noise_key, self._clock, self._record = noise_key, clock, record
        self._silo, self._numbers = Silo(federation, own, training_key), own.numbers
        self._sessions = {
            name: Session(setup, self._identities[numbers[0]], federation.enrolment, role="client")
            for name, setup in federation.setups.items()
        }
        self._places = {name: place for place, name in enumerate(self._promises)}
        self._progress, self._opened = self._read_progress(), read_opened(store)
        self._state, self._stored = read_state(store), StoredAnswers(store, self._progress.position)
        self._answered = dict(self._progress.answered)
        self._hosts: dict[str, DeviceHost] = {}
        self._begun: _Begun | None = None

    def _read_progress(self) -> Progress:
        """Where the devices stand, once ledger and store agree. Raises PrivacyError where they do not."""
        known = read_progress(self._store)
        if known is not None:
            self._ledger.check(known.ledger)
        # a store that has answered nothing goes on from whatever its devices have spent
        return self._marked(known or Progress())

    def _marked(self, progress: Progress) -> Progress:
        """`progress` with the ledger as it is now, in the store."""
        marked = replace(progress, ledger=self._ledger.mark())
        if marked != progress:
            write_progress(self._store, marked)
        return marked

    def __repr__(self) -> str:
        return f"Node(devices={len(self._identities)}, at={self._progress.position})"

    def present(self) -> Present:
        """Who answers here."""
        digests = {name: Setup.from_bytes(setup).digest for name, setup in self._federation.setups.items()}
        return Present("node", tuple(self._identities), version("securerec"), digests)

    def answer(self, letter: bytes) -> bytes:
        """The answer to a letter: devices that do not answer say why in it.

        Raises LetterError for bytes that are no letter for a node, OSError where the disk does not keep what must be
        kept: then nothing leaves.
        """
        read = from_bytes(letter)
        if isinstance(read, Hello):
            return to_bytes(self.present())
        if not isinstance(read, Ask):
            raise LetterError(f"A node does not answer a letter of kind {type(read).__name__}.")
        return to_bytes(self._reply(read))

    def _reply(self, ask: Ask) -> Reply:
        messages, answers, refusals = dict(ask.messages), dict[int, bytes](), dict[int, str]()
        for client in sorted(messages.keys() - self._identities.keys()):
            refusals[client] = f"Client {client} is not one of this node."
            del messages[client]
        position = (self._places.get(ask.release, -1), ask.round_number, ask.attempt)
        if position == self._progress.position:
            found = {client: self._stored.find(client, message) for client, message in messages.items()}
            answers = {client: answer for client, answer in found.items() if answer is not None}
        asked = {client: message for client, message in messages.items() if client not in answers}
        if asked:
            try:
                begun = self._begin(ask, position, asked)
            except (SecurerecError, ProtocolError) as refusal:
                refusals |= dict.fromkeys(asked, sentence(refusal))
            else:
                fresh = self._play(begun, asked, refusals)
                if fresh:
                    self._keep(ask, begun, asked, fresh)
                answers |= fresh
        return Reply(answers, refusals)

    def _begin(self, ask: Ask, position: Position, messages: dict[int, bytes]) -> _Begun:
        """What the devices have computed for this attempt, now or before. Raises what refuses it."""
        what = attempt_label(release_label(ask.release, ask.round_number), ask.attempt)
        if ask.release not in self._places:
            raise TableRefused(f"This run has no release {ask.release!r}.")
        if position < self._progress.position:
            raise TableRefused(f"The ask for {what} is refused: these devices have answered a later one.")
        begun = self._begun
        if begun is not None and begun.position == position:
            if any(data != begun.broadcast.data for c, data in messages.items() if c not in begun.joined):
                raise TableRefused(f"The ask for {what} is refused: its devices have not all the same broadcast.")
            return begun
        if len(set(messages.values())) != 1:
            raise TableRefused(f"The ask for {what} is refused: its devices have not all the same broadcast.")
        promise, session = self._promises[ask.release], self._sessions[ask.release]
        broadcast = Broadcast.read(
            session, next(iter(messages.values())), floor=promise.min_survivors,
            round_number=protocol_round(ask.round_number, ask.attempt),
        )  # fmt: skip
        if position == self._progress.position and broadcast.digest.hex() != self._progress.broadcast:
            raise TableRefused(f"The ask for {what} is refused: these devices have answered another broadcast for it.")
        event = promise.event(what)
        self._check_promise(ask, promise, session, broadcast, event)
        opened = self._opened_for(ask)
        work = self._work(ask, opened, broadcast, what)
        host = self._host(ask.release, promise, work)
        label = attempt_label(noise_label(ask.release), ask.attempt)
        functions = None if work.state is None else work.state.after
        host.begin(
            LocalUpdates(
                ask.round_number, work.table, self._numbers, work.updates, functions, label, work.basis,
                record=self._record is not None,
            )
        )  # fmt: skip
        self._begun = _Begun(position, broadcast, opened, work, event, host)
        return self._begun

    def _check_promise(
        self, ask: Ask, promise: Promise, session: Session, broadcast: Broadcast, event: Event
    ) -> None:  # fmt: skip
        """Raise PolicyRefused or PrivacyError unless the owner allows it and the run has planned it."""
        paid = self._ledger.charged((self._federation.run_id.hex(), ask.release, ask.round_number, ask.attempt))
        offer = Offer(
            session.roster.server.signing, session.setup.protocol, broadcast.min_survivors, promise.noise_source,
            None if paid == event else event,
        )  # fmt: skip
        self._policy.check(offer, self._ledger, now=self._clock())
        if paid != event:
            known = self._ledger.events(run=self._federation.run_id.hex())
            check_budget(self._federation.config.privacy, self._promises, self._federation.rounds, known, event)

    def _opened_for(self, ask: Ask) -> dict[str, NoisySum]:
        """The sums of the releases before this one, as they were sent, now or before."""
        before = list(self._places)[: self._places[ask.release]]
        for name, each in ask.opened.items():
            known = self._opened.get(name)
            if name not in before or (known is not None and known.digest() != each.digest()):
                raise TableRefused(f"The sum {name} that was sent is another than these devices know, or comes later.")
        known_now = {**self._opened, **ask.opened}
        return {name: known_now[name] for name in before if name in known_now}

    def _work(self, ask: Ask, opened: dict[str, NoisySum], broadcast: Broadcast, what: str) -> Work:
        """What the devices add, once the broadcast is known to be signed for what came with it."""
        if ask.release != ROUND:
            wanted = self._silo.before(ask.release, opened)
            self._agree(wanted.table, wanted.basis, broadcast, what)
            return self._silo.add(wanted)
        start = self._silo.start(opened)
        if ask.table is None or ask.table.shape != start.table.shape:
            raise TableRefused(f"The ask for {what} is refused: it must come with a table {start.table.shape}.")
        self._agree(ask.table, start.basis, broadcast, what)
        return self._silo.train(start, ask.table, self._before(start, ask.round_number), ask.round_number)

    def _agree(self, table: Table, basis: bytes, broadcast: Broadcast, what: str) -> None:
        if broadcast.context != table_digest(table, basis):
            raise TableRefused(f"The broadcast of {what} is signed for another item table than the one that was sent.")

    def _before(self, start: WarmStart, round_number: int) -> ScoreFunctions:
        """What the devices score with before this round, however often it is asked for."""
        state = self._state
        if state is None:
            return start.functions
        return state.before if state.round_number == round_number else state.after

    def _host(self, release: str, promise: Promise, work: Work) -> DeviceHost:
        host = self._hosts.get(release)
        if host is not None:
            return host
        training, start = self._federation.config.training, work.start
        first, rounds = (work.table, 1) if start is None else (start.table, self._federation.rounds)
        origin = Origin.of(
            first, promise.quantiser, min_survivors=promise.min_survivors, server_lr=training.server_lr, rounds=rounds
        )
        enrolment = Enrolment(
            self._federation.setups[release], self._federation.enrolment,
            {number: identity.to_bytes() for number, identity in self._identities.items()},
            self._noise_key.to_bytes(), promise.quantiser, promise.min_survivors, origin, training.learner(),
            None if start is None else start.heads,
        )  # fmt: skip
        host = self._hosts[release] = DeviceHost(enrolment, answered=self._answered)
        if start is not None and self._state is not None and work.state is not None:
            # devices that come back know the last table that they have answered
            last = self._state
            host.begin(LocalUpdates(last.round_number, last.table, self._numbers, work.updates, None, ""))
        return host

    def _play(self, begun: _Begun, messages: dict[int, bytes], refusals: dict[int, str]) -> dict[int, bytes]:
        """Each device by itself: one that refuses keeps no other from answering."""
        answers: dict[int, bytes] = {}
        for client, message in messages.items():
            try:
                played = begun.host.answer({client: message})
            except (SecurerecError, ProtocolError) as refusal:
                refusals[client] = sentence(refusal)
            else:
                answers |= played.messages
                begun.joined.add(client)
                if self._record is not None and client in played.recorded:
                    self._record(begun.position, client, played.recorded[client])
        return answers

    def _keep(self, ask: Ask, begun: _Begun, messages: dict[int, bytes], answers: dict[int, bytes]) -> None:
        """Put on disk what must be there before the answers leave."""
        try:
            self._write(ask, begun, messages, answers)
        except BaseException:
            # nothing has left: the next letter finds the devices as a restarted process would
            self._begun = None
            self._hosts.pop(ask.release, None)
            raise

    def _write(self, ask: Ask, begun: _Begun, messages: dict[int, bytes], answers: dict[int, bytes]) -> None:
        state, session = begun.work.state, self._sessions[ask.release]
        if state is not None and state is not self._state:
            write_state(self._store, state)
            self._state = state
        if begun.opened.keys() - self._opened.keys():
            write_opened(self._store, begun.opened)
            self._opened = begun.opened
        # what an earlier try has left in the ledger alone; a restart finds one line more than is marked, never two
        self._progress = self._marked(self._progress)
        run, what = self._federation.run_id.hex(), (ask.release, ask.round_number, ask.attempt)
        paid = self._ledger.charged((run, *what)) is not None
        self._ledger.append(
            Sent(
                self._clock(), run, *what, session.roster.server.signing.hex(), session.setup.protocol,
                begun.broadcast.min_survivors, self._federation.cohort, tuple(sorted(answers)),
                sum(map(len, answers.values())), None if paid else begun.event, delta=self._policy.delta,
            )
        )  # fmt: skip
        before = self._progress.position
        self._progress = self._marked(self._progress.at(begun.position, begun.broadcast.digest.hex(), self._answered))
        if begun.position != before:
            self._stored.forget()
        self._stored.keep(begun.position, messages, answers)


def release_label(release: str, round_number: int) -> str:
    """How ledgers name a release: a round by its number, another by its kind."""
    return f"{release} {round_number}" if release == ROUND else release


def noise_label(release: str) -> str:
    """What the noise of a kind of release is named by, beside the round, the client and its update."""
    return "clean" if release == ROUND else release
