"""One attempt at a secure sum over an exchange: phase by phase, each with its deadline, until the sum is open."""

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from protocols.codec import Kind, read_frame
from protocols.errors import ProtocolError, RoundAborted
from protocols.identity import Address
from protocols.roles.server import ServerRound
from securerec.federation.parties.exchange import Exchange
from securerec.federation.parties.journal import ClosedPhase, Journal
from securerec.federation.parties.letters import Ask, Call, LetterError, Present, read_reply, to_bytes

MAX_SENTENCES = 20
"""Complaints that are kept word for word; the others are counted."""

REFUSED = "refused by its party"


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds. first: for the phase in which devices train; later: for every other one. settle: how long the server
    waits for those who are enrolled and not there; gather: how long for as many as a sum needs.
    """

    first: float = 600.0
    later: float = 120.0
    settle: float = 30.0
    gather: float = 300.0


@dataclass(frozen=True, slots=True)
class Roll:
    """Who is there: by client the node that holds it, and by decryptor its address. complaints: who was not let in."""

    clients: Mapping[int, str]
    decryptors: Mapping[int, str]
    complaints: tuple[str, ...] = ()

    @classmethod
    def called(
        cls, presents: Mapping[str, Present], *, release: str, setup: bytes, version: str, clients: Iterable[int],
        decryptors: Iterable[int],
    ) -> "Roll":  # fmt: skip
        """Of those who say that they hold the setup of this digest. clients, decryptors: who is enrolled."""
        found: dict[str, dict[int, str]] = {"node": {}, "decryptor": {}}
        enrolled = {"node": set(clients), "decryptor": set(decryptors)}
        complaints = []
        for address, present in sorted(presents.items()):
            if present.version != version:
                complaints.append(f"{address} runs securerec {present.version}, and the server {version}")
            elif present.setups.get(release) != setup:
                complaints.append(f"{address} holds another setup for {release}")
            elif strangers := set(present.numbers) - enrolled[present.role]:
                complaints.append(f"{address} speaks for {present.role} number {min(strangers)}, who is not enrolled")
            elif taken := [number for number in present.numbers if number in found[present.role]]:
                complaints.append(
                    f"{address} speaks for {present.role} number {taken[0]}, as {found[present.role][taken[0]]} does"
                )
            else:
                found[present.role] |= dict.fromkeys(present.numbers, address)
        return cls(found["node"], found["decryptor"], tuple(complaints))


@dataclass(frozen=True, slots=True)
class PhasePlayed:
    """asked, heard: parties; sent, received: bytes of letters; replayed: whether it had been closed before a crash."""

    attempt: str
    phase: str
    asked: int
    heard: int
    seconds: float
    sent: int
    received: int
    replayed: bool


@dataclass(slots=True)
class Played:
    """What an attempt came to. values: (length,) int64, None where it was given up for `reason`. upload_bytes: of all
    messages of one client, the largest. complaints: how often each thing was refused, by its name.
    """

    values: NDArray[np.int64] | None = None
    survivors: tuple[int, ...] = ()
    reason: str = ""
    upload_bytes: int = 0
    phases: list[PhasePlayed] = field(default_factory=list)
    complaints: Counter[str] = field(default_factory=Counter)
    sentences: list[str] = field(default_factory=list)

    def complain(self, name: str, sentence: str) -> None:
        self.complaints[name] += 1
        if len(self.sentences) < MAX_SENTENCES:
            self.sentences.append(sentence)


Observe = Callable[[PhasePlayed], None]


class AttemptLost(RoundAborted):
    """After a crash an attempt cannot say again what it had said."""


class AttemptPlay:
    """Plays the journal's present attempt with those on the roll."""

    def __init__(
        self, server_round: ServerRound, ask: Ask, journal: Journal, exchange: Exchange, roll: Roll,
        deadlines: Deadlines,
    ) -> None:  # fmt: skip
        """ask: of the first phase, with no messages yet."""
        if journal.attempt is None:
            raise ValueError("no attempt is under way")
        self._round, self._ask, self._journal, self._attempt = server_round, ask, journal, journal.attempt
        self._exchange, self._roll, self._deadlines = exchange, roll, deadlines
        self._sent: Counter[int] = Counter()
        self.played = Played()

    def play(self, observe: Observe | None = None) -> Played:
        """To its end. Where the round is given up, the result says why."""
        played, server_round = self.played, self._round
        for sentence in self._roll.complaints:
            played.complain("not let in", sentence)
        try:
            place = 0
            while not server_round.done:
                self._remember_request()
                phase = self._phase(place)
                played.phases.append(phase)
                if observe is not None:
                    observe(phase)
                server_round.close_phase()
                place += 1
            result = server_round.result
            played.values, played.survivors = result.values, tuple(sorted(result.survivors))
        except RoundAborted as reason:
            played.reason = str(reason)
        # what the round itself noted of parties, such as shares that fit no others
        noted = [sentence for sentence in server_round.complaints if sentence not in played.sentences]
        for sentence in noted[: MAX_SENTENCES - len(played.sentences)]:
            played.sentences.append(sentence)
        played.upload_bytes = max(self._sent.values(), default=0)
        return played

    def _remember_request(self) -> None:
        """Write down what decryptors are about to be asked to open. Raises AttemptLost where it was something else."""
        outbox = self._round.outbox()
        recipients = sorted(outbox)
        if not recipients or recipients[0].role != "decryptor":
            return
        if read_frame(outbox[recipients[0]]).header.kind is not Kind.REQUEST:
            return
        state = hashlib.sha256()
        for to in recipients:
            state.update(f"{to} {len(outbox[to])} ".encode() + outbox[to])
        digest = state.hexdigest()
        if not self._attempt.asked:
            self._journal.ask(digest)
        elif self._attempt.asked != digest:
            raise AttemptLost("other survivors are left than decryptors were asked about before the server stopped.")

    def _phase(self, place: int) -> PhasePlayed:
        """The present phase, which comes at this place: as it was before a crash, or anew."""
        closed = self._attempt.phases[place] if place < len(self._attempt.phases) else None
        name, started = self._round.phase, time.perf_counter()
        if closed is None:
            with self._journal.hearing() as keep:
                found = self._ask_all(place, _Found(keep))
            self._journal.close_phase(name, found.heard)
        else:
            found = self._again(closed, place, name)
        return PhasePlayed(
            self._attempt.name, name, found.asked, len(found.heard), time.perf_counter() - started, found.sent,
            found.received, closed is not None,
        )  # fmt: skip

    def _again(self, closed: ClosedPhase, place: int, name: str) -> "_Found":
        """A phase with the answers that it had before the server stopped."""
        found = _Found()
        if closed.name == name:
            for message in self._journal.answers(place):
                self._receive(message, found)
        if found.heard != closed.addresses():
            raise AttemptLost(f"the phase {name!r} does not come to what it was before the server stopped.")
        return found

    def _ask_all(self, place: int, found: "_Found") -> "_Found":
        """Deliver the present phase's messages and take what is answered."""
        to = list(self._round.outbox())
        roll, messages = self._roll, defaultdict[str, dict[int, bytes]](dict)
        there = [party for party in to if party.number in (roll.clients if party.role == "client" else roll.decryptors)]
        found.asked = len(there)
        if there and there[0].role == "decryptor":
            letters = self._calls(there, messages)
        else:
            letters = self._asks(there, place, messages)
        deadline = self._deadlines.first if place == 0 else self._deadlines.later
        self._deliver(letters, messages, deadline, found)
        if there and there[0].role == "decryptor" and len(found.heard) < self._round.session.roster.threshold:
            # a sum that clients have uploaded for is lost without them; the same letter gets the same answer
            silent = {self._roll.decryptors[party.number] for party in there if party not in found.heard}
            self._deliver({to: letters[to] for to in letters if to in silent}, messages, deadline, found)
        return found

    def _deliver(
        self, letters: Mapping[str, bytes], asked: Mapping[str, Mapping[int, bytes]], deadline: float,
        found: "_Found",
    ) -> None:  # fmt: skip
        """Take what answers come to these letters. asked: by address, whom each is about."""
        found.sent += sum(map(len, letters.values()))
        for where, data in self._exchange.deliver(letters, deadline=deadline):
            found.received += len(data)
            try:
                reply = read_reply(data, numbers=asked.get(where, {}))
            except LetterError as refusal:
                self.played.complain(type(refusal).__name__, f"{where}: {refusal}")
                continue
            for number, sentence in reply.refusals.items():
                self.played.complain(REFUSED, f"{where}, {number}: {sentence}")
            for message in reply.answers.values():
                self._receive(message, found)

    def _calls(self, there: list[Address], asked: dict[str, dict[int, bytes]]) -> dict[str, bytes]:
        """Letters to decryptors by address; `asked` takes whom each is about."""
        outbox, letters = self._round.outbox(), dict[str, bytes]()
        for party in there:
            where = self._roll.decryptors[party.number]
            asked[where] = {party.number: b""}
            letters[where] = to_bytes(Call(self._ask.release, outbox[party]))
        return letters

    def _asks(self, there: list[Address], place: int, asked: dict[str, dict[int, bytes]]) -> dict[str, bytes]:
        """Letters to nodes by address; `asked` takes whom each is about. What comes with the broadcast comes once."""
        outbox = self._round.outbox()
        messages = {party.number: outbox[party] for party in there}
        if place > 0:
            messages = self._journal.send(place, messages)
        for number, message in messages.items():
            if (where := self._roll.clients.get(number)) is not None:
                asked[where][number] = message
        ask = self._ask if place == 0 else replace(self._ask, opened={}, table=None)
        return {where: to_bytes(replace(ask, messages=those)) for where, those in asked.items()}

    def _receive(self, message: bytes, found: "_Found") -> None:
        try:
            sender = self._round.receive(message)
        except ProtocolError as refusal:
            self.played.complain(type(refusal).__name__, str(refusal))
            return
        found.heard.add(sender)
        if found.keep is not None:
            found.keep(message)
        if sender.role == "client":
            self._sent[sender.number] += len(message)


@dataclass(slots=True)
class _Found:
    """What came of a phase. keep: takes each answer that was accepted, where it is to be kept."""

    keep: Callable[[bytes], None] | None = None
    heard: set[Address] = field(default_factory=set)
    asked: int = 0
    sent: int = 0
    received: int = 0
