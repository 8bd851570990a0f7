"""Frames: one fixed header, one body, nothing before, between or after.

Header, little-endian, 80 bytes: magic "srec", version u16, kind u8, protocol u8, parameters digest 16, key id 16,
run tag 16, round u64, client u64, body length u64. The server's frames and the bundle carry client 0.
A frame is not signed: who sent it is for the transport and the roster to prove.
"""

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from protocols.errors import (
    DuplicateError,
    FrameError,
    LeftoverError,
    TooManyClientsError,
    TruncatedError,
    UnknownVersionError,
    WrongKeyError,
    WrongLengthError,
    WrongParametersError,
    WrongProtocolError,
    WrongRoundError,
    WrongRunError,
)
from protocols.spec import ENCODED_BYTES, SumSpec

MAGIC = b"srec"
VERSION = 1
TAG_BYTES = 16
MAX_NUMBER = (1 << 63) - 1
"""Largest round number and client id."""

_HEADER = struct.Struct("<4sHBB16s16s16sQQQ")
HEADER_BYTES = _HEADER.size


class Kind(IntEnum):
    BUNDLE = 1
    UPLOAD = 2
    PARTIAL = 3
    AGGREGATE = 4


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame taken apart; `body` is a view of the bytes it came from."""

    kind: Kind
    protocol: int
    parameters: bytes
    key_id: bytes
    run_tag: bytes
    round_number: int
    client_id: int
    body: memoryview

    def __str__(self) -> str:
        if self.kind is Kind.UPLOAD:
            return f"The upload of client {self.client_id} for round {self.round_number}"
        if self.kind is Kind.BUNDLE:
            return "The bundle"
        return f"The {self.kind.name.lower()} of round {self.round_number}"


def tag(label: str, *parts: bytes) -> bytes:
    """The first 16 bytes of SHA-256 over a label and length-prefixed parts."""
    digest = hashlib.sha256(label.encode() + b"\0")
    for part in parts:
        digest.update(struct.pack("<Q", len(part)))
        digest.update(part)
    return digest.digest()[:TAG_BYTES]


def read_frame(data: bytes, kind: Kind) -> Frame:
    """Take a frame of the expected kind apart.

    Raises TruncatedError, LeftoverError, UnknownVersionError or FrameError before anything else is looked at.
    """
    if len(data) < HEADER_BYTES:
        raise TruncatedError(f"A frame has a header of {HEADER_BYTES} bytes, but only {len(data)} bytes arrived.")
    magic, version, found, protocol, parameters, key_id, run_tag, round_number, client_id, length = _HEADER.unpack_from(
        data
    )
    if magic != MAGIC:
        raise FrameError("These bytes are no frame of a secure sum: they do not begin with its magic.")
    if version != VERSION:
        raise UnknownVersionError(f"A frame of version {version} arrived; this program speaks version {VERSION}.")
    if found != kind:
        name = Kind(found).name.lower() if found in set(Kind) else f"unknown kind {found}"
        raise FrameError(f"Expected a frame of kind {kind.name.lower()}, got {name}.")
    if max(round_number, client_id) > MAX_NUMBER or (kind is not Kind.UPLOAD and client_id):
        raise FrameError("A frame's round or client number is out of range.")
    body = memoryview(data)[HEADER_BYTES:]
    frame = Frame(kind, protocol, parameters, key_id, run_tag, round_number, client_id, body)
    if len(body) < length:
        raise TruncatedError(f"{frame} is truncated: its body has {len(body)} of {length} bytes.")
    if len(body) > length:
        raise LeftoverError(f"{frame} is followed by {len(body) - length} bytes that do not belong to it.")
    return frame


@dataclass(frozen=True, slots=True)
class Session:
    """What all frames made under one key have in common."""

    protocol: int
    parameters: bytes
    key_id: bytes
    run_tag: bytes

    def frame(self, kind: Kind, body: bytes, *, round_number: int = 0, client_id: int = 0) -> bytes:
        """The bytes of a frame."""
        check_numbers(round_number=round_number, client_id=client_id)
        header = _HEADER.pack(
            MAGIC,
            VERSION,
            kind,
            self.protocol,
            self.parameters,
            self.key_id,
            self.run_tag,
            round_number,
            client_id,
            len(body),
        )
        return header + body

    def read(self, data: bytes, kind: Kind, *, round_number: int | None = None) -> Frame:
        """Take a frame apart that must belong to this session, and to this round unless that is None.

        Raises what `read_frame` raises, then WrongProtocolError, WrongParametersError, WrongRunError, WrongKeyError,
        WrongRoundError.
        """
        frame = read_frame(data, kind)
        if frame.protocol != self.protocol:
            raise WrongProtocolError(f"{frame} was made by protocol number {frame.protocol}, not {self.protocol}.")
        if frame.parameters != self.parameters:
            raise WrongParametersError(f"{frame} was made for other parameters: its maker holds another bundle.")
        if frame.run_tag != self.run_tag:
            raise WrongRunError(f"{frame} belongs to another run.")
        if frame.key_id != self.key_id:
            raise WrongKeyError(f"{frame} was made under another key: its maker holds an older or foreign bundle.")
        if round_number is not None and frame.round_number != round_number:
            raise WrongRoundError(f"{frame} arrived in round {round_number}.")
        return frame


def check_numbers(*, round_number: int, client_id: int = 0) -> None:
    """Raise FrameError for numbers that no frame holds."""
    if not 0 <= round_number <= MAX_NUMBER or not 0 <= client_id <= MAX_NUMBER:
        raise FrameError(f"Round {round_number} or client {client_id} is not a number from 0 to {MAX_NUMBER}.")


def write_bundle(session: Session, spec: SumSpec, public_key: bytes) -> bytes:
    """The public bytes from which clients and servers of a key are made."""
    return session.frame(Kind.BUNDLE, spec.encode() + public_key)


def key_id_of(parameters: bytes, run_tag: bytes, public_key: bytes) -> bytes:
    """A key's name: a digest of its public part and what it is for."""
    return tag("key", parameters, run_tag, public_key)


def read_bundle(data: bytes) -> tuple[Session, SumSpec, memoryview]:
    """(session, spec, public key bytes) of a bundle whose key id matches its public key.

    That the digest of parameters follows from the spec is for the protocol to check: `check_parameters`.
    """
    frame = read_frame(data, Kind.BUNDLE)
    if frame.round_number:
        raise FrameError("A bundle belongs to no round.")
    if len(frame.body) < ENCODED_BYTES:
        raise WrongLengthError("The bundle is too short to hold the specification of a sum.")
    spec = SumSpec.decode(bytes(frame.body[:ENCODED_BYTES]))
    public_key = frame.body[ENCODED_BYTES:]
    if frame.key_id != key_id_of(frame.parameters, frame.run_tag, bytes(public_key)):
        raise WrongKeyError("The bundle's key id does not fit its public key: it was damaged or put together wrongly.")
    return Session(frame.protocol, frame.parameters, frame.key_id, frame.run_tag), spec, public_key


def check_parameters(session: Session, digest: bytes) -> None:
    """Raise WrongParametersError unless the session's parameters are the ones this program derives itself."""
    if session.parameters != digest:
        raise WrongParametersError(
            "The bundle's parameters are not the ones that this program derives from its specification: "
            "both sides must run the same version."
        )


def write_sum(contributors: Iterable[int], residues: bytes) -> bytes:
    """Body of a partial or an aggregate: number of contributors, their ids in rising order, the summed residues."""
    ids = sorted(contributors)
    return struct.pack(f"<{len(ids) + 1}Q", len(ids), *ids) + residues


def read_sum(frame: Frame, *, max_clients: int, residue_bytes: int) -> tuple[frozenset[int], memoryview]:
    """(contributors, residue bytes) of a partial's or aggregate's body.

    Raises WrongLengthError, TooManyClientsError, DuplicateError, FrameError (ids not rising).
    """
    if len(frame.body) < 8:
        raise WrongLengthError(f"{frame} is too short to name its contributors.")
    (count,) = struct.unpack_from("<Q", frame.body)
    if count > max_clients:
        raise TooManyClientsError(f"{frame} names {count} contributors; the sum was sized for {max_clients}.")
    expected = 8 * (1 + count) + residue_bytes
    if len(frame.body) != expected:
        raise WrongLengthError(f"{frame} has a body of {len(frame.body)} bytes; {expected} were expected.")
    ids = struct.unpack_from(f"<{count}Q", frame.body, 8)
    for earlier, later in zip(ids, ids[1:], strict=False):
        if earlier == later:
            raise DuplicateError(f"{frame} counts client {later} twice.")
        if earlier > later:
            raise FrameError(f"{frame} does not list its contributors in rising order.")
    if ids and ids[-1] > MAX_NUMBER:
        raise FrameError(f"{frame} names a client whose id is out of range.")
    return frozenset(ids), frame.body[8 * (1 + count) :]
