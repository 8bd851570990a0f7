"""Recommenders that stand beside every table: what everybody watches, and a centralised factorisation."""

import numpy as np
from numpy.typing import NDArray

from securerec.data.interactions import Interactions
from securerec.evaluation.protocols import Scorer

_SYSTEMS_AT_ONCE = 1024


def popularity_scorer(train: Interactions) -> Scorer:
    """Score each item, for everybody, by the number of users who have it in `train`."""
    return _same_for_all(train.popularity().astype(np.float32))


def damped_popularity_scorer(train: Interactions) -> Scorer:
    """Score each item, for everybody, by the sum of 1 / sqrt(n_u) over its users u, n_u their number of items.

    What a secure sum of lists of norm 1 gives before noise: users with long lists weigh less than in
    `popularity_scorer`.
    """
    who, what = np.divmod(train.pairs(), max(train.n_items, 1))
    weights = 1.0 / np.sqrt(np.bincount(who, minlength=train.n_users)[who])
    return _same_for_all(np.bincount(what, weights, minlength=train.n_items).astype(np.float32))


def _same_for_all(scores: NDArray[np.float32]) -> Scorer:
    return lambda users: np.broadcast_to(scores, (len(users), len(scores)))


def factor_scorer(user_factors: NDArray[np.floating], item_factors: NDArray[np.floating]) -> Scorer:
    """Score by inner products of user_factors (n_users, dim) and item_factors (n_items, dim).

    Raises ValueError when the dimensions differ.
    """
    if user_factors.ndim != 2 or item_factors.ndim != 2 or user_factors.shape[1] != item_factors.shape[1]:
        raise ValueError(f"factors must share their dimension, not {user_factors.shape} and {item_factors.shape}")
    left, right = user_factors.astype(np.float32), np.ascontiguousarray(item_factors.T, dtype=np.float32)

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.asarray(left[users] @ right)

    return score


def ials_scorer(
    train: Interactions,
    *,
    dim: int = 32,
    alpha: float = 5.0,
    reg: float = 20.0,
    iterations: int = 15,
    rng: np.random.Generator,
) -> Scorer:
    """Implicit alternating least squares on all training interactions in one place; see `ials_factors`."""
    return factor_scorer(*ials_factors(train, dim=dim, alpha=alpha, reg=reg, iterations=iterations, rng=rng))


def ials_factors(
    train: Interactions, *, dim: int, alpha: float, reg: float, iterations: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Factorise implicit feedback (Hu, Koren, Volinsky, ICDM 2008, equations 3 to 5); repeated interactions count once.

    Minimises sum_ui c_ui (p_ui - x_u . y_i)^2 + reg (sum_u |x_u|^2 + sum_i |y_i|^2), where p_ui = 1 and c_ui = 1 +
    alpha if the user has the item, else p_ui = 0 and c_ui = 1, by solving for all users, then for all items,
    `iterations` times. Returns user factors (n_users, dim) and item factors (n_items, dim). Raises ValueError for
    sizes below 1 or reg <= 0.
    """
    if dim < 1 or iterations < 1 or reg <= 0 or alpha < 0:
        raise ValueError("iALS needs dim >= 1, iterations >= 1, reg > 0 and alpha >= 0")
    who, what = np.divmod(train.pairs(), train.n_items)
    by_user, by_item = _compressed(who, what, train.n_users), _compressed(what, who, train.n_items)
    items = rng.normal(0.0, 0.1, (train.n_items, dim))
    for _ in range(iterations):
        users = half_step(*by_user, items, alpha=alpha, reg=reg)
        items = half_step(*by_item, users, alpha=alpha, reg=reg)
    return users, items


def half_step(
    offsets: NDArray[np.int64],
    columns: NDArray[np.integer],
    fixed: NDArray[np.float64],
    *,
    alpha: float,
    reg: float,
) -> NDArray[np.float64]:
    """Solve every row's weighted ridge regression on the fixed side's factors (equation 4).

    offsets (n + 1,), columns (total,): row r has columns[offsets[r]:offsets[r + 1]]. fixed: (n_columns, dim).
    Returns (n, dim).
    """
    n, dim = len(offsets) - 1, fixed.shape[1]
    everywhere = fixed.T @ fixed + reg * np.eye(dim)
    solved = np.empty((n, dim))
    for start in range(0, n, _SYSTEMS_AT_ONCE):
        stop = min(start + _SYSTEMS_AT_ONCE, n)
        left, right = np.empty((stop - start, dim, dim)), np.empty((stop - start, dim, 1))
        for row in range(start, stop):
            had = fixed[columns[offsets[row] : offsets[row + 1]]]
            left[row - start] = had.T @ had
            right[row - start, :, 0] = had.sum(axis=0)
        left *= alpha
        left += everywhere
        solved[start:stop] = np.linalg.solve(left, (1.0 + alpha) * right)[:, :, 0]
    return solved


def _compressed(
    rows: NDArray[np.int64], columns: NDArray[np.int64], n: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Offsets (n + 1,) and columns (total,), row by row."""
    counts = np.bincount(rows, minlength=n)
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int64), columns[np.argsort(rows, kind="stable")]
