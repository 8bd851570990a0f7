"""Intervals of measures over all clients at once, such as an AUC between clients: each resample is a set of weights."""

import numpy as np
from numpy.typing import NDArray

from attacks.findings import Estimate

_RESAMPLES = 1000
_AT_ONCE = 100


def resamples(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(1001, n) how often each client counts: once in the first row, as drawn with replacement in the others."""
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES)
    return np.concatenate([np.ones((1, n)), drawn])


def interval(values: NDArray[np.float64]) -> Estimate:
    """The figure over all clients, values[0], with the middle 95% of the resamples, values[1:]. values: (1001,), NaN
    where a resample has no such figure, because a class is missing in it."""
    low, high = np.nanquantile(values[1:], [0.025, 0.975])
    return Estimate(float(values[0]), float(low), float(high))


def weighted_auc(
    scores: NDArray[np.generic], positives: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(b,) AUC with each client counted as often as `weights` says, ties counting half; NaN where one side is empty.

    scores, positives: (n,); weights: (b, n).
    """
    order = np.argsort(scores, kind="stable")
    ranked, positive = scores[order], positives[order]
    first, last = np.searchsorted(ranked, ranked, side="left"), np.searchsorted(ranked, ranked, side="right")
    areas = []
    for start in range(0, len(weights), _AT_ONCE):
        weight = weights[start : start + _AT_ONCE, order]
        others = np.pad(np.cumsum(weight * ~positive, axis=1), ((0, 0), (1, 0)))
        own = weight * positive
        wins = np.sum(own * (others[:, first] + others[:, last]), axis=1) / 2
        pairs = own.sum(axis=1) * others[:, -1]
        areas.append(np.divide(wins, pairs, out=np.full(len(weight), np.nan), where=pairs > 0))
    return np.concatenate(areas)
