"""Bodies of the messages, in the order of a round. k places of neighbours, n advertisers, numbers little-endian.

advertise    mask key 32
neighbours   who advertised: a bit for each client on the roster; a Merkle proof of the recipient's key among all mask
             keys, 32 ceil(log2 n); the mask keys of its neighbours by place, 32 k
share        commitment to the own secret 32; a box for each neighbour by place, 80 k
mailbox      whose boxes follow: k bits; the boxes by place, 80 each
upload       for each box that came, by place, a tag that says "masked with you", 16 each; the masked vector, W bits a
             number
survivors    who uploaded: n bits; the tags to the recipient of its surviving neighbours, by place, 16 each
confirm      for each surviving neighbour, by place, a tag over the survivors seen, 16 each
confirmed    which surviving neighbours confirmed: a bit each; their tags to the recipient, by place, 16 each
unmask       for each box that came, by place, one share, 32: of the own secret of a neighbour that survived, of the
             mask key of one that did not

Sets are bits, the first in the lowest bit of the first byte, zeros after the last. So a list cannot name anybody twice,
or who does not exist, and nobody can be in it and not in it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.errors import LeftoverError, WrongLengthError
from protocols.pairwise.graph import MAX_NEIGHBOURS
from protocols.pairwise.keys import SEAL_BYTES, TAG_BYTES
from protocols.pairwise.merkle import depth_of
from protocols.transcript import DIGEST_BYTES

KEY_BYTES = 32
SHARE_BYTES = 32
BOX_BYTES = 2 * SHARE_BYTES + SEAL_BYTES


def bytes_of(n: int) -> int:
    """Bytes that hold n bits."""
    return (n + 7) // 8


def write_bits(members: NDArray[np.bool_]) -> bytes:
    """A set: members (n,) bool."""
    return np.packbits(members, bitorder="little").tobytes()


def read_bits(data: bytes | memoryview, n: int, *, what: str) -> NDArray[np.bool_]:
    """Inverse of `write_bits`, (n,) bool; data has bytes_of(n) bytes. Raises LeftoverError, beginning with `what`."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    if bits[n:].any():
        raise LeftoverError(f"{what} names somebody beyond the last one there is.")
    return bits[:n].astype(bool)


def pieces(data: memoryview, size: int) -> list[memoryview]:
    """Consecutive pieces of this size; len(data) is a multiple of it."""
    return [data[at : at + size] for at in range(0, len(data), size)]


class Reader:
    """Takes a body apart from its front; everything must be asked for."""

    def __init__(self, body: memoryview, what: str) -> None:
        self._rest = body
        self.what = what

    def take(self, n: int) -> memoryview:
        """The next n bytes. Raises WrongLengthError."""
        if len(self._rest) < n:
            raise WrongLengthError(f"{self.what} ends {n - len(self._rest)} bytes early.")
        taken, self._rest = self._rest[:n], self._rest[n:]
        return taken

    def bits(self, n: int) -> NDArray[np.bool_]:
        """The next set of n. Raises WrongLengthError, LeftoverError."""
        return read_bits(self.take(bytes_of(n)), n, what=self.what)

    def end(self) -> None:
        """Raises LeftoverError if something is left."""
        if len(self._rest):
            raise LeftoverError(f"{self.what} holds {len(self._rest)} bytes too many.")


@dataclass(frozen=True)
class Neighbours:
    """advertised: (clients on the roster,) bool. proof: of the recipient's key. rest: what follows, the keys."""

    advertised: NDArray[np.bool_]
    proof: bytes
    keys: list[bytes]

    @classmethod
    def read(cls, body: memoryview, n_roster: int) -> "Neighbours":
        """Raises WrongLengthError, LeftoverError. That there are k keys is left to the caller, who works k out."""
        reader = Reader(body, "The list of neighbours")
        advertised = reader.bits(n_roster)
        n = int(np.count_nonzero(advertised))
        path = bytes(reader.take(DIGEST_BYTES * depth_of(n))) if n else b""
        remaining = len(body) - bytes_of(n_roster) - len(path)
        # Before anything is split: each key takes several times its bytes in Python's memory.
        if remaining > KEY_BYTES * min(n_roster, MAX_NEIGHBOURS):
            raise WrongLengthError(f"The list of neighbours holds {remaining} bytes of keys: no client has that many.")
        keys = [bytes(key) for key in pieces(reader.take(remaining - remaining % KEY_BYTES), KEY_BYTES)]
        reader.end()
        return cls(advertised, path, keys)


def read_survivors(body: memoryview, n: int, places: NDArray[np.int64]) -> tuple[NDArray[np.bool_], list[memoryview]]:
    """(survivors (n,) bool, a tag of each survivor among the neighbours at `places`, in their order).

    Raises WrongLengthError, LeftoverError.
    """
    reader = Reader(body, "The list of survivors")
    survivors = reader.bits(n)
    tags = pieces(reader.take(TAG_BYTES * int(np.count_nonzero(survivors[places]))), TAG_BYTES)
    reader.end()
    return survivors, tags


def read_entries(body: memoryview, n: int, size: int, *, what: str) -> tuple[NDArray[np.bool_], list[memoryview]]:
    """A set of n, and an entry of this size for each in it: mailbox, confirmed. Raises WrongLengthError,
    LeftoverError.
    """
    reader = Reader(body, what)
    members = reader.bits(n)
    entries = pieces(reader.take(size * int(np.count_nonzero(members))), size)
    reader.end()
    return members, entries
