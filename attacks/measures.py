"""Measures of a guess against the truth, and their intervals: AUC, TPR at 1% FPR, F1; the bootstrap over clients."""

import numpy as np
from numpy.typing import NDArray

from attacks.findings import Estimate

CHANCE_AUC = 0.5
CHANCE_TPR = 0.01
RESAMPLES = 2000

_RESAMPLES_AT_ONCE = 100


def auc(scores: NDArray[np.generic], positives: NDArray[np.bool_]) -> float:
    """Probability that a positive scores above a negative, ties counting half. Both (n,); needs one of each."""
    others, own = np.sort(scores[~positives]), scores[positives]
    below = np.searchsorted(others, own, side="left") + np.searchsorted(others, own, side="right")
    return float(below.mean() / 2 / len(others))


def tpr_at_fpr(scores: NDArray[np.generic], positives: NDArray[np.bool_], fpr: float) -> float:
    """Share of positives found when a share `fpr` of the negatives is called; within ties, in proportion.

    This is the ROC curve read at `fpr`, straight lines between its points, so a constant score gives `fpr`.
    """
    others, own = np.sort(scores[~positives])[::-1], scores[positives]
    allowed = fpr * len(others)
    threshold = others[min(int(allowed), len(others) - 1)]
    above, level = np.count_nonzero(others > threshold), np.count_nonzero(others == threshold)
    share = min(1.0, (allowed - above) / level)
    return float(np.mean(own > threshold) + share * np.mean(own == threshold))


def f1(predicted: NDArray[np.bool_], positives: NDArray[np.bool_]) -> float:
    """Harmonic mean of precision and recall; 0 when nothing is found."""
    return float(
        2 * np.count_nonzero(predicted & positives) / (np.count_nonzero(predicted) + np.count_nonzero(positives))
    )


def estimates(values: NDArray[np.float64], rng: np.random.Generator) -> list[Estimate]:
    """Mean and 95% bootstrap interval of each column. values: (n, k), a row a client."""
    low, high = bootstrap_bounds(values, rng)
    return [Estimate(*each) for each in zip(values.mean(axis=0).tolist(), low.tolist(), high.tolist(), strict=True)]


def bootstrap_bounds(
    values: NDArray[np.float64], rng: np.random.Generator, *, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Percentile bootstrap of column means (Efron 1979). values: (n, k), a row a client. Returns low and high, each
    (k,).

    Clients are drawn together for all columns. With a single client nothing is known about others, and the bounds are
    -inf and inf.
    """
    n, k = values.shape
    if n < 2:
        return np.full(k, -np.inf), np.full(k, np.inf)
    means = [
        rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES_AT_ONCE) @ values / n
        for _ in range(RESAMPLES // _RESAMPLES_AT_ONCE)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high
