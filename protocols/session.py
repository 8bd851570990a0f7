"""What a party knows before any round: who it is, among whom, for which sums. It writes frames and checks others'."""

from collections.abc import Container

from protocols.codec import NO_BROADCAST, Frame, Header, Kind, read_frame
from protocols.errors import (
    FrameError,
    PhaseError,
    RosterError,
    SignatureError,
    UnknownSenderError,
    WrongBroadcastError,
    WrongParametersError,
    WrongProtocolError,
    WrongRecipientError,
    WrongRoundError,
    WrongRunError,
)
from protocols.identity import Address, Identity, PublicIdentity, Role
from protocols.seals import SealKey, seal_key
from protocols.setup import Setup


class Session:
    """One party's place in a run."""

    def __init__(self, setup: bytes, identity: Identity, enrolment_public: bytes, *, role: Role) -> None:
        """enrolment_public: the pinned key, 32 bytes. Raises SetupError, WrongProtocolError, SpecError, RosterError.

        A roster that does not hold exactly this identity is refused: the party would speak and nobody would listen.
        """
        self.setup = Setup.from_bytes(setup)
        self.roster = self.setup.verify(enrolment_public)
        self.identity = identity
        self.me = identity.address
        if self.me.role != role:
            raise RosterError(f"A {role} cannot play with the identity of {self.me}.")
        if self.roster.parties.get(self.me) != identity.public:
            raise RosterError(f"The roster does not name {self.me} with the keys of this identity.")
        self.server = self.roster.server.address
        self._seal_keys: dict[tuple[Address, Address], SealKey] = {}

    def __repr__(self) -> str:
        return f"Session({self.me}, {self.setup.protocol}, setup={self.setup.digest.hex()[:16]}...)"

    def header(
        self,
        kind: Kind,
        sender: Address,
        recipient: Address | None,
        body_bytes: int,
        *,
        round_number: int,
        broadcast: bytes = NO_BROADCAST,
    ) -> Header:
        """The header of a frame of this run."""
        setup = self.setup
        return Header(
            kind, setup.number, sender, recipient, setup.digest, setup.run_tag, round_number, broadcast, body_bytes
        )

    def write(
        self, kind: Kind, recipient: Address | None, body: bytes, *, round_number: int, broadcast: bytes = NO_BROADCAST
    ) -> bytes:
        """A frame of this party, signed or sealed as its kind demands. recipient: None for everybody.

        Raises IdentityError for a kind that bears a seal where the recipient's box key is weak.
        """
        header = self.header(kind, self.me, recipient, len(body), round_number=round_number, broadcast=broadcast)
        if recipient is None or not header.bears_seal:
            return header.write(self.identity, body)
        return header.write(self.identity, body, key=self._seal_key(self.me, recipient))

    def read(
        self,
        data: bytes | memoryview,
        *,
        kinds: Container[Kind],
        sender_role: Role,
        round_number: int | None = None,
        broadcast: bytes | None = None,
    ) -> Frame:
        """Take a frame apart that must be of this run, from that role, for this party; `authenticate` does the rest.

        round_number, broadcast: what it must belong to, unless None. Raises what `read_frame` raises, then
        WrongProtocolError, WrongRunError, WrongParametersError, WrongRoundError, UnknownSenderError,
        PhaseError (another kind), WrongRecipientError, WrongBroadcastError.
        """
        frame = read_frame(data)
        header = frame.header
        if header.protocol != self.setup.number:
            raise WrongProtocolError(f"{frame} was made by protocol number {header.protocol}, not {self.setup.number}.")
        if header.run_tag != self.setup.run_tag:
            raise WrongRunError(f"{frame} belongs to another run.")
        if header.setup != self.setup.digest:
            raise WrongParametersError(f"{frame} was made for another setup: other parameters, keys or roster.")
        if round_number is not None and header.round_number != round_number:
            raise WrongRoundError(f"{frame} arrived in round {round_number}.")
        if header.sender.role != sender_role:
            raise UnknownSenderError(f"{frame} was expected from a {sender_role}.")
        self.identity_of(header.sender, frame)
        if header.kind not in kinds:
            raise PhaseError(f"{frame} has no place here: it was not asked for now.")
        # A broadcast is for everybody and nothing else is, so that its bytes are the same for all.
        if header.recipient != (None if header.kind is Kind.BROADCAST else self.me):
            raise WrongRecipientError(f"{frame} is for {header.recipient or 'everybody'}, not for {self.me}.")
        if header.kind is Kind.BROADCAST and header.broadcast != NO_BROADCAST:
            raise FrameError(f"{frame} claims to answer another broadcast.")
        if broadcast is not None and header.broadcast != broadcast:
            raise WrongBroadcastError(f"{frame} answers another broadcast of that round.")
        return frame

    def authenticate(self, frame: Frame) -> None:
        """Raise SignatureError unless the party that the frame names as its sender made it, for this one.

        A seal and a signature are checked as the frame's kind has them. The digest that an upload states is proved to
        be its sender's statement, not to be true. Raises IdentityError for a seal where the sender's box key is weak.
        """
        header = frame.header
        try:
            # The seal first: it takes a tenth of the time.
            if frame.seal:
                self._seal_key(header.sender, self.me).check(frame.before_seal, frame.seal)
            if frame.signature:
                sender = self.identity_of(header.sender, frame)
                header.check_signature(sender, frame.stated_digest or frame.body_digest, frame.signature)
        except SignatureError:
            raise SignatureError(f"{frame} is not sealed or signed by its sender: it was changed or forged.") from None

    def _seal_key(self, sender: Address, recipient: Address) -> SealKey:
        key = self._seal_keys.get((sender, recipient))
        if key is None:
            peer = self.roster.parties[recipient if sender == self.me else sender]
            key = seal_key(self.identity, peer, setup=self.setup.digest, sender=sender, recipient=recipient)
            self._seal_keys[sender, recipient] = key
        return key

    def identity_of(self, address: Address, what: object) -> PublicIdentity:
        """The party at this address. Raises UnknownSenderError, naming `what`."""
        found = self.roster.parties.get(address)
        if found is None:
            raise UnknownSenderError(f"{what}: the roster names no {address}.")
        return found
