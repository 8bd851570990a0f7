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
from securerec.models.pfedrec import ScoreFunctions
from securerec.training.updates import RowUpdates

OWN_SHARES = (0.0, 0.5, 1.0)
"""How much of its own view a device may mix into the server's table."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainedDevices:
    """What the devices hold after a round, and the server's table.

    table: (n_items, dim) the server's after the round; broadcast: (n_items, dim) what the round began with;
    functions, heads: every device's. Device u's own view is `broadcast` with `changes.of(u)` added to its rows.
    """

    table: NDArray[np.float32]
    broadcast: NDArray[np.float32]
    functions: ScoreFunctions
    heads: Heads
    changes: RowUpdates

    def scores(self, users: NDArray[np.int64], own_share: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (m, n_items) under `(1 - share) * server's table + share * own view`, a share for each user (m,).

        Raises RunError when one is not finite.
        """
        weights = self.functions.weights[users]
        with np.errstate(over="ignore", invalid="ignore"):
            mixed = (1 - own_share)[:, None] * (weights @ self.table.T)
            mixed += own_share[:, None] * (weights @ self.broadcast.T)
            for place, user in enumerate(users):
                if own_share[place]:
                    rows, change = self.changes.of(int(user))
                    mixed[place, rows] += own_share[place] * (change @ weights[place])
            mixed += self.functions.biases[users][:, None]
            mixed += self.heads.logits(users)
        if not np.isfinite(mixed).all():
            raise RunError("the model's scores left the finite numbers: train again with lower learning rates")
        return mixed

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
