"""The decryptor's side of every protocol that has one: what it was shown, and that it answers for one set a round.

To add a protocol, write a `Decryptor` with

    _upload_bytes()        length of an upload's body; needed where `checks_signatures` is on
    _examine(request)      parse `request.material`, what follows the manifest; raise a ProtocolError to refuse it,
                           and give nothing away: a round is not spent by it, and the server may ask again.
    _open(request, examined)  the body of the answer, from what `_examine` returned. A function of the request alone:
                           it is asked for again only with the very same request.

and, if it holds a key beside its identity, `new_key`; then an entry in protocols/registry.py. When `_examine` is
called, the request is known to be signed by the server, and its manifest to hold: one broadcast, at least as many
survivors as it promised and as this decryptor's own floor, all on the roster, none twice, no upload twice, and (where
`checks_signatures` is on) each signed by its client for that broadcast. Before `_open` is called, the round is recorded
in `answered`.
"""

import hmac
from abc import ABC, abstractmethod
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from protocols.codec import Kind
from protocols.errors import SpentRoundError
from protocols.identity import Identity
from protocols.manifest import Manifest
from protocols.roster import Roster
from protocols.session import Session
from protocols.spec import ROUNDS_PER_KEY, SumSpec

Examined = TypeVar("Examined")


@dataclass(frozen=True)
class Request:
    """What a server asks a decryptor to open. material: the protocol's own part. what: names it in messages."""

    manifest: Manifest
    material: memoryview
    what: str

    @property
    def survivors(self) -> frozenset[int]:
        return self.manifest.survivors


class Decryptor(ABC, Generic[Examined]):
    """One holder of what it takes to open a sum."""

    checks_signatures: ClassVar[bool] = True
    """Off only where what the decryptor works on is authenticated by each client in another way."""

    def __init__(
        self,
        setup: bytes,
        identity: Identity,
        enrolment_public: bytes,
        *,
        answered: MutableMapping[int, bytes],
        min_survivors: int = 1,
        key: Any = None,
    ) -> None:
        """answered: round to a digest of the one request this decryptor has answered for it, written before the answer
        is given. It must outlive this process wherever the keys do: with it lost, a server could have two sets opened.

        min_survivors: this decryptor's own floor. key: what `new_key` returned. Raises what `Session` raises.
        """
        self.session = Session(setup, identity, enrolment_public, role="decryptor")
        self.spec: SumSpec = self.session.setup.spec
        self.min_survivors = min_survivors
        self._answered = answered
        self._prepare(key)

    def _prepare(self, key: Any) -> None:
        """What a protocol's decryptors check or load once. key: what `new_key` returned. Raises a ProtocolError."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.session}, rounds_answered={len(self._answered)})"

    @classmethod
    def new_key(cls, spec: SumSpec, *, run_id: bytes, roster: Roster, identity: Identity) -> tuple[bytes, Any]:
        """(what this decryptor publishes in the setup, the key for `__init__`); none unless the protocol says so."""
        return b"", None

    def answer(self, message: bytes) -> bytes:
        """The answer to a request: what opens the sum of its survivors.

        Raises a ProtocolError to refuse: what `Session.read` and `Manifest.read` raise, SignatureError,
        SpentRoundError, or the protocol's own. The same request again gets the same answer; another one for a round
        that was answered is refused.
        """
        frame = self.session.read(message, kinds=(Kind.REQUEST,), sender_role="server")
        self.session.authenticate(frame)
        header = frame.header
        what = str(frame)
        manifest, material = Manifest.read(
            self.session,
            frame.body,
            what=what,
            round_number=header.round_number,
            broadcast=header.broadcast,
            floor=self.min_survivors,
        )
        spent = self._answered.get(header.round_number)
        if spent is not None and not hmac.compare_digest(spent, frame.body_digest):
            raise SpentRoundError(f"{what} is not answered: {self.session.me} has answered another for that round.")
        if spent is None and len(self._answered) >= ROUNDS_PER_KEY:
            raise SpentRoundError(f"{what} is not answered: {ROUNDS_PER_KEY} rounds are all that one setup serves.")
        if self.checks_signatures:
            manifest.check_signatures(self.session, body_bytes=self._upload_bytes(), what=what)
        request = Request(manifest, material, what)
        examined = self._examine(request)
        self._answered[header.round_number] = frame.body_digest
        body = self._open(request, examined)
        # The answer names its request by that request's signature, which the server takes off again.
        return self.session.write(
            Kind.OPENING,
            self.session.server,
            frame.signature + body,
            round_number=header.round_number,
            broadcast=header.broadcast,
        )

    def _upload_bytes(self) -> int:
        """Length of an upload's body."""
        raise NotImplementedError(f"{type(self).__name__} checks signatures but does not know an upload's length")

    @abstractmethod
    def _examine(self, request: Request) -> Examined:
        """Parse and check the material, giving nothing away."""

    @abstractmethod
    def _open(self, request: Request, examined: Examined) -> bytes:
        """The body of the answer."""
