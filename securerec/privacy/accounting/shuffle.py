"""What shuffling adds to local reports: nobody who sees the shuffled reports knows which of n is whose."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

_REACH = 12
"""Deviations of the number of clones that are summed; what is left out is added to delta."""


def shuffled_epsilon(local_epsilon: float, local_delta: float, reports: int, *, delta: float) -> tuple[float, float]:
    """(epsilon, what of delta it takes), any report for any other, of n shuffled reports that are (local_epsilon,
    local_delta)-DP each, against whoever sees them in random order.

    Feldman, McMillan, Talwar 2021, "Hiding Among the Clones", Theorem 3.2: with C ~ Bin(n - 1, e^-local_epsilon)
    clones, A ~ Bin(C, 1/2) and D ~ Bern(e^local_epsilon / (1 + e^local_epsilon)), the shuffled reports of neighbours
    are no easier to tell apart than (A + D, C - A + 1 - D) from (A + 1 - D, C - A + D), whatever the randomisers are
    and also when each depends on the reports before it. That pair's delta is summed exactly here, so no condition on n
    is needed as it is for their closed form. local_delta > 0 adds
    (e^epsilon + 1) (1 + e^-local_epsilon / 2) n local_delta (their Theorem 3.8). Never more than the local figure,
    which holds without any shuffling.
    """
    if local_epsilon > 30:  # no clones among any number of reports there are
        return local_epsilon, local_delta
    clones = Clones(local_epsilon, reports)

    def total(epsilon: float) -> float:
        slack = (math.exp(epsilon) + 1) * (1 + math.exp(-local_epsilon) / 2) * reports * local_delta
        return clones.delta(epsilon) + slack

    low, high = 0.0, local_epsilon
    if total(high) > delta:
        return local_epsilon, local_delta
    while high - low > 1e-6 * high + 1e-12:
        middle = (low + high) / 2
        low, high = (low, middle) if total(middle) <= delta else (middle, high)
    return high, delta


class Clones:
    """The pair of laws above, for one local_epsilon and number of reports."""

    def __init__(self, local_epsilon: float, reports: int) -> None:
        self.local_epsilon = local_epsilon
        chance, n = math.exp(-local_epsilon), reports - 1
        deviations = _REACH * (math.sqrt(n * chance * (1 - chance)) + 3)
        low, high = max(0, math.floor(n * chance - deviations)), min(n, math.ceil(n * chance + deviations))
        self._clones: NDArray[np.int64] = np.arange(low, high + 1)
        self._weights = stats.binom.pmf(self._clones, n, chance)
        self._outside = float(stats.binom.cdf(low - 1, n, chance) + stats.binom.sf(high, n, chance))

    def delta(self, epsilon: float) -> float:
        """The least delta at this epsilon, from above.

        Given C = c, the likelihood ratio grows with a, so the best test is a threshold on a; both directions are alike
        (exchange the two counts).
        """
        if epsilon >= self.local_epsilon:
            return self._outside
        keep = 1 / (1 + math.exp(-self.local_epsilon))  # P[D = 1]
        grown = math.exp(epsilon)
        ratio = (grown * keep - (1 - keep)) / (keep - grown * (1 - keep))  # that P[a - 1] / P[a] must exceed
        edge = np.floor((self._clones + 1) * (ratio / (1 + ratio)))
        gap = np.zeros(self._clones.size)
        after = _at_least(edge - 1, self._clones)
        for threshold in (edge, edge + 1, edge + 2):  # one of them is the best, whatever floats did to the edge
            above, after = after, _at_least(threshold, self._clones)
            first, second = keep * above + (1 - keep) * after, (1 - keep) * above + keep * after
            gap = np.maximum(gap, first - grown * second)
        return float(self._weights @ gap) + self._outside


def _at_least(threshold: NDArray[np.float64], tosses: NDArray[np.int64]) -> NDArray[np.float64]:
    """P[Bin(tosses, 1/2) >= threshold]."""
    inner = np.clip(threshold, 1, np.maximum(tosses, 1))
    some = special.betainc(inner, tosses - inner + 1, 0.5)
    return np.where(threshold <= 0, 1.0, np.where(threshold > tosses, 0.0, some))
