"""What stands between a server and its parties in a chaos run: a server that lies, one that dies, and a witness."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np

from protocols.broadcast import SECRET_BYTES, Broadcast, nonce_of
from protocols.codec import Frame, Kind, read_frame
from protocols.errors import ProtocolError
from protocols.identity import SIGNATURE_BYTES, Identity
from protocols.manifest import Manifest
from protocols.session import Session
from securerec.experiments.chaos.plan import Lie, Plan
from securerec.federation.guards import table_digest
from securerec.federation.parties.exchange import Exchange
from securerec.federation.parties.letters import (
    Ask,
    Call,
    LetterError,
    Present,
    Reply,
    from_bytes,
    to_bytes,
)
from securerec.federation.parties.public import Federation

DECEIVED = 2
"""Nodes that are sent another table with a broadcast that is signed for it."""


class ServerKilled(BaseException):
    """The server's process ends here: nothing that it had in memory is left."""


def manifest_of(session: Session, request: Frame) -> tuple[Manifest, bytes]:
    """What a decryptor is asked to open, and what the protocol adds. session: the server's."""
    header = request.header
    manifest, rest = Manifest.read(
        session, request.body, what="a request", round_number=header.round_number, broadcast=header.broadcast, floor=1
    )
    return manifest, bytes(rest)


def sessions_of(federation: Federation, server: Identity) -> dict[str, Session]:
    """The server's, by kind of release."""
    return {
        name: Session(setup, server, federation.enrolment, role="server") for name, setup in federation.setups.items()
    }


class Witness:
    """Sees all letters, as parties get them, and all answers, as they leave."""

    def __init__(self, inner: Exchange, federation: Federation, server: Identity) -> None:
        self._inner, self._sessions = inner, sessions_of(federation, server)
        self._requests: dict[bytes, tuple[str, int, frozenset[int]]] = {}
        self.opened: dict[tuple[str, int], dict[frozenset[int], set[str]]] = {}
        """By release and protocol round, and by the survivors it was asked of: the decryptors that answered."""
        self.refused = 0
        """Messages that parties have refused."""

    def parties(self) -> dict[str, Present]:
        return self._inner.parties()

    def deliver(self, letters: Mapping[str, bytes], *, deadline: float) -> Iterator[tuple[str, bytes]]:
        for letter in letters.values():
            self._note_request(letter)
        for address, answer in self._inner.deliver(letters, deadline=deadline):
            self._see(address, answer)
            yield address, answer

    def _note_request(self, letter: bytes) -> None:
        call = from_bytes(letter)
        if isinstance(call, Call):
            request = read_frame(call.message)
            if request.header.kind is Kind.REQUEST:
                manifest, _ = manifest_of(self._sessions[call.release], request)
                asked = call.release, request.header.round_number, manifest.survivors
                self._requests[bytes(request.signature)] = asked

    def _see(self, address: str, answer: bytes) -> None:
        with suppress(LetterError, ProtocolError):
            reply = from_bytes(answer)
            if not isinstance(reply, Reply):
                return
            self.refused += len(reply.refusals)
            for message in reply.answers.values():
                frame = read_frame(message)
                # an opening begins with the signature of the request that it answers
                asked = self._requests.get(bytes(frame.body[:SIGNATURE_BYTES]))
                if frame.header.kind is Kind.OPENING and asked is not None:
                    release, number, survivors = asked
                    self.opened.setdefault((release, number), {}).setdefault(survivors, set()).add(address)


class Killer:
    """Ends the server, as the plan says, after some of the answers of a delivery."""

    def __init__(self, inner: Exchange, plan: Plan) -> None:
        self._inner, self._plan = inner, plan
        self.killed: Counter[str] = Counter()
        """How often, by what was under way."""

    def parties(self) -> dict[str, Present]:
        return self._inner.parties()

    def deliver(self, letters: Mapping[str, bytes], *, deadline: float) -> Iterator[tuple[str, bytes]]:
        after = self._plan.kill_after()
        answers = self._inner.deliver(letters, deadline=deadline)
        for number, each in enumerate(answers):
            if after == number:
                answers.close()  # type: ignore[attr-defined]
                self._kill(letters)
            yield each
        if after is not None:
            self._kill(letters)

    def _kill(self, letters: Mapping[str, bytes]) -> None:
        self.killed[phase_of(letters)] += 1
        raise ServerKilled


def phase_of(letters: Mapping[str, bytes]) -> str:
    """What a delivery asks for: the kind of the protocol's messages in it."""
    letter = from_bytes(next(iter(letters.values()))) if letters else None
    if isinstance(letter, Call):
        return read_frame(letter.message).header.kind.name.lower()
    if isinstance(letter, Ask) and letter.messages:
        return read_frame(next(iter(letter.messages.values()))).header.kind.name.lower()
    return "nobody"


class Liar:
    """Turns an honest server's letters into those of one that lies, with the server's own key."""

    def __init__(self, inner: Exchange, plan: Plan, federation: Federation, server: Identity) -> None:
        self._inner, self._plan, self._federation = inner, plan, federation
        self._sessions = sessions_of(federation, server)
        self._old: dict[str, bytes] = {}
        self.told: Counter[Lie] = Counter()

    def parties(self) -> dict[str, Present]:
        return self._inner.parties()

    def deliver(self, letters: Mapping[str, bytes], *, deadline: float) -> Iterator[tuple[str, bytes]]:
        kind = phase_of(letters)
        lie = self._plan.begin().lie if kind == "broadcast" else self._plan.weather.lie
        sent = dict(letters)
        if kind == "broadcast" and lie in ("two tables", "signed for two", "old letters"):
            # whoever has answered another table of a round takes no further part in it
            count = min(DECEIVED if lie == "signed for two" else len(letters) // 2, len(letters))
            for address in map(str, self._plan.rng.choice(sorted(letters), count, replace=False)):
                sent[address] = self._changed(lie, address, letters[address])
        elif kind == "request" and lie == "other survivors":
            count = int(self._plan.rng.integers(1, len(letters) + 1))
            some = self._plan.rng.choice(sorted(letters), count, replace=False)
            sent |= {str(address): self._other_request(letters[str(address)]) for address in some}
        if sent != letters and lie is not None:
            self.told[lie] += 1
        yield from self._inner.deliver(sent, deadline=deadline)
        if kind == "request" and lie == "survivors asked twice":
            self.told[lie] += 1
            again = {address: self._other_request(letter) for address, letter in letters.items()}
            yield from self._inner.deliver(again, deadline=deadline)
        elif kind == "broadcast" and lie == "second broadcast":
            self.told[lie] += 1
            again = {address: self._other_broadcast(letter) for address, letter in letters.items()}
            yield from self._inner.deliver(again, deadline=deadline)
        if kind == "broadcast":
            self._old |= letters

    def _changed(self, lie: Lie, address: str, letter: bytes) -> bytes:
        if lie == "old letters":
            return self._old.get(address, letter)
        ask = from_bytes(letter)
        if not isinstance(ask, Ask) or ask.table is None:
            return letter
        table = ask.table + np.float32(1e-4)
        if lie == "two tables":
            return to_bytes(replace(ask, table=table))
        basis = self._federation.run_id if ask.opened else b""
        for opened in ask.opened.values():
            basis = hashlib.sha256(basis + opened.digest()).digest()
        return to_bytes(replace(self._broadcast_anew(ask, table_digest(table, basis)), table=table))

    def _other_broadcast(self, letter: bytes) -> bytes:
        ask = from_bytes(letter)
        return to_bytes(self._broadcast_anew(ask, None)) if isinstance(ask, Ask) else letter

    def _broadcast_anew(self, ask: Ask, context: bytes | None) -> Ask:
        """The same ask under another broadcast; context: what it is signed for, as before if None."""
        session = self._sessions[ask.release]
        data = next(iter(ask.messages.values()))
        before = Broadcast.read(session, data, floor=1)
        made = Broadcast.make(
            session, round_number=before.round_number, context=before.context if context is None else context,
            min_survivors=before.min_survivors, nonce=nonce_of(os.urandom(SECRET_BYTES)),
        )  # fmt: skip
        return replace(ask, messages=dict.fromkeys(ask.messages, made.data))

    def _other_request(self, letter: bytes) -> bytes:
        """A call that asks to open the sum without the last of its survivors."""
        call = from_bytes(letter)
        if not isinstance(call, Call):
            return letter
        session, frame = self._sessions[call.release], read_frame(call.message)
        manifest, rest = manifest_of(session, frame)
        fewer = {client: manifest.uploads[client] for client in sorted(manifest.uploads)[:-1]}
        header = frame.header
        message = session.write(
            Kind.REQUEST, header.recipient, Manifest(manifest.broadcast, fewer).to_bytes() + rest,
            round_number=header.round_number, broadcast=header.broadcast,
        )  # fmt: skip
        return to_bytes(Call(call.release, message))
