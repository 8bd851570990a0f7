"""Each device is given a place of its own in the sum, so that one sum is many single uploads side by side.

Zhao, Sharma, Elkordy, Ezzeldin, Avestimehr, Bagchi, "LOKI: Large-scale Data Reconstruction Attack against Federated
Learning through Model Manipulation", S&P 2024, give each client's gradients other parameters to live in. Blocks of
items do not do it here: every row that a device trains on moves along its one vector w, dead rows like live ones. But a
place can be a direction of the embedding. As long as all devices' vectors are still the public initial one, w0, a
device whose rows are all the same multiple of u takes steps in w0 and u alone, and so do its rows. Give each target a u
of its own, across w0 and all the others, and everybody else rows of zeros: along u the sum is that one target's changes
of every item, dim - 1 targets a round (dim where w0 is 0). Its sign is the label: up w for an item it has.

Once devices have trained on honest tables their vectors differ, and what they add along each other's directions mixes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from attacks.goals.items import ItemScores
from attacks.lying_server.stage import Situation, Table, TableAttack

LENGTH = np.float32(1.0)
"""Of the rows. Short enough for the score function not to overshoot in its first step."""


def _directions(situation: Situation) -> NDArray[np.float64]:
    """(dim, targets at most), orthonormal columns across the initial vector."""
    start = situation.initial_weights.astype(np.float64)
    dim = len(start)
    basis = np.linalg.qr(np.column_stack([start, np.eye(dim)]))[0] if start.any() else np.eye(dim)
    return np.asarray(basis[:, 1:] if start.any() else basis)


def _tables(situation: Situation, targets: Sequence[int]) -> Mapping[int, Table]:
    directions = LENGTH * _directions(situation).astype(np.float32)
    tables = {int(client): np.zeros_like(situation.table) for client in situation.clients}
    for place, target in enumerate(targets):
        tables[target] = np.tile(directions[:, place], (len(situation.table), 1))
    return tables


def _read(situation: Situation, targets: Sequence[int], total: NDArray[np.float64]) -> ItemScores:
    along = (total @ _directions(situation)[:, : len(targets)]).T
    # Each device's values were rounded to the grid, which adds up along a direction like noise of that size.
    along[np.abs(along) < situation.step * np.sqrt(len(situation.clients))] = 0
    # A device trains on several negatives for each item it has, so its items are the fewer ones.
    up, down = np.count_nonzero(along > 0, axis=1), np.count_nonzero(along < 0, axis=1)
    signed = np.where(up > down, -1, 1)[:, None] * along
    # Rows that it did not train on are not its items, and rank below the negatives it drew.
    scores = np.where(signed == 0, signed.min(axis=1, keepdims=True) - 1, signed)
    return ItemScores(scores.astype(np.float32), signed > 0)


def _targets(situation: Situation) -> int:
    return min(_directions(situation).shape[1], len(situation.clients)) if situation.untouched else 0


BLOCKS = TableAttack(
    name="blocks",
    adversary="a server that sends devices different tables in the first round; it sees the opened sum alone",
    source="LOKI, Zhao et al., S&P 2024, carried over to PFedRec",
    summary="each target's rows all point in a direction of its own, along which the sum shows that target alone",
    targets=_targets,
    tables=_tables,
    read=_read,
)
