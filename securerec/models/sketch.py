"""The item-item model of a large catalogue: EASE from a sketch of the Gram matrix, a few narrow sums over devices.

A Gram matrix of n items has n^2 / 2 values, and its largest eigenvectors are what a recommendation needs of it. They
come out of its products with narrow matrices (subspace iteration, Halko, Martinsson, Tropp 2011, algorithm 4.4): the
server says a basis, each device multiplies its own part of the Gram matrix by it, the sum of these is the product, and
its range is the next basis. From the last product follows Nystroem's approximation, which tells more than the basis
alone (Tropp, Yurtsever, Udell, Cevher 2017, algorithm 3).

Client u's part is x x' / sqrt(t) for a list x of t items, so that long lists do not say everything; the popularity that
everybody knows is the sum's diagonal. Each item is weighed by (1 + its popularity)^-DAMPING on either side.
"""

import numpy as np
from numpy.typing import NDArray

from securerec.models.neighbours import Floats

SKETCH_WIDTH = 64
"""Directions, where nobody has said."""
SUMS = 3
"""Products with the Gram matrix, each a release."""
DAMPING = 0.25
RIDGE = 4.0
"""EASE's ridge, in the median of the eigenvalues that were found: where the spectrum is flat."""
GAIN = 64.0
"""What the head takes of the weights' scores, where a row of the weights has norm 1 in the mean square."""
_TINY = 1e-6
"""Of the largest eigenvalue: below it is rounding."""


def sketch_width(n_items: int, width: int) -> int:
    """Columns of a basis: no catalogue has more directions than items."""
    return min(width, n_items)


def item_scales(popularity: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_items,), between 0 and 1, from popularity (n_items,) as it was released."""
    return np.asarray((1.0 + np.maximum(popularity, 0.0)) ** -DAMPING, np.float64)


def first_basis(n_items: int, width: int) -> NDArray[np.float64]:
    """(n_items, sketch_width), orthonormal columns, the same for everybody."""
    start = np.random.default_rng(0).standard_normal((n_items, sketch_width(n_items, width)))
    return np.linalg.qr(start)[0]


def scaled(basis: NDArray[np.float64], scales: NDArray[np.float64]) -> Floats:
    """What devices multiply by: a basis with its rows times the items' scales."""
    return np.asarray(scales[:, None] * basis, np.float32)


def product_of(items: NDArray[np.int32], basis: Floats) -> tuple[NDArray[np.int32], Floats]:
    """A list's part of the Gram matrix, times a scaled basis (n_items, width): its distinct items (t,) and their rows
    (t, width), all the same: the sum of the basis' rows of the list, over sqrt(t).

    No value is beyond +-1, since no column of the basis is longer than 1 (Cauchy and Schwarz).
    """
    distinct = np.unique(items)
    row = basis[distinct].sum(axis=0, dtype=np.float64) / np.sqrt(max(len(distinct), 1))
    return distinct.astype(np.int32), np.repeat(row.astype(np.float32)[None], len(distinct), axis=0)


def next_basis(total: NDArray[np.float64], scales: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal columns (n_items, width) from the opened sum of everybody's `product_of`."""
    return np.linalg.qr(scales[:, None] * total)[0]


def eigenpairs(
    basis: NDArray[np.float64], image: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Largest eigenvalues (k,), falling, and eigenvectors (n_items, k) of a positive semidefinite matrix from its
    product, image (n_items, width), with an orthonormal basis: of image (basis' image)^-1 image', k = its rank.
    """
    core = basis.T @ image
    sizes, turn = np.linalg.eigh((core + core.T) / 2)
    kept = sizes > _TINY * max(sizes.max(initial=0.0), np.finfo(np.float64).tiny)
    left, roots, _ = np.linalg.svd(image @ (turn[:, kept] / np.sqrt(sizes[kept])), full_matrices=False)
    return roots**2, left


def low_rank_weights(
    values: NDArray[np.float64], vectors: NDArray[np.float64], ridge: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """EASE's weights off the diagonal as inputs outputs', each (n_items, k), for the Gram matrix of these eigenpairs.

    With P = (V diag(s) V' + ridge I)^-1 = I / ridge - V diag(f) V', f = 1 / ridge - 1 / (s + ridge), the weights
    -P_ij / P_jj (Steck's equation 8) are (V diag(f) V')_ij / P_jj: of rank k without any further step.
    """
    share = 1 / ridge - 1 / (values + ridge)
    diagonal = 1 / ridge - np.square(vectors) @ share
    return vectors * share, vectors / diagonal[:, None]


def sketched_neighbours(
    basis: NDArray[np.float64], total: NDArray[np.float64], scales: NDArray[np.float64]
) -> tuple[Floats, Floats]:
    """Inputs and outputs (n_items, k) of the item-item model, the head's GAIN included, from the opened sum (n_items,
    width) of everybody's `product_of` the last basis.
    """
    values, vectors = eigenpairs(basis, scales[:, None] * total)
    if not len(values):
        return np.zeros((len(total), 0), np.float32), np.zeros((len(total), 0), np.float32)
    inputs, outputs = low_rank_weights(values, vectors, RIDGE * float(np.median(values)))
    # the Gram matrix was of scaled items, lists and scores are not
    inputs, outputs = inputs * scales[:, None], outputs / scales[:, None]
    norm = np.sqrt(np.sum((inputs.T @ inputs) * (outputs.T @ outputs)) / len(total))
    return (GAIN / norm * inputs).astype(np.float32), outputs.astype(np.float32)
