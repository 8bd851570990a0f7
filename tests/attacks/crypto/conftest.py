"""What the crypto attacks are pointed at. Only `CkksTarget` knows how the protocol's roles are called."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols import Address, LocalParties, ProtocolError, SumSpec, conduct, enrol
from protocols.ckks.client import CkksClient, CkksClientRound
from protocols.ckks.encryption import encryptor_of
from protocols.ckks.parameters import choose
from protocols.ckks.wire import public_key_streams
from protocols.codec import Kind, read_frame
from protocols.ring import Ring
from protocols.setup import Setup


class CraftingRound(CkksClientRound):
    """An enrolled client that answers in its own name, with a body of its own making."""

    crafted = b""

    def _answer(self, kind: Kind, body: memoryview) -> bytes:
        return self.crafted


class CraftingClient(CkksClient):
    round_class = CraftingRound


class CkksTarget:
    """A run of `ckks`, taken apart into bodies, sums and opened integers. One enrolled client is malicious."""

    MALICIOUS = 11

    def __init__(self, spec: SumSpec) -> None:
        self.parameters = choose(spec)
        self._run = enrol("ckks", spec, run_id=b"audit", client_ids=range(self.MALICIOUS + 1))
        self._server = self._run.server()
        identity = self._run.client_identities[self.MALICIOUS]
        self._crafter = CraftingClient(self._run.setup, identity, self._run.enrolment.public, min_survivors=1)
        self._parties = LocalParties(self._run)
        self.public_key = Setup.from_bytes(self._run.setup).public_keys[: public_key_streams(self.parameters).n_bytes]
        self.rounds = 0

    def body(self, values: NDArray[np.int64]) -> bytes:
        """The body of an honest upload."""
        return encryptor_of(self.parameters.spec, self.public_key).encrypt(values)

    def run(self, honest: list[NDArray[np.int64]], crafted: bytes | None = None) -> tuple[bytes, NDArray[np.int64]]:
        """(summed residues, opened integers) of a round of honest uploads and one with a crafted body."""
        number, self.rounds = self.rounds, self.rounds + 1
        cohort = [*range(len(honest)), *([self.MALICIOUS] if crafted else [])]
        self._parties.values = dict(enumerate(honest))
        requests: list[bytes] = []

        def deliver(to: Address, message: bytes) -> bytes | None:
            if to.role == "decryptor":
                requests.append(message)
            if to != self._crafter.session.me:
                return self._parties(to, message)
            joined = self._crafter.join(message)
            joined.provide(np.zeros(self.parameters.spec.length, np.int64))
            joined.crafted = crafted
            return joined.answer(message)

        floor = self.parameters.spec.min_clients
        round_ = self._server.open_round(number, context=bytes(32), min_survivors=floor, cohort=cohort)
        try:
            opened = conduct(round_, deliver)
        except ProtocolError as aborted:
            # Where the decryptor refused, its own words.
            raise next(iter(self._parties.refusals.values()), aborted) from None
        # A request ends with the sum that the decryptor is asked to open.
        return bytes(read_frame(requests[-1]).body)[-self.parameters.streams.n_bytes :], opened.values

    def residues(self, body: bytes) -> NDArray[np.uint64]:
        """A body, unpacked."""
        into = self.parameters.streams.zeros()
        self.parameters.streams.unpack(body, into, what="It")
        return into

    def decrypt(self, body: bytes, key: NDArray[np.int8]) -> NDArray[np.object_]:
        """c0 + c1 s, noise and all, by the definition: (n_coefficients,) integers modulo the first prime, centred."""
        p = self.parameters
        q, used = p.data_primes[0], p.n_coefficients
        residues = self.residues(body)
        ring = Ring.of(p.degree, q)
        secret = (key.astype(np.int64) % q).astype(np.uint64)
        ring.forward(secret)
        plain = residues[0, :used].astype(object)
        for first in range(0, used, p.degree):
            c1 = residues[0, used + first :][: p.degree].astype(object)
            product = (c1 * secret.astype(object) % q).astype(np.uint64)
            ring.inverse(product)
            last = min(first + p.degree, used)
            plain[first:last] += product[: last - first].astype(object)
        return np.asarray((plain + q // 2) % q - q // 2)


@pytest.fixture(scope="session")
def make_target() -> Callable[[SumSpec], CkksTarget]:
    return CkksTarget
