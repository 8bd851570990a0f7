"""An item that nobody has touched yet: scores from what everybody knows of it.

A head's directions are affine in an item's features, the base among them. What a new item's features are is public;
its base and its row are foretold from them by ridge regression on the items that were there.
"""

import numpy as np
from numpy.typing import NDArray

from securerec.data.dataset import Dataset
from securerec.errors import RunError
from securerec.models.head import GROWTH, Floats, PublicFeatures, public_features

BASE_RIDGE, ROW_RIDGE = 3.0, 3.0
"""Added to each feature's sum of squares where the base is foretold, and where rows are."""
_TOLERANCE = 1e-3
_FIT_STEPS = 60


def telling(dataset: Dataset) -> bool:
    """Whether genres or years tell its items apart, so that something is known of a new one."""
    return public_features(dataset).values.shape[1] > 0


def carried(features: PublicFeatures, n_known: int) -> NDArray[np.float32]:
    """Values (n_items, d) of all items in the columns that tell apart the first `n_known`, as a head of those has them.

    features: of all items, new ones last.
    """
    known = features.values[:n_known]
    telling = known.any(axis=0) & ~known.all(axis=0)
    return features.values[:, telling]


def foretold(values: NDArray[np.float32], base: Floats, rows: Floats) -> tuple[Floats, Floats]:
    """Base (n_items,) and rows (n_items, dim), where only the first n_known items had some: base (n_known,), rows
    (n_known, dim). values: (n_items, d) features of all.
    """
    n_known = len(base)
    known, new = values[:n_known], values[n_known:]
    popularity = foretold_popularity(known, np.exp(base.astype(np.float64)), new)
    whole = np.concatenate([base, np.log(popularity).astype(np.float32)])
    return whole, np.concatenate([rows, ridge(known, rows, new, ROW_RIDGE)])


def foretold_popularity(
    known: NDArray[np.float32], popularity: NDArray[np.float64], new: NDArray[np.float32]
) -> NDArray[np.float64]:
    """The mean popularity (k,) of items with features new (k, d), from items with features known (n, d) and positive
    popularity (n,); within the range of theirs.

    exp(a + b . features), a's and b's deviance that of a gamma distribution, whose deviation grows with its mean, and
    BASE_RIDGE on b: Fisher scoring, for which such a model's information is the features' Gram matrix.
    """
    columns = np.column_stack([np.ones(len(known)), known]).astype(np.float64)
    least, most = np.log(popularity.min()), np.log(popularity.max())
    penalty = np.append(0.0, np.full(known.shape[1], BASE_RIDGE))
    weights = np.append(np.log(popularity.mean()), np.zeros(known.shape[1]))
    information = np.linalg.inv(columns.T @ columns + np.diag(penalty))
    for _ in range(_FIT_STEPS):
        value = np.exp(np.clip(columns @ weights, least, most))
        weights += 0.5 * information @ (columns.T @ (popularity / value - 1) - penalty * weights)
    at = np.column_stack([np.ones(len(new)), new]) @ weights
    return np.asarray(np.exp(np.clip(at, least, most)), np.float64)


def ridge(known: NDArray[np.float32], targets: Floats, new: NDArray[np.float32], penalty: float) -> Floats:
    """What the targets (n, width) of items with features known (n, d) foretell for features new (k, d): (k, width).

    Least squares with an intercept, and `penalty` times the squared weights.
    """
    centre, middle = known.mean(axis=0, dtype=np.float64), targets.mean(axis=0, dtype=np.float64)
    columns, wanted = known - centre, targets - middle
    weights = np.linalg.solve(columns.T @ columns + penalty * np.eye(columns.shape[1]), columns.T @ wanted)
    return np.asarray((new - centre) @ weights + middle, np.float32)


def extended_directions(directions: Floats, values: NDArray[np.float32], learnt: Floats, base: Floats) -> Floats:
    """A head's directions (n_known, d') with those of new items after them, (n_items, d').

    values: (n_items, d) of all items, see `carried`; learnt: (n_items, width) what had been learnt of them when the
    head was made, and is further features; base: (n_items,). Raises RunError where the directions were not made from
    these features.
    """
    n_known = len(directions)
    columns = np.concatenate([values, GROWTH * learnt, base[:, None], np.ones((len(base), 1))], axis=1)
    columns = columns.astype(np.float64)
    turn = np.linalg.lstsq(columns[:n_known], directions.astype(np.float64), rcond=None)[0]
    missed = np.abs(columns[:n_known] @ turn - directions).max(initial=0.0)
    if missed > _TOLERANCE * max(1.0, float(np.abs(directions).max(initial=0.0))):
        raise RunError("the run's head does not follow from the data set's genres and years: fetch that data set again")
    return np.concatenate([directions, (columns[n_known:] @ turn).astype(np.float32)])
