"""The sum attack: what remains of a sum's movement when what popularity explains of it is taken away.

The sum over a cohort moves each row mostly as its popularity says, which is no secret. Along the sum's top singular
axis, a regression on popularity (a cubic in its log-odds, and the share itself) estimates that part. Of n clients the
n - 1 others are expected to move as it says, so (n - 1) / n of it is taken away; the rest is added to popularity's
log-odds as in the rank-1 attack, the others counting as noise. A large cohort is its population, so little remains.
"""

import numpy as np
from numpy.typing import NDArray

from attacks.goals.items import ITEMS, ItemScores, Seen
from attacks.interactions.rank_one import UNTOUCHED, one_clients_weight, oriented, popularity_log_odds
from attacks.registry import register


@register(
    ITEMS,
    name="sum less popularity",
    kinds=("opened_sum",),
    adversary="the server of a secure sum: the opened sum of a cohort, the broadcast table, item popularity",
    source="the rank-1 form of the PFedRec update (Zhang et al., IJCAI 2023), summed",
    summary="rows that a sum moved more than their popularity explains are items of its cohort",
)
def sum_less_popularity(seen: Seen) -> ItemScores:
    """Log-odds (1, n_items) for each client of the cohort; the prediction is a log-odds above 0."""
    view = seen.view
    prior = popularity_log_odds(view)
    (block,) = view.blocks()
    found = oriented(block.astype(np.float64), view.table.astype(np.float64), prior)
    touched, along = found.touched[0], found.along[0]
    others = 1 - 1 / view.clients_per_matrix
    rest = np.where(touched, along - others * explained(along, prior, touched), 0.0)
    remaining = np.array([max(float(np.mean(rest[touched] ** 2)) - found.noise[0], 0.0) if touched.any() else 0.0])
    weight = one_clients_weight(remaining, found.noise, view.clients_per_matrix)
    unchanged = UNTOUCHED if not touched.all() else 0.0
    scores = prior + weight * rest - unchanged * ~touched
    return ItemScores(np.clip(scores, -3e38, 3e38).astype(np.float32)[None], (scores > 0)[None])


def explained(
    along: NDArray[np.float64], prior: NDArray[np.float64], touched: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(n_items,) least-squares fit, over touched rows, of `along` on a cubic in `prior` and on the odds' share."""
    share = 1 / (1 + np.exp(-prior))
    scaled = (prior - prior.mean()) / (prior.std() + 1e-30)
    explains = np.stack([np.ones_like(scaled), scaled, scaled**2, scaled**3, share], axis=1)
    fit, *_ = np.linalg.lstsq(explains[touched], along[touched], rcond=None)
    return np.asarray(explains @ fit)
