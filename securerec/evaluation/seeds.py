"""The mean of a metric over several seeds, and how far it could be off: other users, other seeds, or both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from securerec.evaluation.intervals import Interval, adjusted_mean
from securerec.evaluation.protocols import Ranks

Covers = Literal["users", "seeds", "users and seeds"]


@dataclass(frozen=True, slots=True)
class SeededInterval:
    """A mean over seeds and users, the bounds of its confidence interval, and what the interval covers.

    covers: which could have been others, the sampled users, the seeds, or both at once.
    """

    mean: float
    low: float
    high: float
    covers: Covers
    n_seeds: int
    n_users: int


def seeded_interval(
    per_user_by_seed: NDArray[np.floating], *, covers: Covers = "users and seeds", level: float = 0.95
) -> SeededInterval:
    """Confidence interval for the mean of (n_seeds, n_users) values in [0, 1], the same users under every seed.

    Users and seeds are crossed: y_su = mean + user_u + seed_s + rest_su, all independent. With S seeds, U users and
    the mean squares MS_u, MS_s and MS_e of the two-way analysis of variance without replication (Searle, Casella,
    McCulloch, "Variance Components", 1992, chapter 4), MS_u / SU is the variance of the mean over users for these
    seeds, MS_s / SU that over seeds for these users, and (MS_u + MS_s - MS_e) / SU that over both, where neither may
    take away from the other: the larger of it and MS_u / SU counts.

    - "users": `mean_interval` of each user's mean over the seeds.
    - "seeds": Student's interval of the S means, S - 1 degrees of freedom.
    - "users and seeds": the user part as in `mean_interval`, the seeds' part (MS_s - MS_e) / SU added to its variance,
      and Student's quantile at Satterthwaite's degrees of freedom (Biometrics Bulletin 2, 1946).

    A bootstrap over both would count `rest` about twice (Owen, "The pigeonhole bootstrap", Annals of Applied
    Statistics 1, 2007). Raises ValueError for values outside [0, 1], no users, fewer than 2 seeds unless `covers` is
    "users", and a level outside (0, 1).
    """
    values = np.asarray(per_user_by_seed, np.float64)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"values must have the shape (seeds, users), not {values.shape}")
    if covers not in ("users", "seeds", "users and seeds"):
        raise ValueError(f'covers must be "users", "seeds" or "users and seeds", not {covers!r}')
    if not (np.all(values >= 0) and np.all(values <= 1)):
        raise ValueError("values must lie in [0, 1]")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    n_seeds, n_users = values.shape
    if n_seeds < 2 and covers != "users":
        raise ValueError(f"{n_seeds} seed cannot tell how far seeds differ: run at least 2, or cover users only")
    mean, upper = float(values.mean()), 0.5 + level / 2
    user_means, seed_means = values.mean(axis=0), values.mean(axis=1)
    if covers == "seeds":
        centre = mean
        half = float(stats.t.ppf(upper, n_seeds - 1) * seed_means.std(ddof=1) / n_seeds**0.5)
    else:
        quantile = float(stats.norm.ppf(upper))
        centre, variance = adjusted_mean(user_means, quantile)
        if covers == "users and seeds":
            extra, freedom = _seed_part(values, user_means, seed_means)
            variance += extra
            quantile = max(quantile, float(stats.t.ppf(upper, freedom))) if extra else quantile
        half = quantile * variance**0.5
    return SeededInterval(mean, max(0.0, centre - half), min(1.0, centre + half), covers, n_seeds, n_users)


def interval_of(values: NDArray[np.float64], *, low: float = 0.0, high: float = 1.0) -> Interval:
    """95% interval of the mean of (n_seeds, n_users) values in [low, high], over users and seeds; over users alone
    where there is one seed. Raises ValueError as `seeded_interval`.
    """
    width = high - low
    found = seeded_interval((values - low) / width, covers="users and seeds" if len(values) > 1 else "users")
    return Interval(*(low + width * bound for bound in (found.mean, found.low, found.high)))


def per_user_by_seed(ranks: Sequence[Ranks], ks: Sequence[int]) -> dict[str, NDArray[np.float64]]:
    """One `Ranks` for each seed -> {"hr@10": (n_seeds, n_users), ...}. Raises ValueError when their users differ."""
    if not ranks:
        raise ValueError("no seed was run, so there is nothing to average")
    if any(not np.array_equal(one.users, ranks[0].users) for one in ranks):
        raise ValueError("the seeds evaluated different users: compare seeds on the same split")
    by_seed = [one.per_user(ks) for one in ranks]
    return {name: np.stack([values[name] for values in by_seed]) for name in by_seed[0]}


def _seed_part(
    values: NDArray[np.float64], user_means: NDArray[np.float64], seed_means: NDArray[np.float64]
) -> tuple[float, float]:
    """(MS_s - MS_e) / SU, at least 0, and the degrees of freedom of MS_u + MS_s - MS_e."""
    n_seeds, n_users = values.shape
    rest = values - user_means - seed_means[:, None] + values.mean()
    freedoms = np.array([max(n_users - 1, 1), n_seeds - 1, max(n_users - 1, 1) * (n_seeds - 1)])
    deviations = (n_seeds * np.sum((user_means - values.mean()) ** 2), n_users * seed_means.var() * n_seeds)
    squares = np.array([*deviations, np.sum(rest**2)]) / freedoms
    extra = max(0.0, float(squares[1] - squares[2])) / values.size
    total = squares[0] + extra * values.size
    return extra, float(total**2 / np.sum(squares**2 / freedoms)) if extra else float(freedoms[0])
