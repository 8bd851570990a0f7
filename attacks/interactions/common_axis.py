"""Items from what clients' axes have in common, where noise hides each client's own.

An upload's own rank-1 sign attack says nothing once noise hides its axis. But clients start alike and train on one
table, so their axes have much in common, and the mean upload, in which noise averages out, shows that. Positives are
commoner where items are popular, so the mean upload's rows, weighted by popularity, add up to an axis and its sign.
Where a client's own axis is hidden, its movement along that common one is read instead.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from attacks.case import Public
from attacks.goals.items import ITEMS, ItemScores, Seen
from attacks.interactions.rank_one import popularity_log_odds, rank_one
from attacks.registry import register
from attacks.views import UploadView


@register(
    ITEMS,
    name="common axis",
    kinds=("noised_upload",),
    adversary="whoever opens all noised uploads of a round; knows the broadcast table and item popularity",
    source="this project: the mean upload shows the axis that private score functions share",
    summary="where noise hides a client's own axis, its rows are read along the one that all clients have in common",
)
def common_axis(seen: Seen) -> ItemScores:
    """Log-odds (n_clients, n_items) that the client has the item; the prediction is a log-odds above 0."""
    scores = log_odds(seen.view)
    return ItemScores(scores.astype(np.float32), scores > 0)


def log_odds(view: UploadView) -> NDArray[np.float64]:
    """(n_clients, n_items) that each client has each item, from all the uploads of a round: by its own axis where that
    is visible, by the common one where not."""
    found = rank_one(Seen((view,), Public())).scores.astype(np.float64)
    usual = popularity_log_odds(view)
    hidden = np.abs(found - usual).max(axis=1) < 1e-5
    if hidden.any():
        found[hidden] = usual + along_common_axis(view)[hidden]
    return found


def along_common_axis(view: UploadView) -> NDArray[np.float64]:
    """(n_clients, n_items) log-likelihood ratio that a row moved as positives do, not as rows do by themselves.

    Movement along the axis is taken as Gaussian, of one variance; what a positive adds is the slope of the mean
    movement by popularity. The axis is where that slope is largest, so noise alone gives some: the slope is shrunk by
    the square that noise would have (James and Stein 1961), to none where it is not larger.
    """
    mean = np.zeros(view.table.shape)
    for block in view.blocks():
        mean += block.sum(axis=0, dtype=np.float64)
    leaning = np.asarray(expit(popularity_log_odds(view)), dtype=np.float64)
    leaning -= leaning.mean()
    axis = leaning @ mean
    axis /= np.linalg.norm(axis) + 1e-30
    moved = np.concatenate([block @ axis.astype(np.float32) for block in view.blocks()]).astype(np.float64)
    spread, noise = leaning @ leaning + 1e-30, moved.var() + 1e-30
    step = leaning @ moved.mean(axis=0) / spread
    chance = view.dim * noise / (len(moved) * spread)
    return np.asarray(step * max(0.0, 1 - chance / (step**2 + 1e-30)) / noise * moved)
