"""The decryptor's role, whatever the protocol: hold the key, open one sum a round, release exact integers only."""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from protocols.codec import Kind, Session, read_sum, write_bundle
from protocols.errors import RangeError, SpentRoundError, TooFewClientsError
from protocols.packing import Streams
from protocols.spec import ROUNDS_PER_KEY, SumSpec


class Decryptor(ABC):
    """Opens sums. Which rounds it has answered for is kept in this object's memory, and its key lives no longer."""

    def __init__(self, spec: SumSpec, session: Session, public_key: bytes, streams: Streams) -> None:
        self.spec = spec
        self._session = session
        self._public_key = public_key
        self._streams = streams
        self._spent: set[int] = set()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(key_id={self._session.key_id.hex()}, rounds_answered={len(self._spent)})"

    def bundle(self) -> bytes:
        """What clients and servers are made from: specification, parameters, run, key id and public key."""
        return write_bundle(self._session, self.spec, self._public_key)

    def open(self, aggregate: bytes) -> NDArray[np.int64]:
        """The sum, (spec.length,) int64, exactly.

        Raises what `Session.read` and `read_sum` raise; TooFewClientsError; SpentRoundError; LeftoverError;
        ResidueError; NoiseError; RangeError. A round is spent as soon as its sum is decrypted, whatever comes out:
        a second answer for a changed aggregate would tell the asker about single clients or the key.
        """
        frame = self._session.read(aggregate, Kind.AGGREGATE)
        contributors, body = read_sum(frame, max_clients=self.spec.max_clients, residue_bytes=self._streams.n_bytes)
        if len(contributors) < self.spec.min_clients:
            raise TooFewClientsError(
                f"{frame} sums {len(contributors)} clients; fewer than {self.spec.min_clients} are not opened."
            )
        if frame.round_number in self._spent:
            raise SpentRoundError(f"{frame} is not opened: this decryptor has answered for that round.")
        if len(self._spent) >= ROUNDS_PER_KEY:
            raise SpentRoundError(f"This key has served {ROUNDS_PER_KEY} rounds: make a new decryptor.")
        residues = self._streams.zeros()
        self._streams.unpack(body, residues, what=str(frame))
        self._spent.add(frame.round_number)
        values = self._decrypt(residues, len(contributors), what=str(frame))
        bound = self.spec.sum_bound_of(len(contributors))
        if int(values.max()) > bound or int(values.min()) < -bound:
            raise RangeError(f"{frame} holds a sum beyond {bound}: some upload was out of range.")
        return values

    @abstractmethod
    def _decrypt(self, residues: NDArray[np.uint64], n_clients: int, *, what: str) -> NDArray[np.int64]:
        """The values (spec.length,) of summed residues; raises NoiseError or RangeError, naming `what`."""
