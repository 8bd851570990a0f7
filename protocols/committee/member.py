"""A member of the committee: opens the boxes that clients closed for it, adds shares, answers for one set a round.

A round takes two messages. The first brings the boxes; the answer says whose are no good, and gives away nothing else.
The second names the survivors; the answer is the sum of their shares, given once, after the round is on record.
Between the two, shares are in this object's memory only: a member that starts anew in between is absent for the round.
Shares are dropped with the answer. Python cannot overwrite them everywhere; a member that must be safe against a later
look into its memory has to end its process.
"""

import hmac
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from protocols.codec import Frame, Kind
from protocols.committee.boxes import box_key, open_box
from protocols.committee.expansion import share_from_seed
from protocols.committee.wire import entries, parameters_of, round_digest, write_complaints
from protocols.errors import LeftoverError, PhaseError, ResidueError, SpentRoundError
from protocols.identity import Address
from protocols.manifest import Manifest
from protocols.roles.decryptor import Decryptor, Request


@dataclass(frozen=True)
class _Opened:
    """What a round's boxes held. shares: by client, as they were sent, the good ones; total: their sum."""

    request_digest: bytes
    manifest: Manifest
    complaints: bytes
    shares: dict[int, bytes] = field(repr=False)
    total: NDArray[np.uint64] = field(repr=False)


class Member(Decryptor[_Opened]):
    """One of the committee. Boxes authenticate clients, their broadcast and their upload: signatures are not looked at.

    It works on one round at a time: boxes of another round replace what it holds.
    """

    checks_signatures = False

    def _prepare(self, key: None) -> None:
        """Raises SpecError where no parameter set carries the sum."""
        self._parameters = parameters_of(self.session)
        numbers = [party.number for party in self.session.roster.decryptors]
        self._place = numbers.index(self.session.me.number)
        self._scratch = self._parameters.share.zeros()
        self._opened: _Opened | None = None

    def answer(self, message: bytes) -> bytes:
        """The answer to the boxes of a round, or to the request to open it.

        Raises what `Decryptor.answer` raises; for boxes WrongLengthError and SpentRoundError; for a request PhaseError
        where the round's boxes were not shown or are erased, or name a survivor whose box is no good.
        """
        frame = self.session.read(message, kinds=(Kind.BOXES, Kind.REQUEST), sender_role="server")
        if frame.header.kind is Kind.REQUEST:
            return super().answer(message)
        self.session.check_signature(frame)
        number, broadcast = frame.header.round_number, frame.header.broadcast
        if number in self._answered:
            raise SpentRoundError(f"{frame} comes too late: {self.session.me} has answered for that round.")
        known = self._opened
        if known is None or known.manifest.broadcast.round_number != number:
            known = self._opened = self._open_boxes(frame)
        elif not hmac.compare_digest(known.request_digest, frame.body_digest):
            raise SpentRoundError(f"{frame} are others than {self.session.me} was shown for that round.")
        # As in the base class, an answer begins with the signature of what it answers.
        body = frame.signature + known.complaints
        return self.session.write(Kind.COMPLAINTS, self.session.server, body, round_number=number, broadcast=broadcast)

    def _open_boxes(self, frame: Frame) -> _Opened:
        parameters, session, header = self._parameters, self.session, frame.header
        manifest, material = Manifest.read(
            session,
            frame.body,
            what=str(frame),
            round_number=header.round_number,
            broadcast=header.broadcast,
            floor=self.min_survivors,
        )
        clients = sorted(manifest.survivors)
        bound = round_digest(parameters, header.broadcast)
        box_bytes = parameters.box_bytes(self._place)
        shares: dict[int, bytes] = {}
        total = parameters.share.zeros()
        found = entries(material, count=len(clients), box_bytes=box_bytes, what=str(frame))
        for client, (salt, box) in zip(clients, found, strict=True):
            peer = session.roster.parties[Address("client", client)]
            shared = session.identity.shared_key(peer)
            key = box_key(shared, round_digest=bound, client=client, member=session.me.number, salt=salt)
            share = open_box(key, box)
            if share is not None and self._add(total, share):
                shares[client] = share
        complaints = write_complaints(clients, set(clients) - set(shares))
        return _Opened(frame.body_digest, manifest, complaints, shares, total)

    def _add(self, total: NDArray[np.uint64], share: bytes) -> bool:
        """Add a share to the total; False, and nothing added, where it holds residues beyond their primes."""
        parameters = self._parameters
        if self._place < parameters.threshold - 1:
            residues = share_from_seed(share, parameters.primes, parameters.degree)
        else:
            residues = self._scratch
            try:
                parameters.share.unpack(share, residues, what="A share")
            except (ResidueError, LeftoverError):
                return False
        parameters.share.add(total, residues)
        return True

    def _examine(self, request: Request) -> _Opened:
        opened, shown = self._opened, request.manifest.broadcast
        if len(request.material):
            raise LeftoverError(f"{request.what} is followed by {len(request.material)} bytes of no meaning.")
        if opened is None or opened.manifest.broadcast.digest != shown.digest:
            raise PhaseError(f"{request.what} finds no shares: its boxes were not shown, or are erased.")
        for client in sorted(request.survivors):
            if client not in opened.shares:
                raise PhaseError(f"{request.what} names client {client}, from whom {self.session.me} has no good box.")
        return opened

    def _open(self, request: Request, examined: _Opened) -> bytes:
        total = examined.total
        if request.survivors != examined.shares.keys():
            total.fill(0)
            for client in request.survivors:
                self._add(total, examined.shares[client])
        answer = self._parameters.share.pack(total)
        total.fill(0)
        self._scratch.fill(0)
        examined.shares.clear()
        self._opened = None
        return answer
