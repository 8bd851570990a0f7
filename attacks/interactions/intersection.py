"""The intersection attack: what a client touches in every round is what it has.

Its items are trained on in every round, negatives are drawn anew: another row stays among those touched with
probability q in each round, so after R rounds about (n_items - p) q^R of them are left beside the p items. Values are
not looked at. Any transport that names rows gives this away, a sparse secure sum too.
"""

import numpy as np

from attacks.goals.items import ITEMS, ItemScores, Seen
from attacks.interactions.rank_one import UNTOUCHED, popularity_log_odds
from attacks.interactions.touched import items_behind, touch_probability, touched_rows
from attacks.registry import register


@register(
    ITEMS,
    name="touched-set intersection",
    kinds=("unprotected_upload",),
    rounds="all",
    adversary="a curious server that sees over several rounds which rows each client sends, but none of their values",
    source="negatives drawn anew in each round (Zhang et al., IJCAI 2023, section 4); intersection as against mixes "
    "(Berthold, Pfitzmann, Standtke 2000)",
    summary="a client's items are touched in every round, its negatives only now and then",
)
def intersection(seen: Seen) -> ItemScores:
    """Log-odds from popularity and from having been touched in each round so far.

    The prediction is what was touched in all of them; where `negatives` is public, as many of those, the most popular
    first, as are left when negatives that were drawn each time are discounted. Of a client whose every upload touches
    all rows nothing is seen: popularity is the score.
    """
    view = seen.view
    prior = popularity_log_odds(view)
    survives = np.ones((view.n_matrices, view.n_items), dtype=np.bool_)
    chance = np.ones(view.n_matrices)
    own = []
    for each in seen.views:
        touched = touched_rows(each)
        survives &= touched
        counts = touched.sum(axis=1).astype(np.float64)
        if seen.public.training is None:
            chance *= counts / view.n_items
        else:
            own.append(items_behind(counts, view.n_items, seen.public.training.negatives))
    if own and seen.public.training is not None:
        mean = np.mean(own, axis=0)
        chance = touch_probability(mean, view.n_items, seen.public.training.negatives) ** len(own)
        left = np.rint(survives.sum(axis=1) - (view.n_items - mean) * chance)
    else:
        left = survives.sum(axis=1).astype(np.float64)

    seen_something = ~survives.all(axis=1, keepdims=True)
    gain = -np.log(np.maximum(chance, 1e-30))[:, None]
    scores = prior + np.where(seen_something, np.where(survives, gain, -UNTOUCHED), 0.0)
    rank = np.argsort(np.argsort(-np.where(survives, prior, -np.inf), axis=1, kind="stable"), axis=1)
    predicted = np.where(seen_something, survives & (rank < np.maximum(left, 1)[:, None]), prior > 0)
    return ItemScores(scores.astype(np.float32), predicted)
