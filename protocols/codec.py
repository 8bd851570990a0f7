"""Frames: one fixed header, one body, one trailer that proves where they come from; nothing before, between or after.

Header, little-endian, 121 bytes: magic "srec", version u8, kind u8, protocol u8, role of the sender u8, role of the
recipient u8 (0: everybody), number of the sender u64, number of the recipient u64, setup digest 32, run tag 16, round
u64, digest of the round's broadcast 32 (zeros in the broadcast itself), body length u64.

The kind alone says which trailer a frame has; no message can ask for another.

    SEALED      seal 28 over all before it: what the server and a client say to each other and nobody else reads
    UPLOAD      SHA-256 of the body 32, signature 64, then a seal 28 over all before it
    all others  signature 64

The signature is the sender's over the header and the SHA-256 of the body. Whoever holds those two can check it without
the body: that is how a decryptor checks uploads that it never sees. The server, who does, knows an upload's body by the
seal, and does not hash it again: the digest that stands there is what the client says of its own upload.
"""

import hashlib
import os
import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from protocols.errors import FrameError, LeftoverError, TruncatedError, UnknownVersionError
from protocols.identity import MAX_NUMBER, ROLES, SIGNATURE_BYTES, Address, Identity, PublicIdentity
from protocols.seals import NONCE_BYTES, SEAL_BYTES, SealKey
from protocols.transcript import DIGEST_BYTES

MAGIC = b"srec"
VERSION = 4
NO_BROADCAST = bytes(DIGEST_BYTES)

_HEADER = struct.Struct("<4sBBBBBQQ32s16sQ32sQ")
HEADER_BYTES = _HEADER.size
_NUMBER, _LENGTH = slice(9, 17), slice(113, 121)
"""Where in a header the sender's number and the body's length are."""

_LABEL = "frame"


class Kind(IntEnum):
    """What a frame is for. A protocol that needs another kind adds it here: numbers are never used again."""

    BROADCAST = 1
    UPLOAD = 2
    """A client's vector, of which decryptors are shown that it signed it."""
    REQUEST = 3
    """To a decryptor: the manifest, then what the protocol adds to it."""
    OPENING = 4
    """A decryptor's answer."""
    ADVERTISE = 6
    NEIGHBOURS = 7
    SHARE = 8
    MAILBOX = 9
    SURVIVORS = 10
    CONFIRM = 11
    CONFIRMED = 12
    UNMASK = 13
    BOXES = 14
    COMPLAINTS = 15
    VECTOR = 16
    """A client's vector where no decryptor is shown anything."""


UPLOADS = (Kind.UPLOAD, Kind.VECTOR)
"""Answers that hold a client's vector."""

SEALED = frozenset(
    (
        Kind.VECTOR,
        Kind.ADVERTISE,
        Kind.NEIGHBOURS,
        Kind.SHARE,
        Kind.MAILBOX,
        Kind.SURVIVORS,
        Kind.CONFIRM,
        Kind.CONFIRMED,
        Kind.UNMASK,
    )
)
"""Kinds between the server and one client that bear a seal alone."""

_DIGEST = {kind: DIGEST_BYTES if kind is Kind.UPLOAD else 0 for kind in Kind}
_SIGNATURE = {kind: 0 if kind in SEALED else SIGNATURE_BYTES for kind in Kind}
_SEAL = {kind: SEAL_BYTES if kind in SEALED or kind is Kind.UPLOAD else 0 for kind in Kind}

FRAME_BYTES = {kind: HEADER_BYTES + _DIGEST[kind] + _SIGNATURE[kind] + _SEAL[kind] for kind in Kind}
"""By kind, bytes of a frame beside its body."""


@dataclass(frozen=True)
class Header:
    """A frame's header. recipient: None for everybody. broadcast: the digest of the broadcast it answers."""

    kind: Kind
    protocol: int
    sender: Address
    recipient: Address | None
    setup: bytes
    run_tag: bytes
    round_number: int
    broadcast: bytes
    body_bytes: int

    def __str__(self) -> str:
        name = "upload" if self.kind in UPLOADS else self.kind.name.lower()
        return f"The {name} of {self.sender} for round {self.round_number}"

    @property
    def bears_seal(self) -> bool:
        """Whether a frame of this kind ends with a seal."""
        return _SEAL[self.kind] > 0

    def pack(self) -> bytes:
        """HEADER_BYTES bytes. Raises FrameError for a round that no frame holds."""
        if not 0 <= self.round_number <= MAX_NUMBER:
            raise FrameError(f"Round {self.round_number} is not a number from 0 to {MAX_NUMBER}.")
        to = self.recipient
        return _HEADER.pack(
            MAGIC,
            VERSION,
            self.kind,
            self.protocol,
            ROLES.index(self.sender.role) + 1,
            0 if to is None else ROLES.index(to.role) + 1,
            self.sender.number,
            0 if to is None else to.number,
            self.setup,
            self.run_tag,
            self.round_number,
            self.broadcast,
            self.body_bytes,
        )

    def write(
        self, identity: Identity, body: bytes, *, key: SealKey | None = None, nonce: bytes | None = None
    ) -> bytes:
        """The frame with this header and body, and the trailer of its kind.

        key: what a seal is made with; for kinds that bear one. nonce: of the seal; 12 random bytes of the operating
        system's if None.
        """
        packed = self.pack()
        parts = [packed, body]
        if _SIGNATURE[self.kind]:
            body_digest = hashlib.sha256(body).digest()
            if _DIGEST[self.kind]:
                parts.append(body_digest)
            parts.append(identity.sign(_LABEL, packed, body_digest))
        data = b"".join(parts)
        if not _SEAL[self.kind]:
            return data
        if key is None:
            raise ValueError(f"a frame of kind {self.kind.name} bears a seal, and there is no key for it")
        return data + key.seal(data, os.urandom(NONCE_BYTES) if nonce is None else nonce)

    def check_signature(self, sender: PublicIdentity, body_digest: bytes, signature: bytes | memoryview) -> None:
        """Raise SignatureError unless `sender` signed this header with a body of this SHA-256."""
        sender.verify(signature, _LABEL, self.pack(), body_digest)


@dataclass(frozen=True)
class Frame:
    """A frame taken apart; `body` and `before_seal` are views of the bytes it came from. Nothing in it is proved yet.

    stated_digest: of an upload, what its sender says is the SHA-256 of the body; empty for other kinds, as are
    signature and seal for those that bear none. before_seal: what a seal covers.
    """

    header: Header
    body: memoryview
    stated_digest: bytes
    signature: bytes
    before_seal: memoryview
    seal: bytes

    def __str__(self) -> str:
        return str(self.header)

    @cached_property
    def body_digest(self) -> bytes:
        """SHA-256 of the body."""
        return hashlib.sha256(self.body).digest()


def read_frame(data: bytes | memoryview) -> Frame:
    """Take a frame apart. Raises TruncatedError, LeftoverError, UnknownVersionError, FrameError."""
    if len(data) < _LEAST_BYTES:
        raise TruncatedError(f"A frame has at least {_LEAST_BYTES} bytes, but only {len(data)} arrived.")
    magic, version, kind, protocol, from_role, to_role, *rest = _HEADER.unpack_from(data)
    from_number, to_number, setup, run_tag, round_number, broadcast, length = rest
    if magic != MAGIC:
        raise FrameError("These bytes are no frame of a secure sum: they do not begin with its magic.")
    if version != VERSION:
        raise UnknownVersionError(f"A frame of version {version} arrived; this program speaks version {VERSION}.")
    if kind not in _KINDS:
        raise FrameError(f"A frame of unknown kind {kind} arrived.")
    if not 1 <= from_role <= len(ROLES) or to_role > len(ROLES) or (to_role == 0 and to_number):
        raise FrameError("A frame names a sender or recipient of no known role.")
    if max(round_number, from_number, to_number) > MAX_NUMBER:
        raise FrameError("A frame's round, sender or recipient is out of range.")
    sender = Address(ROLES[from_role - 1], from_number)
    recipient = Address(ROLES[to_role - 1], to_number) if to_role else None
    header = Header(_KINDS[kind], protocol, sender, recipient, setup, run_tag, round_number, broadcast, length)
    excess = len(data) - FRAME_BYTES[header.kind] - length
    if excess < 0:
        raise TruncatedError(f"{header} is truncated: it ends {-excess} bytes early.")
    if excess > 0:
        raise LeftoverError(f"{header} is followed by {excess} bytes that do not belong to it.")
    return _taken_apart(header, data)


class Expected:
    """What all answers of a phase have in common: their header, but for the sender's number and the body's length."""

    def __init__(self, header: Header) -> None:
        """header: of one such answer, whichever."""
        self._header = header
        packed = header.pack()
        self._before, self._between = packed[: _NUMBER.start], packed[_NUMBER.stop : _LENGTH.start]

    def __repr__(self) -> str:
        return f"Expected({self._header.kind.name.lower()})"

    def read(self, data: bytes) -> Frame | None:
        """The frame that `read_frame` would return, at half of the time; None for all that is not exactly expected."""
        if data[: _NUMBER.start] != self._before or data[_NUMBER.stop : _LENGTH.start] != self._between:
            return None
        of = self._header
        number, length = int.from_bytes(data[_NUMBER], "little"), int.from_bytes(data[_LENGTH], "little")
        if number > MAX_NUMBER or len(data) != FRAME_BYTES[of.kind] + length:
            return None
        sender = Address(of.sender.role, number)
        header = Header(
            of.kind, of.protocol, sender, of.recipient, of.setup, of.run_tag, of.round_number, of.broadcast, length
        )
        return _taken_apart(header, data)


def _taken_apart(header: Header, data: bytes | memoryview) -> Frame:
    """The frame of these bytes, whose header has been read and whose length is right."""
    view = memoryview(data)
    digest_at = HEADER_BYTES + header.body_bytes
    signature_at = digest_at + _DIGEST[header.kind]
    seal_at = signature_at + _SIGNATURE[header.kind]
    return Frame(
        header,
        view[HEADER_BYTES:digest_at],
        bytes(view[digest_at:signature_at]),
        bytes(view[signature_at:seal_at]),
        view[:seal_at],
        bytes(view[seal_at:]),
    )


_KINDS = {int(kind): kind for kind in Kind}
_LEAST_BYTES = min(FRAME_BYTES.values())
