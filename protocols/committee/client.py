"""The client of the committee's sums: one answer, and one key that is drawn for it and dropped with it."""

import os

from protocols.codec import Kind
from protocols.committee.boxes import box_key, close_box, extracted
from protocols.committee.encryption import encrypt
from protocols.committee.expansion import common_polynomials
from protocols.committee.projection import with_blind
from protocols.committee.sharing import split
from protocols.committee.wire import PHASES, SALT_BYTES, parameters_of, round_digest
from protocols.roles.client import Client, ClientRound


class CommitteeClientRound(ClientRound):
    """All of a client's secrets live in `_answer`: a retry must send the bytes it returned, not call it again."""

    phases = PHASES

    def _answer(self, kind: Kind, body: memoryview) -> bytes:
        session = self.session
        parameters = parameters_of(session)
        primes = parameters.primes
        bound = round_digest(parameters, self.broadcast.digest)
        a = common_polynomials(bound, primes, parameters.n_ciphertexts, parameters.degree)
        ciphertext, key = encrypt(parameters, a, self.values)
        shared = with_blind(parameters, key)
        seeds, shares = split(shared, members=parameters.members, threshold=parameters.threshold, primes=primes)
        key.fill(0)
        shared.fill(0)
        salt = os.urandom(SALT_BYTES)
        parts = [salt, ciphertext]
        packed = (parameters.share.pack(share) for share in shares)
        for member, share in zip(session.roster.decryptors, (*seeds, *packed), strict=True):
            agreed = extracted(session.identity.shared_key(member))
            bound_key = box_key(agreed, round_digest=bound, client=session.me.number, member=member.number, salt=salt)
            parts.append(close_box(bound_key, share))
        return b"".join(parts)


class CommitteeClient(Client):
    round_class = CommitteeClientRound
