"""The server of the committee's sums: adds ciphertexts, passes boxes on, opens with the members' answers.

The survivor set is fixed between the two messages to the members: it holds no client whose box is no good for a member
that is to answer. What a member answers for is settled before it has answered anything.
"""

from collections.abc import Mapping, MutableMapping

import numpy as np
from numpy.typing import NDArray

from protocols.accumulator import Accumulator
from protocols.broadcast import Broadcast
from protocols.codec import Kind
from protocols.committee.encryption import decrypt
from protocols.committee.expansion import common_polynomials
from protocols.committee.parameters import choose
from protocols.committee.sharing import combine, wrong_shares
from protocols.committee.wire import (
    PHASES,
    SALT_BYTES,
    box_slices,
    parameters_of,
    read_complaints,
    round_digest,
    upload_bytes,
)
from protocols.errors import NoiseError, RangeError
from protocols.identity import Address
from protocols.roles.phase import Phase
from protocols.roles.server import Server, ServerRound
from protocols.session import Session
from protocols.spec import SumSpec


class CommitteeServerRound(ServerRound):
    """spool: where uploads wait, by client, until the members have looked at their boxes; a dictionary in memory, to be
    replaced before the first upload by a mapping that writes to a disk where cohorts are large. Emptied after that.
    """

    phases = PHASES

    def __init__(self, session: Session, broadcast: Broadcast, cohort: frozenset[int]) -> None:
        super().__init__(session, broadcast, cohort)
        self.spool: MutableMapping[int, bytes | memoryview] = {}
        self._parameters = parameters_of(session)
        self._places = {party.number: place for place, party in enumerate(session.roster.decryptors)}
        self._slices = box_slices(self._parameters)
        self._ciphertext = slice(SALT_BYTES, SALT_BYTES + self._parameters.ciphertext.n_bytes)
        self._sum = Accumulator(self._parameters.ciphertext, self._parameters.total)
        self._complained: dict[int, frozenset[int]] = {}
        self._kept: frozenset[int] = frozenset()
        self._asked: frozenset[int] = frozenset()
        self._answers: dict[int, NDArray[np.uint64]] = {}

    def _bodies(self) -> dict[Address, bytes]:
        if self._phase.sends is Kind.REQUEST:
            body = self.manifest(self._kept).to_bytes()
            return {Address("decryptor", member): body for member in sorted(self._asked)}
        manifest = self.manifest().to_bytes()
        parts: dict[int, list[bytes | memoryview]] = {member: [manifest] for member in self._places}
        for client in sorted(self.uploads):
            upload = memoryview(self.spool[client])
            for member, place in self._places.items():
                parts[member] += [upload[:SALT_BYTES], upload[self._slices[place]]]
        return {Address("decryptor", member): b"".join(pieces) for member, pieces in parts.items()}

    def _body_bytes(self, sender: Address) -> int:
        if self._phase.answers is Kind.UPLOAD:
            return upload_bytes(self._parameters)
        if self._phase.answers is Kind.COMPLAINTS:
            return (len(self.uploads) + 7) // 8
        return self._parameters.share.n_bytes

    def _accept(self, sender: Address, body: memoryview) -> None:
        if self._phase.answers is Kind.UPLOAD:
            self._sum.add(body[self._ciphertext], what=f"The upload of {sender}")
            self.spool[sender.number] = body
        elif self._phase.answers is Kind.COMPLAINTS:
            what = f"The complaints of {sender}"
            self._complained[sender.number] = read_complaints(body, self.uploads, what=what)
        else:
            share = self._parameters.share.zeros()
            self._parameters.share.unpack(body, share, what=f"The opening of {sender}")
            self._answers[sender.number] = share

    def _close(self) -> Phase | None:
        following = self.phases[self.phases.index(self._phase) + 1 :]
        if self._phase.answers is Kind.COMPLAINTS:
            self._settle()
        elif self._phase.answers is Kind.OPENING:
            self._need_members(len(self._answers))
        return following[0] if following else None

    def _need_members(self, found: int) -> None:
        threshold = self._parameters.threshold
        if found < threshold:
            raise self.abort(f"{found} of {self._parameters.members} decryptors answered, and {threshold} are needed.")

    def _settle(self) -> None:
        """Fix who is in the sum and who opens it; leave other ciphertexts out of the sum again."""
        self._need_members(len(self._complained))
        everybody = frozenset(self.uploads)
        self._kept, self._asked = settle(
            everybody,
            self._complained,
            threshold=self._parameters.threshold,
            min_survivors=self.broadcast.min_survivors,
        )
        for member in sorted(self._complained.keys() - self._asked):
            n_bad = len(self._complained[member])
            self.complain(f"decryptor {member} is set aside: it finds the boxes of {n_bad} clients no good.")
        for client in sorted(everybody - self._kept):
            judges = [member for member in sorted(self._asked) if client in self._complained[member]]
            self.complain(f"client {client} is left out: its box is no good for decryptor {judges[0]}.")
        self._need(len(self._kept), "clients have boxes that are good for enough decryptors")
        if self._kept != everybody:
            self._sum = Accumulator(self._parameters.ciphertext, self._parameters.total)
            for client in self._kept:
                self._sum.add(memoryview(self.spool[client])[self._ciphertext], what=f"The upload of client {client}")
        self.spool.clear()

    def _survivors(self) -> frozenset[int]:
        return self._kept

    def _values(self) -> NDArray[np.int64]:
        parameters = self._parameters
        shares = {self._places[member]: share for member, share in self._answers.items()}
        wrong = wrong_shares(shares, threshold=parameters.threshold, primes=parameters.primes)
        if wrong is None:
            raise self.abort(
                f"the answers of {len(shares)} decryptors do not belong to one sum, and no single answer explains it: "
                "several are wrong, or some client shared its key wrongly."
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


def settle(
    uploads: frozenset[int],
    complained: Mapping[int, frozenset[int]],
    *,
    threshold: int,
    min_survivors: int,
) -> tuple[frozenset[int], frozenset[int]]:
    """(the clients in the sum, the members asked to open it), from each present member's complaints.

    A client is left out if any member that will be asked complains of it. Where that leaves too few clients, members
    are set aside, those with most complaints first, as long as `threshold` remain.
    """
    asked = set(complained)
    while True:
        kept = uploads.difference(*(complained[member] for member in asked))
        worst = max(asked, key=lambda member: (len(complained[member]), -member))
        if len(kept) >= min_survivors or len(asked) <= threshold or not complained[worst]:
            return kept, frozenset(asked)
        asked.remove(worst)
