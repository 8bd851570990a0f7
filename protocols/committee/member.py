"""A member of the committee: opens the boxes that clients closed for it, adds shares, answers for one set a round.

A round's boxes come in batches. The answer to each says whose are no good, and has a blinded projection of each other
share, by which the server finds clients that shared badly; it gives away nothing else. The last message names the
survivors; the answer is the sum of their shares, given once, after the round is on record.

Between the first and the last, shares are in this object's memory only, as they came in their boxes: 32 bytes a client
for members with seeds, a packed share for the others, 13 kB at degree 2048 and 50 bits. That grows with the cohort, as
a member must still be able to leave anybody out. A member that starts anew in between is absent for the round. Shares
are dropped with the answer. Python cannot overwrite them everywhere; a member that must be safe against a later look
into its memory has to end its process.
"""

import hmac
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from protocols.broadcast import Broadcast, nonce_of
from protocols.codec import Frame, Kind
from protocols.committee.boxes import box_key, extracted, open_box
from protocols.committee.expansion import share_from_seed
from protocols.committee.projection import Projection
from protocols.committee.wire import Batch, entries, parameters_of, round_digest, write_complaints
from protocols.errors import (
    DuplicateError,
    FrameError,
    IdentityError,
    LeftoverError,
    PhaseError,
    SpentRoundError,
    TooFewClientsError,
    TooManyClientsError,
    WrongBroadcastError,
)
from protocols.identity import Address
from protocols.roles.decryptor import Decryptor, Request


@dataclass
class _Round:
    """What a member holds of a round. count: clients whose boxes were announced; came: those whose boxes were shown,
    the last of them `last`; bound: see `wire.round_digest`; answers: by the number of clients before a batch, a digest
    of the batch and the answer to it.

    shares: by client, as they were sent, the good ones; total: their sum.
    """

    broadcast: Broadcast
    secret: bytes
    count: int
    bound: bytes
    projection: Projection = field(repr=False)
    total: NDArray[np.uint64] = field(repr=False)
    shares: dict[int, bytes] = field(default_factory=dict, repr=False)
    answers: dict[int, tuple[bytes, bytes]] = field(default_factory=dict, repr=False)
    came: int = 0
    last: int = -1

    def goes_on_with(self, frame: Frame, batch: Batch) -> bool:
        """Whether this batch says the same of the whole as the first one did."""
        same = (self.broadcast.digest, self.broadcast.data, self.secret, self.count)
        return same == (frame.header.broadcast, batch.broadcast, batch.secret, batch.count)


class Member(Decryptor[_Round]):
    """One of the committee. Boxes authenticate clients, their broadcast and their upload: signatures are not looked at.

    It works on one round at a time: boxes of another round replace what it holds.
    """

    checks_signatures = False

    def _prepare(self, key: None) -> None:
        """Agree with every client on the roster, ahead of any round: an X25519 exchange each.

        Raises SpecError where no parameter set carries the sum.
        """
        self._parameters = parameters_of(self.session)
        self._agreed: dict[int, bytes] = {}
        for party in self.session.roster.clients:
            # With a weak key nothing is agreed: such a client's boxes are no good, and no others are the worse for it.
            with suppress(IdentityError):
                self._agreed[party.number] = extracted(self.session.identity.shared_key(party))
        numbers = [party.number for party in self.session.roster.decryptors]
        self._place = numbers.index(self.session.me.number)
        self._scratch = self._parameters.share.zeros()[:, None]
        self._round: _Round | None = None

    def answer(self, message: bytes) -> bytes:
        """The answer to a batch of a round's boxes, or to the request to open it.

        Raises what `Decryptor.answer` raises; for boxes what `Broadcast.read` raises, WrongLengthError, FrameError,
        WrongBroadcastError, TooFewClientsError, TooManyClientsError, UnknownSenderError, DuplicateError, PhaseError (a
        batch that is not the next one), SpentRoundError; for a request PhaseError where boxes are missing or erased,
        or a survivor's is no good.
        """
        frame = self.session.read(message, kinds=(Kind.BOXES, Kind.REQUEST), sender_role="server")
        if frame.header.kind is Kind.REQUEST:
            return super().answer(message)
        self.session.authenticate(frame)
        number, broadcast = frame.header.round_number, frame.header.broadcast
        if number in self._answered:
            raise SpentRoundError(f"{frame} comes too late: {self.session.me} has answered for that round.")
        # As in the base class, an answer begins with the signature of what it answers.
        body = frame.signature + self._judge(frame)
        return self.session.write(Kind.COMPLAINTS, self.session.server, body, round_number=number, broadcast=broadcast)

    def _judge(self, frame: Frame) -> bytes:
        """Complaints and projections: of a batch that was judged before, the same again."""
        batch, material = Batch.read(frame.body, what=str(frame))
        found = list(entries(material, box_bytes=self._parameters.box_bytes(self._place), what=str(frame)))
        known = self._round
        if known is None or known.broadcast.round_number != frame.header.round_number:
            known = self._begin(frame, batch)
        elif not known.goes_on_with(frame, batch):
            raise SpentRoundError(f"{frame} belong to others than {self.session.me} was shown for that round.")
        judged = known.answers.get(batch.earlier)
        if judged is not None:
            if not hmac.compare_digest(judged[0], frame.body_digest):
                raise SpentRoundError(f"{frame} are others than {self.session.me} was shown in that place.")
            return judged[1]
        if batch.earlier != known.came:
            raise PhaseError(f"{frame} begin at place {batch.earlier}; {self.session.me} expects place {known.came}.")
        if batch.earlier + len(found) > batch.count:
            raise FrameError(f"{frame} are more than the {batch.count} that were announced.")
        clients = [client for client, _, _ in found]
        self._check_order(frame, clients, known.last)
        answer = self._open_boxes(known, found)
        known.answers[batch.earlier] = frame.body_digest, answer
        known.came += len(found)
        known.last = clients[-1]
        # Only now, so that a first batch that is refused does not replace another round.
        self._round = known
        return answer

    def _begin(self, frame: Frame, batch: Batch) -> _Round:
        header, parameters = frame.header, self._parameters
        opened = Broadcast.read(
            self.session, batch.broadcast, floor=self.min_survivors, round_number=header.round_number
        )
        if opened.digest != header.broadcast:
            raise WrongBroadcastError(f"{frame} show another broadcast than the one they name.")
        if not hmac.compare_digest(nonce_of(batch.secret), opened.nonce):
            raise WrongBroadcastError(f"{frame} show another secret than the one that their broadcast commits to.")
        if batch.count < opened.min_survivors:
            raise TooFewClientsError(
                f"{frame} are of {batch.count} clients; their broadcast promised {opened.min_survivors}."
            )
        if batch.count > self.spec.max_clients:
            raise TooManyClientsError(
                f"{frame} are of {batch.count} clients; the sum was sized for {self.spec.max_clients}."
            )
        bound = round_digest(parameters, header.broadcast)
        projection = Projection(parameters, bound, batch.secret)
        return _Round(opened, batch.secret, batch.count, bound, projection, parameters.share.zeros())

    def _check_order(self, frame: Frame, clients: list[int], last: int) -> None:
        for client in clients:
            if client == last:
                raise DuplicateError(f"{frame} hold client {client} twice.")
            if client < last:
                raise FrameError(f"{frame} are not in rising order of their clients.")
            self.session.identity_of(Address("client", client), frame)
            last = client

    def _open_boxes(self, known: _Round, found: list[tuple[int, bytes, memoryview]]) -> bytes:
        """Take the good shares in; returns complaints and projections."""
        parameters, n_clients = self._parameters, len(found)
        if self._scratch.shape[1] < n_clients:
            self._scratch = np.zeros((len(parameters.primes), n_clients, parameters.share.count), np.uint64)
        residues = self._scratch[:, :n_clients]
        shares = [self._open_box(known.bound, client, salt, box) for client, salt, box in found]
        bad = []
        for place, (share, good) in enumerate(zip(shares, self._read_shares(shares, residues), strict=True)):
            client = found[place][0]
            if share is None or not good:
                bad.append(client)
                residues[:, place].fill(0)
            else:
                known.shares[client] = share
        parameters.share.add_rows(known.total, residues)
        projections = parameters.projections(n_clients).pack(known.projection.of(residues))
        return write_complaints([client for client, _, _ in found], bad) + projections

    def _open_box(self, bound: bytes, client: int, salt: bytes, box: memoryview) -> bytes | None:
        """The share in a client's box, or None where the box is no good."""
        agreed = self._agreed.get(client)
        if agreed is None:
            return None
        key = box_key(agreed, round_digest=bound, client=client, member=self.session.me.number, salt=salt)
        return open_box(key, box)

    def _read_shares(self, shares: Sequence[bytes | None], into: NDArray[np.uint64]) -> Sequence[bool]:
        """Shares (primes, n, count) in the layout `Parameters.share`; False for those with residues beyond their
        primes, and where a box was no good.
        """
        parameters = self._parameters
        if self._place >= parameters.threshold - 1:
            none = bytes(parameters.share.n_bytes)
            good = parameters.share.unpack_all([none if share is None else share for share in shares], into)
            return [bool(each) for each in good]
        for place, seed in enumerate(shares):
            if seed is not None:
                into[:, place] = share_from_seed(seed, parameters.primes, parameters.share.count)
        return [seed is not None for seed in shares]

    def _examine(self, request: Request) -> _Round:
        held, shown = self._round, request.manifest.broadcast
        if len(request.material):
            raise LeftoverError(f"{request.what} is followed by {len(request.material)} bytes of no meaning.")
        if held is None or held.broadcast.digest != shown.digest:
            raise PhaseError(f"{request.what} finds no shares: its boxes were not shown, or are erased.")
        if held.came < held.count:
            raise PhaseError(f"{request.what} comes too early: {held.count - held.came} boxes were not shown.")
        for client in sorted(request.survivors):
            if client not in held.shares:
                raise PhaseError(f"{request.what} names client {client}, from whom {self.session.me} has no good box.")
        return held

    def _open(self, request: Request, examined: _Round) -> bytes:
        parameters, total = self._parameters, examined.total
        if request.survivors != examined.shares.keys():
            total.fill(0)
            row = self._scratch[:, :1]
            for client in request.survivors:
                self._read_shares([examined.shares[client]], row)
                parameters.share.add(total, row[:, 0])
        # The sum of what blinded the projections is nobody's business.
        answer = parameters.opening.pack(total[:, : parameters.degree])
        total.fill(0)
        self._scratch.fill(0)
        examined.shares.clear()
        self._round = None
        return answer
