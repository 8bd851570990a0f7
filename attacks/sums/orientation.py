"""Which way round is an axis that was found in sums? Up is where rows of items that the client has move."""

import numpy as np
from numpy.typing import NDArray


def points_down(
    clear: NDArray[np.float64], axis: NDArray[np.float64], table: NDArray[np.float64], prior: NDArray[np.float64]
) -> bool:
    """True where the evidence is that the axis should be turned.

    clear: (k,) the rows' moves along the axis, of those alone that moved for sure. More of them are negatives, drawn
    several to each item a client has. axis: (dim,) of the private vector, so that table @ axis are the client's own
    scores, which rise with an item's popularity. table: (n_items, dim). prior: (n_items,) log-odds of popularity. Both
    are z-scores; as the scores vary in dim directions only, the second counts as much as dim items would.
    """
    fewer = np.sum(np.sign(-clear)) / np.sqrt(max(len(clear), 1))
    scores = table @ axis
    spread = scores.std() * prior.std()
    agreement = 0.0 if spread == 0 else np.mean((scores - scores.mean()) * (prior - prior.mean())) / spread
    return bool(fewer + np.arctanh(np.clip(agreement, -0.999, 0.999)) * np.sqrt(len(axis)) < 0)
