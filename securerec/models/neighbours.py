"""An item-item model of what people take near each other: EASE, from one sum over devices.

EASE (Steck, WWW 2019) reads nothing but the Gram matrix X'X of the 0/1 user-item matrix X: how many users have both of
two items. Such a count is a sum over devices. Here a pair counts the more, the fewer places lie between its items in a
device's list: (1 + distance)^-exponent, a convex and falling kernel, so that every device's part is positive
semidefinite (Polya). Exponent 0 gives X'X. The server opens the sum, inverts it and keeps the largest singular
directions of the weights; what a device adds to an item's score is its own list's part in them.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from securerec.data.interactions import Interactions

Floats = NDArray[np.float32]

MOST_ITEMS = 4096
"""Where a device's vector has 8.4 million values; larger catalogues take `securerec.models.sketch`."""
WIDTH = 256
"""Singular directions kept, where nobody has said."""
NEARNESS = 0.375
"""The kernel's exponent over the one by which interactions weigh less with age."""
LATE = 1.2
"""How much faster a list's interactions lose weight here than where tastes are fitted to them."""
REG = 4.0
"""EASE's ridge, in means of the Gram matrix's diagonal."""
GAIN = 350.0
"""What the head takes of the weights' scores."""
_PASSES, _SPARE = 4, 32


def sketched(n_items: int) -> bool:
    """Whether a catalogue is too large for all its pairs, and its item-item model comes from a sketch of them."""
    return n_items > MOST_ITEMS


def pair_width(n_items: int) -> int:
    """Values for each item in which the upper triangle of a Gram matrix travels, see `pairs_of`."""
    return n_items // 2 + 1


def pairs_of(
    items: NDArray[np.int32], n_items: int, *, exponent: float
) -> tuple[NDArray[np.int32], Floats]:  # fmt: skip
    """A list's part of the Gram matrix: its distinct items (t,) and their rows (t, pair_width).

    items: oldest first; one that comes twice counts once, where it is newest. Column c of item i's row is for the pair
    of i and item (i + c) mod n_items, so that each pair has a place, and only the pairs half a catalogue apart two.
    """
    newest = np.unique(items[::-1], return_index=True)[1]
    distinct = items[::-1][np.sort(newest)]
    places = np.arange(len(distinct))
    kernel = (1.0 + np.abs(places[:, None] - places)) ** -exponent
    columns = (distinct[None].astype(np.int64) - distinct[:, None]) % n_items
    rows, others = np.nonzero(columns < pair_width(n_items))
    values = np.zeros((len(distinct), pair_width(n_items)), np.float32)
    values[rows, columns[rows, others]] = kernel[rows, others]
    return distinct.astype(np.int32), values


def gram_of(total: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric matrix (n_items, n_items) whose rows `pairs_of` gives, from their sum (n_items, pair_width)."""
    n_items = len(total)
    rows = np.arange(n_items)[:, None]
    columns = (rows + np.arange(total.shape[1])) % n_items
    gram = np.empty((n_items, n_items))
    gram[rows, columns] = total
    gram[columns, rows] = total
    return gram


def item_weights(gram: NDArray[np.float64], *, reg: float) -> Floats:
    """EASE's B (n_items, n_items) from a Gram matrix: P = (gram + reg I)^-1, B_ij = -P_ij / P_jj, zero on the diagonal
    (Steck's equation 8). `gram` is overwritten.

    Raises ArithmeticError where it cannot be inverted.
    """
    n_items = len(gram)
    gram[np.diag_indices(n_items)] += reg
    factor = linalg.cholesky(gram, overwrite_a=True, check_finite=False)
    inverse, info = linalg.lapack.dpotri(factor, overwrite_c=True)
    if info:
        raise ArithmeticError(f"LAPACK dpotri could not invert the Gram matrix (info {info}): raise reg")
    # dpotri fills the upper triangle only; below it the factor left zeros.
    for item in range(n_items):
        inverse[item + 1 :, item] = inverse[item, item + 1 :]
    inverse /= -np.diag(inverse).copy()
    np.fill_diagonal(inverse, 0.0)
    return np.ascontiguousarray(inverse, dtype=np.float32)


def factors(weights: Floats, width: int) -> tuple[Floats, Floats]:
    """The `width` largest singular directions of weights (n_items, n_items), fewer where it is smaller: inputs and
    outputs (n_items, width), such that inputs outputs' is near the weights.

    Subspace iteration from a start that is the same for everybody (Halko, Martinsson, Tropp 2011, algorithm 4.4).
    """
    n_items = len(weights)
    start = np.random.default_rng(0).standard_normal((n_items, min(width + _SPARE, n_items)))
    basis = np.linalg.qr(weights @ start.astype(np.float32))[0]
    for _ in range(_PASSES):
        basis = np.linalg.qr(weights @ np.linalg.qr(weights.T @ basis)[0])[0]
    left, sizes, right = np.linalg.svd(basis.T @ weights, full_matrices=False)
    inputs = basis @ (left * sizes)[:, :width]
    return np.ascontiguousarray(inputs), np.ascontiguousarray(right[:width].T)


def neighbours(total: NDArray[np.float64], width: int) -> tuple[Floats, Floats]:
    """Inputs and outputs (n_items, width) of the item-item model, the head's GAIN included, from the opened sum
    (n_items, pair_width) of everybody's `pairs_of`.
    """
    gram = gram_of(total)
    scale = float(np.diag(gram).mean()) if len(gram) else 0.0
    if scale <= 0:
        return np.zeros((len(total), 0), np.float32), np.zeros((len(total), 0), np.float32)
    inputs, outputs = factors(item_weights(gram, reg=REG * scale), width)
    return np.float32(GAIN) * inputs, outputs


def recency_matrix(history: Interactions, exponent: float) -> sparse.csr_array:
    """Each user's items with weight (1 + k)^-exponent, k = 0 for the newest: `(n_users, n_items) float32`.

    An item that comes twice counts once, where it is newest. Exponent 0 gives the 0/1 matrix.
    """
    users, items = history.users()[::-1].astype(np.int64), history.items[::-1].astype(np.int64)
    _, first = np.unique(users * history.n_items + items, return_index=True)
    kept = np.sort(first)
    users, items = users[kept], items[kept]
    # Newest first within a user, users from the last to the first.
    starts = np.flatnonzero(np.r_[True, users[1:] != users[:-1]]) if users.size else np.zeros(0, np.int64)
    rank = np.arange(users.size) - np.repeat(starts, np.diff(np.r_[starts, users.size]))
    values = ((1.0 + rank) ** -exponent).astype(np.float32)
    return sparse.csr_array((values, (users, items)), shape=(history.n_users, history.n_items))
