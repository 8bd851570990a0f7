"""The sum in the clear: promises nothing against the server. For experiments, and as what every other protocol must
equal. Roster and refusals are those of all protocols.

A value travels as value + upload_bound, at the width that this takes. A sum of n uploads is the sum of those.
"""

import numpy as np
from numpy.typing import NDArray

from protocols.accumulator import Accumulator
from protocols.codec import Kind
from protocols.identity import Address
from protocols.packing import Streams
from protocols.roles.client import Client, ClientRound
from protocols.roles.phase import Phase
from protocols.roles.server import Server, ServerRound
from protocols.spec import SumSpec

PHASES = (Phase("upload", "client", Kind.BROADCAST, Kind.VECTOR),)


def upload_streams(spec: SumSpec) -> Streams:
    """The layout of an upload."""
    return Streams((2 * spec.upload_bound + 1,), spec.length)


class PlainClientRound(ClientRound):
    phases = PHASES

    def _answer(self, kind: Kind, body: memoryview) -> bytes:
        shifted = (self.values + self.spec.upload_bound).view(np.uint64)
        return upload_streams(self.spec).pack(shifted[None, :])


class PlainClient(Client):
    round_class = PlainClientRound


class PlainServerRound(ServerRound):
    phases = PHASES
    distinct_uploads = False

    def _prepare(self) -> None:
        self._upload = upload_streams(self.spec)
        largest = 2 * self.spec.upload_bound
        self._sum = Accumulator(self._upload, Streams((self.spec.max_clients * largest + 1,), self.spec.length))

    def _body_bytes(self, sender: Address) -> int:
        return self._upload.n_bytes

    def _accept(self, sender: Address, body: memoryview) -> None:
        self._sum.add(body, what=f"The upload of {sender}")

    def _close(self) -> Phase | None:
        return None

    def _values(self) -> NDArray[np.int64]:
        return self._sum.total[0].view(np.int64) - len(self.uploaded) * self.spec.upload_bound


class PlainServer(Server):
    round_class = PlainServerRound

    @classmethod
    def parameters_for(cls, spec: SumSpec, *, members: int, threshold: int) -> str:
        return f"{upload_streams(spec).widths[0]} bits"
