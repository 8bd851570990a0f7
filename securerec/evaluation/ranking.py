"""Hit rate and NDCG of one relevant item among candidates, with ties at their expected position.

A relevant item with `better` candidates strictly above it and `tied` others at its own score stands, when ties are
broken by a fair shuffle, at each of the positions better + 1 ... better + tied + 1 with the same probability. Every
metric here is the expectation over that shuffle, in closed form, so a scorer that says the same for every item scores
what chance gives.
"""

import numpy as np
from numpy.typing import NDArray


def require_finite(scores: NDArray[np.floating]) -> None:
    """Raise ValueError, naming how many, when any score is NaN or infinite."""
    bad = scores.size - int(np.count_nonzero(np.isfinite(scores)))
    if bad:
        raise ValueError(
            f"{bad} of {scores.size} scores are not finite; the model has overflowed or divided by zero:"
            " lower its learning rate, and score with logits"
        )


def better_and_tied(
    scores: NDArray[np.floating], present: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count, in each row, the candidates above the relevant item and those level with it.

    scores: (n, candidates), the relevant item in column 0. present: same shape, False where a cell holds no candidate
    (its score must be finite all the same); column 0 is always taken to be there.
    Returns (better, tied), each (n,) int64; `tied` leaves the relevant item itself out.
    Raises ValueError when a score is not finite or there is no column 0.
    """
    if scores.ndim != 2 or scores.shape[1] < 1:
        raise ValueError(f"scores must have the shape (users, candidates), not {scores.shape}")
    return better_and_tied_at(scores, np.zeros(len(scores), dtype=np.int64), present)


def better_and_tied_at(
    scores: NDArray[np.floating], relevant: NDArray[np.integer], present: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Like `better_and_tied`, with the relevant item of row i in column `relevant[i]`."""
    require_finite(scores)
    own = scores[np.arange(len(scores)), relevant][:, None]
    above, level = scores > own, scores == own
    level[np.arange(len(scores)), relevant] = False
    if present is not None:
        above &= present
        level &= present
    return np.count_nonzero(above, axis=1).astype(np.int64), np.count_nonzero(level, axis=1).astype(np.int64)


def hit_rate_per_user(better: NDArray[np.int64], tied: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Probability that the relevant item is among the first k: (n,), each in [0, 1]."""
    places = _checked_k(k) - better
    return np.clip(places, 0, tied + 1) / (tied + 1)


def ndcg_per_user(better: NDArray[np.int64], tied: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Expected NDCG@k with one relevant item, 1 / log2(1 + position) within the first k and 0 below: (n,)."""
    gains_before = np.concatenate(([0.0], np.cumsum(1.0 / np.log2(np.arange(2, _checked_k(k) + 2)))))
    first, last = np.minimum(better, k), np.minimum(better + tied + 1, k)
    return (gains_before[last] - gains_before[first]) / (tied + 1)


def hit_rate(better: NDArray[np.int64], tied: NDArray[np.int64], k: int) -> float:
    """Mean of `hit_rate_per_user`. Raises ValueError without users."""
    return _mean(hit_rate_per_user(better, tied, k))


def ndcg(better: NDArray[np.int64], tied: NDArray[np.int64], k: int) -> float:
    """Mean of `ndcg_per_user`. Raises ValueError without users."""
    return _mean(ndcg_per_user(better, tied, k))


def _checked_k(k: int) -> int:
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    return k


def _mean(values: NDArray[np.float64]) -> float:
    if len(values) == 0:
        raise ValueError("no user has a held-out item, so there is nothing to average")
    return float(np.mean(values))
