"""The decryptor of CKKS secure sums: holds the secret key, opens one sum a round, releases exact integers only.

The manifest proves that each survivor signed an upload for this broadcast. That the residues it is asked to decrypt are
the sum of those uploads it cannot see: a lying server can have a sum of its own making opened once a round, and a
crafted one can reveal the key. `ckks-committee` is for those who cannot accept that.
"""

import numpy as np
from numpy.typing import NDArray

from protocols.ckks.decryption import SecretKey, decode
from protocols.ckks.parameters import choose
from protocols.ckks.wire import read_public_key, sign_public_key, sum_streams
from protocols.errors import RangeError, SetupError
from protocols.identity import Identity
from protocols.roles.decryptor import Decryptor, Request
from protocols.roster import Roster
from protocols.spec import SumSpec


class CkksDecryptor(Decryptor[NDArray[np.uint64]]):
    def _prepare(self, key: SecretKey) -> None:
        """key: what `new_key` made for this setup; SetupError if it is another's."""
        if read_public_key(self.session) != key.public:
            raise SetupError("The setup's public key is not the one that this decryptor holds the secret for.")
        self._key = key
        self._streams = choose(self.spec).streams

    @classmethod
    def new_key(cls, spec: SumSpec, *, run_id: bytes, roster: Roster, identity: Identity) -> tuple[bytes, SecretKey]:
        """(the signed public key, the secret key). Raises SpecError where no parameter set carries the sum."""
        key = SecretKey(choose(spec))
        return sign_public_key(spec, key.public, run_id=run_id, roster=roster, identity=identity), key

    def _upload_bytes(self) -> int:
        return self._streams.n_bytes

    def _examine(self, request: Request) -> NDArray[np.uint64]:
        residues = self._streams.zeros()
        self._streams.unpack(request.material, residues, what=request.what)
        return residues

    def _open(self, request: Request, examined: NDArray[np.uint64]) -> bytes:
        """Raises NoiseError, RangeError: the round is spent all the same, since a second answer for a changed sum would
        tell the asker about single clients or the key.
        """
        n_clients = len(request.survivors)
        values = decode(self._key.parameters, self._key.decrypt(examined), n_clients, what=request.what)
        bound = self.spec.sum_bound_of(n_clients)
        if int(np.abs(values).max()) > bound:
            raise RangeError(f"{request.what} holds a sum beyond {bound}: some upload was out of range.")
        return sum_streams(self.spec).pack((values + self.spec.sum_bound).view(np.uint64)[None, :])
