"""Singleton rows of a sum: rows that one member alone changed are parallel to each other, and no others are.

A row that one client changed is g w with its private vector w (of the batch that the row was in). Two rows of one
client and batch are parallel to within rounding; rows that several members changed mix several vectors in proportions
of their own. So rows are sorted by their direction, neighbours that are parallel are grouped, and a group is one
member's. Rounding of float32 uploads is relative to the table, so a short row's direction is known less well.
"""

import numpy as np
from numpy.typing import NDArray

from attacks.goals.singletons import SINGLETONS, OneSum, RowClaims
from attacks.registry import register
from attacks.sums.orientation import points_down

_ROUNDING = 4e-7
"""Of a change, over the largest value of the table row and the change: a few float32 roundings."""


@register(
    SINGLETONS,
    name="parallel rows",
    kinds=("unprotected_upload", "noised_upload"),
    adversary="a curious server that has one sum",
    source="sparse updates in secure sums (arXiv 2508.04285); rows of one PFedRec client are parallel",
    summary="rows of a sum that are exactly parallel were changed by one member alone, and each shows its label",
)
def parallel_rows(evidence: OneSum) -> RowClaims:
    """Claims on all rows that are parallel to another; none where an embedding has one dimension."""
    total, table = evidence.sum.total, evidence.sum.table.astype(np.float64)
    n_items, dim = total.shape
    counts = evidence.popularity.astype(np.float64)
    prior = np.log((counts + 0.5) / (evidence.population - counts + 0.5))
    owner = np.full(n_items, -1, dtype=np.int64)
    positive = np.zeros(n_items, dtype=np.bool_)
    if dim > 1:
        largest = np.maximum(np.abs(table).max(axis=1), np.abs(total).max(axis=1))
        for number, rows in enumerate(groups(total, _ROUNDING * largest)):
            axis = np.linalg.svd(total[rows], full_matrices=False)[2][0]
            along = total[rows] @ axis
            turn = -1 if points_down(along, axis, table, prior) else 1
            owner[rows], positive[rows] = number, turn * along > 0
    return RowClaims(owner >= 0, positive, owner)


def groups(rows: NDArray[np.float64], errors: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """The numbers of rows that are parallel, a list for each direction that two or more share.

    rows: (n, dim); errors: (n,), how far a value may be off. Rows no longer than 100 times their error are left out:
    their direction is not known. Sorting by one coordinate of the direction brings parallel rows beside each other.
    """
    length = np.sqrt(np.sum(rows**2, axis=1))
    usable = np.flatnonzero((length > 100 * errors) & (length > 0))
    if len(usable) < 2:
        return []
    unit = rows[usable] / length[usable, None]
    unit *= np.where(unit[np.arange(len(unit)), np.argmax(np.abs(unit), axis=1)] < 0, -1.0, 1.0)[:, None]
    # Weights that no data is aligned with, so that directions far from each other seldom share a place.
    place = unit @ np.sqrt(np.arange(2, rows.shape[1] + 2))
    order = np.argsort(place, kind="stable")
    slack = (errors / np.maximum(length, 1e-300))[usable][order] * np.sqrt(rows.shape[1])
    apart = np.sqrt(np.sum(np.diff(unit[order], axis=0) ** 2, axis=1))
    breaks = np.flatnonzero(apart > slack[1:] + slack[:-1]) + 1
    return [np.sort(usable[each]) for each in np.split(order, breaks) if len(each) > 1]
