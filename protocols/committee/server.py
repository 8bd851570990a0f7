"""The server of the committee's sums: adds ciphertexts, passes boxes on, opens with the members' answers.

Boxes go out in batches, and each comes back with complaints and blinded projections; from them it follows whose shares
are no good. Then the survivor set is fixed: it holds no client whose share is no good for a member that is to answer.
What a member answers for is settled before it has answered anything.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from protocols.accumulator import Accumulator
from protocols.codec import Kind
from protocols.committee.encryption import decrypt
from protocols.committee.expansion import common_polynomials
from protocols.committee.parameters import choose
from protocols.committee.settling import Judgement, settle
from protocols.committee.sharing import combine, wrong_shares
from protocols.committee.wire import (
    BOXES,
    OPENING,
    PHASES,
    SALT_BYTES,
    Batch,
    batch_clients,
    box_slices,
    complaint_bytes,
    parameters_of,
    read_complaints,
    round_digest,
    upload_bytes,
)
from protocols.errors import NoiseError, RangeError
from protocols.identity import Address
from protocols.roles.phase import Phase
from protocols.roles.server import Server, ServerRound
from protocols.spec import SumSpec


class CommitteeServerRound(ServerRound):
    """Uploads wait in the spool, whole, until the members have looked at all boxes."""

    phases = PHASES

    def _prepare(self) -> None:
        self._parameters = parameters_of(self.session)
        self._places = {party.number: place for place, party in enumerate(self.session.roster.decryptors)}
        self._slices = box_slices(self._parameters)
        self._ciphertext = slice(SALT_BYTES, SALT_BYTES + self._parameters.ciphertext.n_bytes)
        self._sum = Accumulator(self._parameters.ciphertext, self._parameters.total)
        self._clients: list[int] = []
        self._batch: list[int] = []
        self._judged = 0
        self._judges: dict[int, Judgement] = {}
        self._kept: frozenset[int] = frozenset()
        self._asked: frozenset[int] = frozenset()
        self._answers: dict[int, NDArray[np.uint64]] = {}

    # The phases, one after the other.

    def _close(self) -> Phase | None:
        if self._phase.answers is Kind.UPLOAD:
            self._clients = sorted(self.uploads)
            n_clients = len(self._clients)
            self._judges = {member: Judgement.empty(self._parameters, n_clients) for member in self._places}
            return self._next_batch()
        if self._phase.answers is Kind.COMPLAINTS:
            self._judged += len(self._batch)
            self._judges = {member: judge for member, judge in self._judges.items() if judge.came == self._judged}
            self._need_members(len(self._judges))
            if self._judged < len(self._clients):
                return self._next_batch()
            self._settle()
            return OPENING
        self._need_members(len(self._answers))
        return None

    def _next_batch(self) -> Phase:
        self._batch = self._clients[self._judged : self._judged + batch_clients(self._parameters)]
        return BOXES

    def _need_members(self, found: int) -> None:
        threshold = self._parameters.threshold
        if found < threshold:
            raise self.abort(f"{found} of {self._parameters.members} decryptors answered, and {threshold} are needed.")

    def _settle(self) -> None:
        """Fix who is in the sum and who opens it; take other ciphertexts out of the sum again."""
        found = settle(
            self._clients,
            self._judges,
            self._places,
            parameters=self._parameters,
            min_survivors=self.broadcast.min_survivors,
        )
        self._kept, self._asked = found.kept, found.asked
        for sentence in found.complaints:
            self.complain(sentence)
        self._need(len(self._kept), "clients have shares that are good for enough decryptors")
        for client in sorted(set(self._clients) - self._kept):
            ciphertext = memoryview(self.spool[client])[self._ciphertext]
            self._sum.remove(ciphertext, what=f"The upload of client {client}")
        self.spool.clear()
        self._judges = {}

    # What is sent.

    def _bodies(self) -> Mapping[Address, Callable[[], bytes]]:
        if self._phase is OPENING:
            request = self.manifest(self._kept).to_bytes()
            return {Address("decryptor", member): lambda: request for member in sorted(self._asked)}
        batch = Batch(self.broadcast.data, self.secret, len(self._clients), self._judged)
        start = self._slices[0].start
        # Read once for all members, and without the ciphertexts: a batch is all that lies in memory.
        waiting = []
        for client in self._batch:
            upload = memoryview(self.spool[client])
            waiting.append((client, bytes(upload[:SALT_BYTES]), bytes(upload[start:])))

        def body(place: int) -> bytes:
            box = slice(self._slices[place].start - start, self._slices[place].stop - start)
            return batch.write([(client, salt, memoryview(boxes)[box]) for client, salt, boxes in waiting])

        return {Address("decryptor", member): partial(body, self._places[member]) for member in sorted(self._judges)}

    # What comes back.

    def _body_bytes(self, sender: Address) -> int:
        if self._phase.answers is Kind.UPLOAD:
            return upload_bytes(self._parameters)
        if self._phase.answers is Kind.COMPLAINTS:
            return complaint_bytes(len(self._batch)) + self._parameters.projections(len(self._batch)).n_bytes
        return self._parameters.opening.n_bytes

    def _accept(self, sender: Address, body: memoryview) -> None:
        if self._phase.answers is Kind.UPLOAD:
            self._sum.add(body[self._ciphertext], what=f"The upload of {sender}")
            self.spool[sender.number] = body
        elif self._phase.answers is Kind.COMPLAINTS:
            what, n_clients = f"The complaints of {sender}", len(self._batch)
            bad = read_complaints(body[: complaint_bytes(n_clients)], self._batch, what=what)
            layout = self._parameters.projections(n_clients)
            projections = layout.zeros()
            layout.unpack(body[complaint_bytes(n_clients) :], projections, what=what)
            self._judges[sender.number].take(n_clients, bad, projections)
        else:
            share = self._parameters.opening.zeros()
            self._parameters.opening.unpack(body, share, what=f"The opening of {sender}")
            self._answers[sender.number] = share

    # The end.

    def _survivors(self) -> frozenset[int]:
        return self._kept

    def _values(self) -> NDArray[np.int64]:
        parameters = self._parameters
        shares = {self._places[member]: share for member, share in self._answers.items()}
        wrong = wrong_shares(shares, threshold=parameters.threshold, primes=parameters.primes)
        if wrong is None:
            raise self.abort(
                f"the answers of {len(shares)} decryptors do not belong to one sum, and no few of them explain it: "
                "too many are wrong."
            )
        for member, place in self._places.items():
            if place in wrong:
                self.complain(f"decryptor {member} answered with a sum that does not fit the others': it is left out.")
        right = {place: share for place, share in shares.items() if place not in wrong}
        key = combine(right, threshold=parameters.threshold, primes=parameters.primes)
        bound = round_digest(parameters, self.broadcast.digest)
        a = common_polynomials(bound, parameters.primes, parameters.n_ciphertexts, parameters.degree)
        try:
            return decrypt(parameters, a, key, self._sum.total, len(self._kept))
        except (NoiseError, RangeError) as error:
            raise self.abort(f"its sum cannot be read: {error}.") from None


class CommitteeServer(Server):
    round_class = CommitteeServerRound

    @classmethod
    def parameters_for(cls, spec: SumSpec, *, members: int, threshold: int) -> str:
        """Name of the parameter set, such as "gauss-2048-50/2x18-5". Raises SpecError."""
        return choose(spec, members=members, threshold=threshold).name
