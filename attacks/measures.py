"""Measures of a guess against the truth, and their intervals: AUC, TPR at 1% FPR, F1; the bootstrap over clients."""

import numpy as np
from numpy.typing import NDArray
from scipy import special

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


def top_k(scores: NDArray[np.generic], right: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Chance that the right candidate is among the k best when ties are broken by lot.

    scores: (n, n_candidates); right: (n,), the number of each row's right one. Returns (n,) in 0 .. 1.
    """
    own = np.take_along_axis(scores, right[:, None], axis=1)
    above = np.count_nonzero(np.greater(scores, own), axis=1)
    level = np.count_nonzero(scores == own, axis=1)
    return np.clip((k - above) / level, 0.0, 1.0)


def proportion(hits: NDArray[np.generic]) -> Estimate:
    """Share of trials that hit, with its 95% interval of Clopper and Pearson (1934). hits: (n,) in 0 .. 1.

    Resampling would call a share of 0 certain; this does not. Parts of a hit, from ties, make it wider than need be.
    """
    n, k = len(hits), float(np.sum(hits))
    low = float(special.betaincinv(k, n - k + 1, 0.025)) if k > 0 else 0.0
    high = float(special.betaincinv(k + 1, n - k, 0.975)) if k < n else 1.0
    return Estimate(k / n, low, high)


def above(estimate: Estimate, value: float) -> Estimate:
    """The estimate less a figure that is known exactly, such as what chance gives."""
    return Estimate(estimate.mean - value, estimate.low - value, estimate.high - value)


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
