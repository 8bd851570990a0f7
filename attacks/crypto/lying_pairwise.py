"""A server of pairwise masks that tells each client of other survivors, and makes the best of what they answer."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from attacks.crypto.parties import TABLE
from protocols import Enrolled
from protocols.pairwise.server import PairwiseServer, PairwiseServerRound
from protocols.pairwise.wire import write_bits


class LyingRound(PairwiseServerRound):
    """After `tell` each client is told, and its answers are read, as if those survived that it was told of."""

    def tell(self, survivors: Mapping[int, frozenset[int]]) -> None:
        """survivors: by client, whom it is told of. Call it after the uploads."""
        ids = self._ids.tolist()
        self._told = np.array([np.isin(ids, list(survivors[client])) for client in ids])

    def _left_near(self, i: int) -> NDArray[np.bool_]:
        """As it was told, and read with that in mind."""
        near: NDArray[np.bool_] = self._told[i][self._places[i]]
        return near

    def _survivors_for(self, i: int) -> bytes:
        return write_bits(self._told[i]) + self._masked.delivered(i)[self._left_near(i)].tobytes()

    def _confirmed_for(self, i: int) -> bytes:
        # Only confirmations of the same set are of use to this one.
        same = np.all(self._told == self._told[i], axis=1)
        left = self._left_near(i)
        spoke = left & (self._confirmed & same)[self._places[i]]
        return write_bits(spoke[left]) + self._tags.delivered(i)[spoke].tobytes()


class _LyingServer(PairwiseServer):
    round_class = LyingRound


def lying_round(run: Enrolled) -> LyingRound:
    """Round 1 over everybody, by the server of this run, with its keys."""
    server = _LyingServer(run.setup, run.server_identity, run.enrolment.public)
    opened = server.open_round(1, context=TABLE, min_survivors=2)
    assert isinstance(opened, LyingRound)
    return opened
