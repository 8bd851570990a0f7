"""Phases and layouts of what the committee's roles exchange, known to all of them.

Upload: salt 32; ciphertext; a box for each member, by rising number. Boxes: the manifest of all uploads; then for each
client in it, by rising id, its salt and the box for this member. Complaints: a bit for each client in that manifest, by
rising id from the lowest bit of the first byte, set where its box is no good; zeros fill the last byte. Request: the
manifest of the survivors, nothing more. Opening: the sum of their shares.
"""

from collections.abc import Collection, Iterator
from itertools import accumulate

import numpy as np

from protocols.codec import Kind
from protocols.committee.parameters import Parameters, choose
from protocols.errors import LeftoverError, WrongLengthError
from protocols.roles.phase import Phase
from protocols.session import Session
from protocols.transcript import digest

PHASES = (
    Phase("upload", "client", Kind.BROADCAST, Kind.UPLOAD),
    Phase("boxes", "decryptor", Kind.BOXES, Kind.COMPLAINTS),
    Phase("opening", "decryptor", Kind.REQUEST, Kind.OPENING),
)
SALT_BYTES = 32


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


def entries(material: memoryview, *, count: int, box_bytes: int, what: str) -> Iterator[tuple[bytes, memoryview]]:
    """The (salt, box) of each of `count` clients. Raises WrongLengthError."""
    size = SALT_BYTES + box_bytes
    if len(material) != count * size:
        raise WrongLengthError(f"{what} holds {len(material)} bytes of boxes; {count * size} were expected.")
    for at in range(0, len(material), size):
        yield bytes(material[at : at + SALT_BYTES]), material[at + SALT_BYTES : at + size]


def write_complaints(clients: Collection[int], bad: Collection[int]) -> bytes:
    """clients: all in the manifest; bad: those whose box is no good."""
    return np.packbits([client in bad for client in sorted(clients)], bitorder="little").tobytes()


def read_complaints(body: memoryview, clients: Collection[int], *, what: str) -> frozenset[int]:
    """The bad ones. Raises WrongLengthError, LeftoverError."""
    if len(body) != (len(clients) + 7) // 8:
        raise WrongLengthError(f"{what} has {len(body)} bytes for {len(clients)} clients.")
    bits = np.unpackbits(np.frombuffer(body, np.uint8), bitorder="little")
    if bits[len(clients) :].any():
        raise LeftoverError(f"{what} has padding bits that are not zero.")
    return frozenset(client for client, bit in zip(sorted(clients), bits, strict=False) if bit)
