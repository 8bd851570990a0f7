"""The server's role, whatever the protocol: add residues as they arrive, in memory that does not grow with the cohort.

The server knows moduli and lengths, no key. It builds no cryptographic object from a client's bytes.
"""

from dataclasses import dataclass

from protocols.codec import Frame, Kind, Session, check_numbers, read_sum, write_sum
from protocols.errors import DuplicateError, TooManyClientsError, WrongLengthError
from protocols.packing import Streams
from protocols.spec import SumSpec


@dataclass(frozen=True, slots=True)
class Layout:
    """How uploads and their sums are laid out; the same streams where sums are taken modulo the upload's moduli."""

    upload: Streams
    total: Streams


class Server:
    """Adds one round's uploads. Several servers may each take a part of the cohort and be merged."""

    def __init__(self, spec: SumSpec, session: Session, layout: Layout, *, round_number: int) -> None:
        check_numbers(round_number=round_number)
        self.spec = spec
        self.round_number = round_number
        self._session = session
        self._layout = layout
        self._total = layout.total.zeros()
        self._scratch = layout.total.zeros()
        self._contributors: set[int] = set()

    @property
    def contributors(self) -> frozenset[int]:
        """Ids of the clients whose uploads are in the sum."""
        return frozenset(self._contributors)

    def add(self, upload: bytes) -> int:
        """Add one upload; returns its client's id. A refused upload changes nothing.

        Raises what `Session.read` raises, DuplicateError, TooManyClientsError, WrongLengthError, ResidueError,
        LeftoverError.
        """
        frame = self._session.read(upload, Kind.UPLOAD, round_number=self.round_number)
        client = frame.client_id
        if client in self._contributors:
            raise DuplicateError(f"{frame} arrived twice: only the first one counts.")
        self._check_room(frame, 1)
        streams = self._layout.upload
        if len(frame.body) != streams.n_bytes:
            raise WrongLengthError(f"{frame} has a body of {len(frame.body)} bytes; {streams.n_bytes} were expected.")
        streams.unpack(frame.body, self._scratch, what=str(frame))
        self._layout.total.add(self._total, self._scratch)
        self._contributors.add(client)
        return client

    def partial(self) -> bytes:
        """The sum so far, for another server of the same round to merge."""
        return self._sum(Kind.PARTIAL)

    def merge(self, partial: bytes) -> None:
        """Add another server's partial sum. A refused one changes nothing.

        Raises what `add` raises, in particular DuplicateError where a client is in both sums.
        """
        frame = self._session.read(partial, Kind.PARTIAL, round_number=self.round_number)
        streams = self._layout.total
        ids, residues = read_sum(frame, max_clients=self.spec.max_clients, residue_bytes=streams.n_bytes)
        both = self._contributors & ids
        if both:
            raise DuplicateError(f"{frame} cannot be merged: client {min(both)} is in both sums.")
        self._check_room(frame, len(ids))
        streams.unpack(residues, self._scratch, what=str(frame))
        streams.add(self._total, self._scratch)
        self._contributors |= ids

    def aggregate(self) -> bytes:
        """The finished sum, for the decryptor."""
        return self._sum(Kind.AGGREGATE)

    def _sum(self, kind: Kind) -> bytes:
        body = write_sum(self._contributors, self._layout.total.pack(self._total))
        return self._session.frame(kind, body, round_number=self.round_number)

    def _check_room(self, frame: Frame, more: int) -> None:
        n_clients = len(self._contributors) + more
        if n_clients > self.spec.max_clients:
            raise TooManyClientsError(
                f"{frame} would make {n_clients} contributors; the sum was sized for {self.spec.max_clients}."
            )
