"""Frames: one fixed header, one body, one signature; nothing before, between or after.

Header, little-endian, 121 bytes: magic "srec", version u8, kind u8, protocol u8, role of the sender u8, role of the
recipient u8 (0: everybody), number of the sender u64, number of the recipient u64, setup digest 32, run tag 16, round
u64, digest of the round's broadcast 32 (zeros in the broadcast itself), body length u64.

The signature, 64 bytes, is the sender's over the header and the SHA-256 of the body. Whoever holds those two can check
it without the body: that is how a decryptor checks uploads that it never sees.
"""

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from protocols.errors import FrameError, LeftoverError, TruncatedError, UnknownVersionError
from protocols.identity import MAX_NUMBER, ROLES, SIGNATURE_BYTES, Address, Identity, PublicIdentity
from protocols.transcript import DIGEST_BYTES

MAGIC = b"srec"
VERSION = 2
NO_BROADCAST = bytes(DIGEST_BYTES)

_HEADER = struct.Struct("<4sBBBBBQQ32s16sQ32sQ")
HEADER_BYTES = _HEADER.size
FRAME_BYTES = HEADER_BYTES + SIGNATURE_BYTES
"""Bytes of a frame beside its body."""

_LABEL = "frame"


class Kind(IntEnum):
    """What a frame is for. A protocol that needs another kind adds it here: numbers are never used again."""

    BROADCAST = 1
    UPLOAD = 2
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
        return f"The {self.kind.name.lower()} of {self.sender} for round {self.round_number}"

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

    def write(self, identity: Identity, body: bytes) -> bytes:
        """The frame with this header and body, signed."""
        packed = self.pack()
        return b"".join((packed, body, identity.sign(_LABEL, packed, hashlib.sha256(body).digest())))

    def check_signature(self, sender: PublicIdentity, body_digest: bytes, signature: bytes | memoryview) -> None:
        """Raise SignatureError unless `sender` signed this header with a body of this SHA-256."""
        sender.verify(signature, _LABEL, self.pack(), body_digest)


@dataclass(frozen=True)
class Frame:
    """A frame taken apart; `body` is a view of the bytes it came from. Nothing in it is proved yet."""

    header: Header
    body: memoryview
    signature: bytes

    def __str__(self) -> str:
        return str(self.header)

    @cached_property
    def body_digest(self) -> bytes:
        """SHA-256 of the body."""
        return hashlib.sha256(self.body).digest()


def read_frame(data: bytes | memoryview) -> Frame:
    """Take a frame apart. Raises TruncatedError, LeftoverError, UnknownVersionError, FrameError."""
    if len(data) < FRAME_BYTES:
        raise TruncatedError(f"A frame has at least {FRAME_BYTES} bytes, but only {len(data)} arrived.")
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
    header = Header(Kind(kind), protocol, sender, recipient, setup, run_tag, round_number, broadcast, length)
    found = len(data) - FRAME_BYTES
    if found < length:
        raise TruncatedError(f"{header} is truncated: {found} of its body's {length} bytes arrived.")
    if found > length:
        raise LeftoverError(f"{header} is followed by {found - length} bytes that do not belong to it.")
    view = memoryview(data)
    return Frame(header, view[HEADER_BYTES:-SIGNATURE_BYTES], bytes(view[-SIGNATURE_BYTES:]))


_KINDS = frozenset(Kind)
