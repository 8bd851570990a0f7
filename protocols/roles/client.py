"""The client's side of every protocol: which round it takes part in, which message it answers next.

To add a protocol, write a `ClientRound` with

    phases                 the same as the server's; those for clients are this class's steps
    _answer(kind, body)    the body of the answer to a message of this kind; for Kind.BROADCAST, `body` is empty
                           and `self.broadcast` says all. `self.values` is there from the step that uploads.

and a `Client` that names it in `round_class`; then an entry in protocols/registry.py. When `_answer` is called, the
message is known to come from the server of this run, for this client, round and broadcast, and to be the next one.
If it raises, the client takes no further part in the round: what a server sent illegally is never answered later.
"""

from abc import ABC, abstractmethod
from collections.abc import MutableMapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from protocols.broadcast import Broadcast
from protocols.codec import Kind
from protocols.errors import PhaseError, ProtocolError, SpentRoundError, ValuesError
from protocols.identity import Identity
from protocols.roles.phase import Phase
from protocols.session import Session
from protocols.spec import SumSpec


class Client:
    """One party that contributes vectors, for all rounds of a run."""

    round_class: ClassVar[type["ClientRound"]]

    def __init__(
        self,
        setup: bytes,
        identity: Identity,
        enrolment_public: bytes,
        *,
        min_survivors: int,
        answered: MutableMapping[int, bytes] | None = None,
    ) -> None:
        """min_survivors: this client's own floor; a broadcast below it is refused.

        answered: round to the digest of the broadcast that this client joined, written before anything is answered;
        durable where the client outlives its process, a dictionary if None. Raises what `Session` raises.
        """
        self.session = Session(setup, identity, enrolment_public, role="client")
        self.min_survivors = min_survivors
        self._answered: MutableMapping[int, bytes] = {} if answered is None else answered
        self._prepare()

    def _prepare(self) -> None:
        """What a protocol's clients check or load once, from `self.session`. Raises a ProtocolError to refuse it."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.session})"

    def join(self, broadcast: bytes) -> "ClientRound":
        """Take part in the round that this broadcast opens.

        Raises what `Broadcast.read` raises; SpentRoundError for a round joined before, whatever its broadcast: a second
        upload in one round would let the server subtract one from the other.
        """
        read = Broadcast.read(self.session, broadcast, floor=self.min_survivors)
        joined = self._answered.get(read.round_number)
        if joined is not None:
            which = "this" if joined == read.digest else "another"
            raise SpentRoundError(
                f"{self.session.me} has taken part in round {read.round_number}, on {which} broadcast: not again."
            )
        self._answered[read.round_number] = read.digest
        return self.round_class(self.session, read)


class ClientRound(ABC):
    """One client's part in one round. `answer` each of the server's messages, the broadcast first."""

    phases: ClassVar[tuple[Phase, ...]]

    def __init__(self, session: Session, broadcast: Broadcast) -> None:
        self.session = session
        self.spec: SumSpec = session.setup.spec
        self.broadcast = broadcast
        self._steps = [phase for phase in self.phases if phase.party == "client"]
        self._values: NDArray[np.int64] | None = None
        self._provided = False
        self._over = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.session.me}, round={self.broadcast.round_number})"

    @property
    def context(self) -> bytes:
        """The digest, 32 bytes, that what came along with the broadcast must have: the caller compares."""
        return self.broadcast.context

    @property
    def values(self) -> NDArray[np.int64]:
        """What `provide` was given. Raises PhaseError before, and once it is uploaded."""
        if self._values is None:
            raise PhaseError(f"{self._who} has no values to upload: they are provided once, before the upload.")
        return self._values

    @property
    def uploads_next(self) -> bool:
        """Whether the next answer is the upload, before which `provide` must have been called."""
        return bool(self._steps) and not self._over and self._steps[0].uploads

    def provide(self, values: NDArray[np.int64]) -> None:
        """Give this client's vector, (length,) int64, noise already added, once, before its upload.

        Raises ValuesError for another type or shape, or a value beyond spec.upload_bound: nothing is clamped here;
        PhaseError for a second time.
        """
        if not isinstance(values, np.ndarray) or values.dtype != np.int64 or values.shape != (self.spec.length,):
            raise ValuesError(f"{self._who} must give an int64 array of shape ({self.spec.length},).")
        bound = self.spec.upload_bound
        if int(values.max()) > bound or int(values.min()) < -bound:
            raise ValuesError(f"{self._who} holds a value beyond {bound}, the bound that the sum was specified for.")
        if self._provided:
            raise PhaseError(f"{self._who} has its values: a round takes one vector of each client.")
        self._provided = True
        self._values = np.ascontiguousarray(values)

    def answer(self, message: bytes) -> bytes:
        """The answer to the server's next message. Each message is answered at most once, in order.

        Raises what `Session.read` raises, SignatureError, PhaseError, or the protocol's own refusals, after which this
        client takes no further part. A message that does not come from the server changes nothing.
        """
        if self._over or not self._steps:
            raise PhaseError(f"{self._who} takes no further part: it answers nothing more.")
        step = self._steps[0]
        body = self._read(step, message)
        if step.uploads:
            _ = self.values
        try:
            answer = self._answer(step.sends, body)
        except ProtocolError:
            self._over = True
            raise
        del self._steps[0]
        if step.uploads:
            self._values = None
        return self.session.write(
            step.answers,
            self.session.server,
            answer,
            round_number=self.broadcast.round_number,
            broadcast=self.broadcast.digest,
        )

    @abstractmethod
    def _answer(self, kind: Kind, body: memoryview) -> bytes:
        """The body of the answer. Raises a ProtocolError to leave the round."""

    @property
    def _who(self) -> str:
        return f"{str(self.session.me).capitalize()} in round {self.broadcast.round_number}"

    def _read(self, step: Phase, message: bytes) -> memoryview:
        if step.sends is Kind.BROADCAST:
            if message != self.broadcast.data:
                raise PhaseError(f"{self._who} answers the broadcast it joined first, and nothing else.")
            return memoryview(b"")
        frame = self.session.read(
            message,
            kinds=(step.sends,),
            sender_role="server",
            round_number=self.broadcast.round_number,
            broadcast=self.broadcast.digest,
        )
        self.session.authenticate(frame)
        return frame.body
