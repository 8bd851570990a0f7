"""Differencing across rounds: sums of nearly equal tables, with the target in some and without it in others.

The difference of the means with and without the target is the target's change plus how much everybody else's differs
from round to round, which is mostly the negatives that each of them draws anew. Which directions the others move in is
known from the sums that lack the target; `common_directions` does the rest.
"""

import numpy as np

from attacks.goals.differencing import DIFFERENCING, Overlap
from attacks.goals.items import ItemScores
from attacks.registry import register
from attacks.sums.common_directions import log_odds


@register(
    DIFFERENCING,
    name="differencing across rounds",
    kinds=("unprotected_upload", "noised_upload"),
    rounds="all",
    adversary="a curious server that has sums of consecutive rounds over one cohort, with and without one client",
    source="subtraction; the direction as in common spatial patterns (Koles, Lazar and Zhou 1990)",
    summary="in coordinates in which everybody else spreads evenly, the client's rows stand out along one axis",
)
def across_rounds(overlap: Overlap) -> ItemScores:
    """Log-odds (1, n_items) that the target has the item; the prediction is a log-odds above 0."""
    counts = overlap.popularity.astype(np.float64)
    prior = np.log((counts + 0.5) / (overlap.population - counts + 0.5))
    present = np.array([each.total for each in overlap.present])
    absent = np.array([each.total for each in overlap.absent])
    scores = log_odds(
        present.mean(axis=0) - absent.mean(axis=0),
        np.sum(np.swapaxes(absent, 1, 2) @ absent, axis=0),
        # A client trains on all its items in each round, so a row it has is in each sum with it.
        np.all(np.any(present != 0, axis=2), axis=0),
        overlap.present[-1].table.astype(np.float64),
        prior,
    )
    return ItemScores(scores.astype(np.float32)[None], scores[None] > 0)
