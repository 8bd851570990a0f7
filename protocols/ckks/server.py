"""The server of CKKS secure sums: adds residues as they arrive, asks the decryptor for the sum. No key, no SEAL."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from protocols.accumulator import Accumulator
from protocols.ckks.parameters import choose
from protocols.ckks.wire import PHASES, sum_streams
from protocols.errors import RangeError
from protocols.identity import Address
from protocols.roles.phase import Phase
from protocols.roles.server import Server, ServerRound
from protocols.spec import SumSpec


class CkksServerRound(ServerRound):
    phases = PHASES

    def _prepare(self) -> None:
        streams = choose(self.spec).streams
        self._upload_bytes = streams.n_bytes
        self._sum = Accumulator(streams, streams)
        self._opened: NDArray[np.int64] | None = None

    def _bodies(self) -> Mapping[Address, Callable[[], bytes]]:
        decryptor = self.session.roster.decryptors[0].address
        return {decryptor: lambda: self.manifest().to_bytes() + self._sum.pack()}

    def _body_bytes(self, sender: Address) -> int:
        return self._upload_bytes if sender.role == "client" else sum_streams(self.spec).n_bytes

    def _accept(self, sender: Address, body: memoryview) -> None:
        if sender.role == "client":
            self._sum.add(body, what=f"The upload of {sender}")
            return
        streams = sum_streams(self.spec)
        shifted = streams.zeros()
        streams.unpack(body, shifted, what=f"The opening of {sender}")
        values = shifted[0].view(np.int64) - self.spec.sum_bound
        bound = self.spec.sum_bound_of(len(self.uploads))
        if int(np.abs(values).max()) > bound:
            raise RangeError(f"The opening of {sender} holds a sum beyond {bound}, which these clients cannot reach.")
        self._opened = values

    def _close(self) -> Phase | None:
        if self._phase is PHASES[0]:
            return PHASES[1]
        if self._opened is None:
            raise self.abort("the decryptor did not open the sum.")
        return None

    def _values(self) -> NDArray[np.int64]:
        assert self._opened is not None
        return self._opened


class CkksServer(Server):
    round_class = CkksServerRound

    @classmethod
    def parameters_for(cls, spec: SumSpec, *, members: int, threshold: int) -> str:
        return choose(spec).name
