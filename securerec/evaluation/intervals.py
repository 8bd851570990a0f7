"""How far a mean over users could be off because other users might have been measured."""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Interval(NamedTuple):
    """A mean and the bounds of its confidence interval."""

    mean: float
    low: float
    high: float


def mean_interval(values: NDArray[np.floating], *, level: float = 0.95) -> Interval:
    """Confidence interval for the mean of independent values in [0, 1], one a user.

    The adjusted normal interval of Agresti and Coull (The American Statistician 52, 1998): z^2 / 2 imagined users at
    0 and as many at 1 join the measured ones, which keeps the interval open when all users agree. For values that are
    all 0 or 1 this is their formula; for NDCG it is the normal interval with the same correction. It covers which
    users were sampled, not how the model was initialised: repeat the run with other seeds for that.
    Raises ValueError for no values, values outside [0, 1] and a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    if len(values) == 0:
        raise ValueError("no user has a held-out item, so there is nothing to average")
    if not (np.all(values >= 0) and np.all(values <= 1)):
        raise ValueError("values must lie in [0, 1]")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    centre, variance = adjusted_mean(values, z)
    half = z * variance**0.5
    return Interval(float(np.mean(values)), max(0.0, centre - half), min(1.0, centre + half))


def adjusted_mean(values: NDArray[np.floating], z: float) -> tuple[float, float]:
    """The centre and the variance of the mean that Agresti and Coull's interval at the normal quantile z uses."""
    n = len(values) + z * z
    centre = (float(np.sum(values)) + z * z / 2) / n
    variance = (float(np.sum(np.square(values))) + z * z / 2) / n - centre * centre
    return centre, max(variance, 0.0) / n
