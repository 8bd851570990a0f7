"""The server's side of every protocol: who may speak now, who has spoken, who signed what.

To add a protocol, declare its phases once,

    PHASES = (Phase("upload", "client", Kind.BROADCAST, Kind.VECTOR),)

and write a `ServerRound` with

    phases              PHASES; the first one sends Kind.BROADCAST, which this class makes itself
    _prepare()          what the round starts with; `__init__` is this class's own
    _bodies()           what goes to each party in the present phase, if it is not the first: functions that make a body
                        when it is delivered, always the same one in a phase; this class signs or seals it
    _body_bytes(sender) the exact length of that party's answer, so that any other is refused before it is looked at
    _accept(sender, body)  take an answer in, or raise a ProtocolError and leave everything as it was
    _close()            the present phase is over: prepare and return the next one, or None at the end; raise
                        RoundAborted where the round cannot go on. A phase may come again.
    _values()           after the end: the sum, (length,) int64

and a `Server` that names it in `round_class`, and says in `parameters_for` what it derives from a specification; then
an entry in protocols/registry.py. When `_accept` is called, the message is known to be of this run, round, broadcast
and phase, from a party that was asked and has not answered yet, of the right length, and its sender's own. After an
upload is accepted, its sender is in `self.uploaded`, and where its kind is Kind.UPLOAD the digest it states and its
signature are in `self.uploads`; an implementation adds the body into what it has and keeps no other trace, so memory
does not grow with the cohort. What has to wait, waits in `self.spool`.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from protocols.broadcast import SECRET_BYTES, Broadcast, nonce_of
from protocols.codec import Expected, Frame, Kind
from protocols.errors import (
    DuplicateError,
    PhaseError,
    ProtocolError,
    RoundAborted,
    TooManyClientsError,
    UnknownSenderError,
    WrongLengthError,
)
from protocols.identity import SIGNATURE_BYTES, Address, Identity
from protocols.manifest import Manifest, UploadRecord
from protocols.roles.outbox import Outbox
from protocols.roles.phase import Phase
from protocols.seals import fingerprint
from protocols.session import Session
from protocols.spec import SumSpec

MAX_COMPLAINTS = 1000
"""A flood of refused messages must not fill the server's memory."""


Spool = MutableMapping[int, bytes | memoryview]
"""Where bytes of clients wait until a later phase, by numbers of the protocol's own. None is the server's secret."""


@dataclass(frozen=True)
class OpenedSum:
    """What came out of a round: values (length,) int64, the sum over the survivors' vectors; complaints: what was
    refused on the way, a sentence each.
    """

    values: NDArray[np.int64]
    survivors: frozenset[int]
    complaints: tuple[str, ...]


class Server:
    """The one who collects. Opens rounds; keeps nothing between them but which it has opened."""

    round_class: ClassVar[type["ServerRound"]]

    @classmethod
    def parameters_for(cls, spec: SumSpec, *, members: int, threshold: int) -> str:
        """The name of what the protocol derives from a specification and a committee, which is (0, 0) where there is
        none. Raises SpecError where nothing carries the sum.
        """
        return "none"

    def __init__(self, setup: bytes, identity: Identity, enrolment_public: bytes) -> None:
        """Raises what `Session` raises."""
        self.session = Session(setup, identity, enrolment_public, role="server")
        self._opened: set[int] = set()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.session})"

    @property
    def parameters(self) -> str:
        """See `parameters_for`."""
        roster = self.session.roster
        return self.parameters_for(self.session.setup.spec, members=len(roster.decryptors), threshold=roster.threshold)

    def open_round(
        self,
        round_number: int,
        *,
        context: bytes,
        min_survivors: int,
        cohort: Collection[int] | None = None,
        spool: Spool | None = None,
        secret: bytes | None = None,
    ) -> "ServerRound":
        """A new round. context: the 32-byte digest of what clients are sent along with the broadcast.

        cohort: ids of the clients to ask; all on the roster if None. spool: empty, for this round alone; a dictionary
        in memory if None, to be replaced by a mapping that writes to a disk where cohorts are large. secret: 32 random
        bytes, of the operating system's if None, that the broadcast's nonce commits to; see `nonce_of`. Raises
        TooFewClientsError, TooManyClientsError, UnknownSenderError, PhaseError (a round twice), WrongLengthError,
        FrameError.
        """
        if round_number in self._opened:
            raise PhaseError(f"Round {round_number} has been opened before: clients would refuse another broadcast.")
        everybody = {party.number for party in self.session.roster.clients}
        asked = frozenset(everybody if cohort is None else cohort)
        if asked - everybody:
            raise UnknownSenderError(f"The roster names no client {min(asked - everybody)}.")
        spec = self.session.setup.spec
        if len(asked) > spec.max_clients:
            raise TooManyClientsError(
                f"A cohort of {len(asked)} is too large: the sum is sized for {spec.max_clients}."
            )
        if len(asked) < min_survivors:
            raise RoundAborted(f"A cohort of {len(asked)} cannot leave {min_survivors} survivors.")
        secret = os.urandom(SECRET_BYTES) if secret is None else secret
        broadcast = Broadcast.make(
            self.session,
            round_number=round_number,
            context=context,
            min_survivors=min_survivors,
            nonce=nonce_of(secret),
        )
        opened = self.round_class(self.session, broadcast, asked, secret=secret, spool={} if spool is None else spool)
        self._opened.add(round_number)
        return opened


class ServerRound(ABC):
    """One round, from broadcast to opened sum: `outbox`, `receive` as answers come, `close_phase`, until `done`."""

    phases: ClassVar[tuple[Phase, ...]]
    distinct_uploads: ClassVar[bool] = True
    """Refuse an upload whose body is that of another: somebody copied it. Off where honest ones may coincide."""

    def __init__(
        self, session: Session, broadcast: Broadcast, cohort: frozenset[int], *, secret: bytes, spool: Spool
    ) -> None:
        self.session = session
        self.spec = session.setup.spec
        self.broadcast = broadcast
        self.cohort = cohort
        self.secret = secret
        self.spool = spool
        self.uploaded: set[int] = set()
        self.uploads: dict[int, UploadRecord] = {}
        self._seen: set[bytes] = set()
        self._fingerprint_key = os.urandom(32)
        self._complaints: list[str] = []
        self._result: OpenedSum | None = None
        self._outbox = Outbox({})
        self._aborted = False
        self._prepare()
        self._enter(self.phases[0])

    def __repr__(self) -> str:
        return f"{type(self).__name__}(round={self.broadcast.round_number}, phase={self.phase!r})"

    # What the driver calls.

    @property
    def phase(self) -> str:
        """Name of the present phase; "done" or "aborted" at the end."""
        if self._aborted:
            return "aborted"
        return "done" if self._result else self._phase.name

    @property
    def done(self) -> bool:
        return self._result is not None

    @property
    def result(self) -> OpenedSum:
        """Raises PhaseError before the end."""
        if self._result is None:
            raise PhaseError(f"Round {self.broadcast.round_number} has no result in its phase {self.phase!r}.")
        return self._result

    @property
    def complaints(self) -> tuple[str, ...]:
        """What was refused so far."""
        return tuple(self._complaints)

    def outbox(self) -> Outbox:
        """The present phase's messages, made as they are looked up, to be delivered now. Empty at the end."""
        return self._outbox

    def receive(self, message: bytes) -> Address:
        """Take one answer of the present phase; returns who sent it. A refused one changes nothing but `complaints`.

        Raises a ProtocolError that names the sender and the reason: what `Session.read` raises, DuplicateError,
        TooManyClientsError, WrongLengthError, SignatureError, or the protocol's own.
        """
        if self._aborted or self._result:
            raise PhaseError(f"Round {self.broadcast.round_number} is over: it takes no more messages.")
        try:
            return self._receive(message)
        except ProtocolError as refusal:
            self.complain(str(refusal))
            raise

    def close_phase(self) -> None:
        """Nobody else will answer: go on to the next phase or the end. Raises RoundAborted, after which it is over."""
        if self._aborted or self._result:
            raise PhaseError(f"Round {self.broadcast.round_number} is over: it has no phase to close.")
        try:
            if self._phase.uploads:
                self._need(len(self.uploaded), "uploads arrived")
            following = self._close()
            if following is not None:
                self._enter(following)
                return
            self._result = OpenedSum(self._values(), self._survivors(), self.complaints)
        except RoundAborted:
            self._aborted = True
            raise
        finally:
            if self._aborted or self._result:
                self._outbox.close()
                self.spool.clear()

    # What protocols implement.

    @abstractmethod
    def _prepare(self) -> None:
        """What the round starts with, from `self.session`, `self.spec` and `self.broadcast`."""

    def _bodies(self) -> Mapping[Address, Callable[[], bytes]]:
        """What makes the bodies of the present phase's messages; not called for the first phase."""
        raise NotImplementedError(f"{type(self).__name__} has no messages for its phase {self._phase.name!r}")

    @abstractmethod
    def _body_bytes(self, sender: Address) -> int:
        """Exact length of this party's answer in the present phase; a decryptor's without the request it names."""

    @abstractmethod
    def _accept(self, sender: Address, body: memoryview) -> None:
        """Take in an answer, or raise a ProtocolError and change nothing."""

    @abstractmethod
    def _close(self) -> Phase | None:
        """The next phase, or None at the end. Raises RoundAborted."""

    @abstractmethod
    def _values(self) -> NDArray[np.int64]:
        """The sum over `_survivors`. Raises RoundAborted."""

    def _survivors(self) -> frozenset[int]:
        """Ids of the clients in the sum: all whose uploads were accepted, unless the protocol leaves some out."""
        return frozenset(self.uploaded)

    # What protocols use.

    def complain(self, sentence: str) -> None:
        """Note what went wrong without ending the round."""
        if len(self._complaints) < MAX_COMPLAINTS:
            self._complaints.append(sentence)

    def manifest(self, survivors: Iterable[int] | None = None) -> Manifest:
        """The manifest over these clients, or all whose uploads were accepted, where decryptors are shown one."""
        ids = sorted(self.uploads if survivors is None else survivors)
        return Manifest(self.broadcast, {client: self.uploads[client] for client in ids})

    def abort(self, sentence: str) -> RoundAborted:
        """The error to raise where the round cannot go on."""
        return RoundAborted(f"Round {self.broadcast.round_number} is given up: {sentence}")

    def _need(self, found: int, what: str) -> None:
        """Raise RoundAborted if fewer than the round's minimum are left."""
        needed = self.broadcast.min_survivors
        if found < needed:
            raise self.abort(f"{found} {what}, and at least {needed} are needed.")

    # How messages are checked.

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._heard: set[Address] = set()
        number, digest = self.broadcast.round_number, self.broadcast.digest
        sender, me = Address(phase.party, 0), self.session.me
        self._expected = Expected(
            self.session.header(phase.answers, sender, me, 0, round_number=number, broadcast=digest)
        )
        self._outbox.close()
        if phase.sends is Kind.BROADCAST:
            cohort = (Address("client", client) for client in sorted(self.cohort))
            self._outbox = Outbox(dict.fromkeys(cohort, lambda: self.broadcast.data))
            return
        makers = {to: partial(self._message, phase.sends, to, body) for to, body in self._bodies().items()}
        self._outbox = Outbox(makers, signed=phase.party == "decryptor")

    def _message(self, kind: Kind, to: Address, body: Callable[[], bytes]) -> bytes:
        number, digest = self.broadcast.round_number, self.broadcast.digest
        return self.session.write(kind, to, body(), round_number=number, broadcast=digest)

    def _receive(self, message: bytes) -> Address:
        phase = self._phase
        frame = self._expected.read(message)
        if frame is None or frame.header.sender not in self._outbox:
            # It will be refused, and this says why.
            frame = self.session.read(
                message,
                kinds=(phase.answers,),
                sender_role=phase.party,
                round_number=self.broadcast.round_number,
                broadcast=self.broadcast.digest,
            )
        sender = frame.header.sender
        if sender not in self._outbox:
            raise UnknownSenderError(f"{frame} was not asked for: {sender} takes no part in this phase.")
        if sender in self._heard:
            raise DuplicateError(f"{frame} arrived twice: only the first one counts.")
        names_request = SIGNATURE_BYTES if phase.party == "decryptor" else 0
        expected = names_request + self._body_bytes(sender)
        if len(frame.body) != expected:
            raise WrongLengthError(f"{frame} has a body of {len(frame.body)} bytes; {expected} were expected.")
        self.session.authenticate(frame)
        # A phase may come again with another request: late answers to the earlier one must not mix with the new ones.
        if names_request and frame.body[:SIGNATURE_BYTES] != self._outbox.signature(sender):
            raise PhaseError(f"{frame} answers another request than the present one.")
        if phase.uploads:
            self._accept_upload(sender, frame)
        else:
            self._accept(sender, frame.body[names_request:])
        self._heard.add(sender)
        return sender

    def _accept_upload(self, sender: Address, frame: Frame) -> None:
        # A stated digest may be a lie, so copies are known by the body itself; but decryptors refuse a manifest in
        # which two are the same.
        marks = {frame.stated_digest} if frame.stated_digest else set()
        if self.distinct_uploads:
            marks.add(fingerprint(self._fingerprint_key, frame.body))
        if not self._seen.isdisjoint(marks):
            raise DuplicateError(f"{frame} is a copy of another client's: only the first one counts.")
        self._accept(sender, frame.body)
        self._seen |= marks
        self.uploaded.add(sender.number)
        if frame.stated_digest:
            self.uploads[sender.number] = UploadRecord(frame.stated_digest, frame.signature)
