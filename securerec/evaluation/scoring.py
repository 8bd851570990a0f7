"""Scoring with a trained model: by a device's own view of the items, by the server's table, or by what each device
chooses.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securerec.data.splits import Split
from securerec.errors import RunError
from securerec.evaluation.protocols import Scorer, full_ranks
from securerec.models.head import Heads
from securerec.models.scorers import Learner, ScoreFunctions
from securerec.training.updates import Updates

OWN_SHARES = (0.0, 0.5, 1.0)
"""How much of its own view a device may mix into the server's table."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainedDevices:
    """What the devices hold after a round, and the server's table.

    learner: how they score. table: (n_rows, dim) the server's shared matrix after the round; broadcast: (n_rows, dim)
    what the round began with; functions, heads: every device's. Device u's own view is `broadcast` with `changes.of(u)`
    added to its rows.
    """

    learner: Learner
    table: NDArray[np.float32]
    broadcast: NDArray[np.float32]
    functions: ScoreFunctions
    heads: Heads
    changes: Updates

    def scores(self, users: NDArray[np.int64], own_share: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (m, n_items): `(1 - share)` of those by the server's table and `share` of those by the own view, a
        share for each user (m,).

        Raises RunError when one is not finite.
        """
        mixed = np.zeros((len(users), len(self.heads.head.base)), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for shares, logits in ((1 - own_share, self._server_logits), (own_share, self._own_logits)):
                some = np.flatnonzero(shares)
                if some.size:
                    mixed[some] += shares[some, None] * logits(users[some])
            mixed += self.heads.logits(users)
        if not np.isfinite(mixed).all():
            raise RunError("the model's scores left the finite numbers: train again with lower learning rates")
        return mixed

    def _server_logits(self, users: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.learner.logits(self.table, self.functions.of(users))

    def _own_logits(self, users: NDArray[np.int64]) -> NDArray[np.float32]:
        changes = [self.changes.of(int(user)) for user in users]
        return self.learner.own_logits(self.broadcast, self.functions.of(users), changes)

    def scorer(self, own_share: float | NDArray[np.float32]) -> Scorer:
        """A scorer with one share for everybody, or `own_share` (n_users,) each its own."""
        shares = np.broadcast_to(np.asarray(own_share, np.float32), self.functions.biases.shape)
        return lambda users: self.scores(users, shares[users])


def chosen_shares(devices: TrainedDevices, split: Split) -> NDArray[np.float32]:
    """Each device's own choice among OWN_SHARES, (n_users,) float32, by where it ranks its own validation item.

    A device takes the share with the least log2(1 + rank) + share: its own view has to halve the rank to be
    preferred, since one item is little evidence. Devices without a validation item use the server's table. Nothing
    leaves the device.
    """
    shares = np.zeros(len(devices.functions.biases), np.float32)
    costs = []
    for share in OWN_SHARES:
        ranks = full_ranks(devices.scorer(share), split, held_out="validation")
        costs.append(np.log2(1 + ranks.better + ranks.tied / 2) + share)
    shares[ranks.users] = np.asarray(OWN_SHARES, np.float32)[np.argmin(costs, axis=0)]
    return shares
