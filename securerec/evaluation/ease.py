"""EASE, a closed-form item-item model on all interactions in one place, scored with or without recency.

Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019: B minimises |X - X B|^2 + reg |B|^2 with a zero
diagonal, X being the 0/1 user-item matrix. With P = (X'X + reg I)^-1, B_ij = -P_ij / P_jj off the diagonal (its
equation 8).
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from securerec.data.interactions import Interactions
from securerec.evaluation.protocols import Scorer
from securerec.models.neighbours import item_weights, recency_matrix

MOST_ITEMS = 20_000
"""Where `ease_weights` takes up to 8 GB, and n_items^3 multiplications."""


def ease_weights(train: Interactions, *, reg: float) -> NDArray[np.float32]:
    """The item-item weights B `(n_items, n_items) float32` of EASE; repeated interactions count once.

    While it works it takes at most 20 bytes for each of the n_items^2 cells and 50 for each interaction, and n_items^3
    multiplications. Raises ValueError for reg <= 0 and for more than 20,000 items.
    """
    if not reg > 0:
        raise ValueError(f"EASE needs reg > 0, not {reg}")
    if train.n_items > MOST_ITEMS:
        raise ValueError(f"EASE inverts a matrix of {train.n_items} items on each side; at most {MOST_ITEMS} fit here")
    who, what = np.divmod(train.pairs(), max(train.n_items, 1))
    seen = sparse.csr_array((np.ones(what.size), (who, what)), shape=(train.n_users, train.n_items))
    gram = (seen.T @ seen).toarray(order="F")
    return item_weights(gram, reg=reg)


def ease_scorer(weights: NDArray[np.float32], history: Interactions, *, exponent: float = 0.0) -> Scorer:
    """Score item j for user u by sum_k (1 + k)^-exponent B[x_k, j] over the user's items x_0, x_1, ... from the newest.

    `weights` is B `(n_items, n_items) float32`, `history` the lists to score from (those B was fitted on, or the same
    with newer items). Exponent 0 is EASE as published. Raises ValueError when the sizes differ, or the exponent is
    negative or not finite.
    """
    if weights.shape != (history.n_items, history.n_items):
        raise ValueError(f"weights of shape {weights.shape} do not fit {history.n_items} items")
    if not 0 <= exponent < np.inf:
        raise ValueError(f"the recency exponent must be finite and not negative, not {exponent}")
    recency = recency_matrix(history, exponent)

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.asarray(recency[users] @ weights)

    return score
