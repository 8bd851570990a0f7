"""Phases and layouts of what the committee's roles exchange, known to all of them.

Upload: salt 32; ciphertext; a box for each member, by rising number.

Boxes come in batches, one message each: the broadcast, 253; the secret that its nonce commits to, 32; how many clients
the round has u32, and how many of them were in earlier batches u32; then for each client of this batch, by rising id:
id u64, the salt of its upload 32, the box for this member. Ids rise from batch to batch, too.

Complaints: a bit for each client of the batch, from the lowest bit of the first byte, set where its box is no good;
zeros fill the last byte. Then the projections of their shares, packed; zeros where the box is no good.

Request: the manifest of the survivors, nothing more. Opening: the sum of their shares.
"""

import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from protocols.broadcast import BROADCAST_BYTES, SECRET_BYTES
from protocols.codec import Kind
from protocols.committee.parameters import Parameters, choose
from protocols.errors import LeftoverError, WrongLengthError
from protocols.roles.phase import Phase
from protocols.session import Session
from protocols.transcript import digest

UPLOAD, BOXES, OPENING = PHASES = (
    Phase("upload", "client", Kind.BROADCAST, Kind.UPLOAD),
    Phase("boxes", "decryptor", Kind.BOXES, Kind.COMPLAINTS),
    Phase("opening", "decryptor", Kind.REQUEST, Kind.OPENING),
)
"""The second one comes again for each batch of boxes."""

SALT_BYTES = 32
BATCH_BYTES = 1 << 20
"""Bytes of boxes in one message, at most, unless a single box is larger."""

_ID = struct.Struct("<Q")
_HEAD = struct.Struct(f"<{BROADCAST_BYTES}s{SECRET_BYTES}sII")


def parameters_of(session: Session) -> Parameters:
    """What this run's specification and committee lead to. Raises SpecError."""
    roster = session.roster
    return choose(session.setup.spec, members=len(roster.decryptors), threshold=roster.threshold)


def round_digest(parameters: Parameters, broadcast: bytes) -> bytes:
    """32 bytes that stand for a round's broadcast, by its digest, and for the parameters its parties derived."""
    return digest("committee round", broadcast, parameters.digest())


def upload_bytes(parameters: Parameters) -> int:
    """Bytes of an upload's body."""
    return SALT_BYTES + parameters.upload_bytes


def box_slices(parameters: Parameters) -> list[slice]:
    """Where in an upload's body the box of each member lies."""
    sizes = [parameters.box_bytes(member) for member in range(parameters.members)]
    ends = list(accumulate(sizes, initial=SALT_BYTES + parameters.ciphertext.n_bytes))
    return [slice(start, start + size) for start, size in zip(ends, sizes, strict=False)]


def batch_clients(parameters: Parameters) -> int:
    """How many clients a full batch holds: as many as the last member's boxes, which are the largest, allow for."""
    return max(1, BATCH_BYTES // (_ID.size + SALT_BYTES + parameters.box_bytes(parameters.members - 1)))


@dataclass(frozen=True)
class Batch:
    """Where a batch belongs. broadcast: the round's, its bytes; secret: what its nonce commits to.

    count: clients of the round; earlier: how many of them were in earlier batches.
    """

    broadcast: bytes
    secret: bytes
    count: int
    earlier: int

    def write(self, clients: Sequence[tuple[int, bytes | memoryview, bytes | memoryview]]) -> bytes:
        """The body. clients: (id, salt, box) of each, by rising id."""
        parts: list[bytes | memoryview] = [_HEAD.pack(self.broadcast, self.secret, self.count, self.earlier)]
        for client, salt, box in clients:
            parts += (_ID.pack(client), salt, box)
        return b"".join(parts)

    @classmethod
    def read(cls, body: memoryview, *, what: str) -> tuple["Batch", memoryview]:
        """(batch, its entries). Raises WrongLengthError."""
        if len(body) < _HEAD.size:
            raise WrongLengthError(f"{what} is too short to be a batch of boxes.")
        return cls(*_HEAD.unpack_from(body)), body[_HEAD.size :]


def entries(material: memoryview, *, box_bytes: int, what: str) -> Iterator[tuple[int, bytes, memoryview]]:
    """(id, salt, box) of each client. Raises WrongLengthError, before the first one, unless there is a whole number."""
    size = _ID.size + SALT_BYTES + box_bytes
    if not len(material) or len(material) % size:
        raise WrongLengthError(f"{what} holds {len(material)} bytes of boxes, and each takes {size}.")

    def each() -> Iterator[tuple[int, bytes, memoryview]]:
        for at in range(0, len(material), size):
            salt_at, box_at = at + _ID.size, at + _ID.size + SALT_BYTES
            yield _ID.unpack_from(material, at)[0], bytes(material[salt_at:box_at]), material[box_at : at + size]

    return each()


def complaint_bytes(n_clients: int) -> int:
    return (n_clients + 7) // 8


def write_complaints(clients: Collection[int], bad: Collection[int]) -> bytes:
    """clients: all of the batch; bad: those whose box is no good."""
    return np.packbits([client in bad for client in sorted(clients)], bitorder="little").tobytes()


def read_complaints(body: memoryview, clients: Collection[int], *, what: str) -> frozenset[int]:
    """The bad ones. Raises WrongLengthError, LeftoverError."""
    if len(body) != complaint_bytes(len(clients)):
        raise WrongLengthError(f"{what} has {len(body)} bytes for {len(clients)} clients.")
    bits = np.unpackbits(np.frombuffer(body, np.uint8), bitorder="little")
    if bits[len(clients) :].any():
        raise LeftoverError(f"{what} has padding bits that are not zero.")
    return frozenset(client for client, bit in zip(sorted(clients), bits, strict=False) if bit)
