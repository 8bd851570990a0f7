"""Which of a user's own items bear on the score of one item."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from securerec.data.interactions import Interactions
from securerec.evaluation.scoring import TrainedDevices
from securerec.models.head import fit_tastes
from securerec.report.explanation import is_linear, own_rows

Doubles = NDArray[np.float64]

LEFT_OUT = (
    "left out: by how much the score would fall had the device fitted its head to its list without this item; only the "
    "head is fitted again: score function, own view and table stay, though they were trained with the item too"
)
GRADIENT = (
    "gradient: by how much the score would rise if the score function took one more step of local training on this "
    "item alone, at the learning rate it was trained with (a first-order figure: TracIn, Pruthi et al. 2020, at the "
    "kept model alone)"
)


def left_out(devices: TrainedDevices, items: NDArray[np.int32], user: int, item: int, *, recency: float) -> Doubles:
    """(n,): for each place of the user's training list, the score of `item` less what it is when the head is fitted
    again to the list without that place; score function and table as they are.

    Both fits are made here, so that they differ in the list alone. Recency counts places, so items older than the one
    left out become newer by one.
    """
    places = range(len(items))
    lists = [items.tolist(), *([*items[:place].tolist(), *items[place + 1 :].tolist()] for place in places)]
    n_items = len(devices.heads.head.base)
    weights = np.repeat(devices.functions.weights[[user]], len(lists), axis=0) if is_linear(devices) else None
    tastes = fit_tastes(
        devices.heads.head, Interactions.from_lists(lists, n_items), recency=recency, weights=weights,
        table=None if weights is None else devices.table,
    ).astype(np.float64)  # fmt: skip
    return (tastes[0] - tastes[1:]) @ devices.heads.head.directions[item].astype(np.float64)


def by_gradient(
    devices: TrainedDevices, items: NDArray[np.int32], user: int, item: int, own_share: float, *, score_lr: float
) -> Doubles:
    """(n,): for each place of the list, what one step on that positive alone would add to the score of `item`:
    score_lr (1 - sigmoid(score of the place's item)) (its row) . (the row of `item`).

    Rows as the device sees them at this share of its own view. The bias is left aside, since it moves all items alike.
    Only for score functions that are linear in the row.
    """
    view = ((1 - own_share) * devices.table + own_share * own_rows(devices, user)).astype(np.float64)
    scores = devices.scores(np.array([user]), np.array([own_share], np.float32))[0].astype(np.float64)
    return score_lr * expit(-scores[items]) * (view[items] @ view[item])
