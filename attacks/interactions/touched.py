"""Which rows an upload touches, and how many items stand behind so many rows.

A client that trains on its p items and draws k distinct negatives beside each, anew, out of the m = n_items - p others,
touches its items for certain and any other row with probability 1 - (1 - k / m)^p.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from attacks.views import RowUploads, UploadView


def touched_rows(view: UploadView) -> NDArray[np.bool_]:
    """(n_matrices, n_items), True for rows that the upload names or, where it is dense, that are not exactly zero."""
    uploads = view.uploads
    if not isinstance(uploads, RowUploads):
        return np.concatenate([np.any(block != 0, axis=2) for block in view.blocks()])
    touched = np.zeros((view.n_matrices, view.n_items), dtype=np.bool_)
    touched[np.repeat(np.arange(view.n_matrices), np.diff(uploads.offsets)), uploads.rows] = True
    return touched


def uploads_by_rows(view: UploadView) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Each upload's touched rows (t,) and their changes (t, dim), in order."""
    uploads = view.uploads
    if isinstance(uploads, RowUploads):
        for start, stop in zip(uploads.offsets[:-1], uploads.offsets[1:], strict=True):
            yield uploads.rows[start:stop].astype(np.int64), uploads.delta[start:stop].astype(np.float64)
        return
    for block in view.blocks():
        for change in block:
            rows = np.flatnonzero(np.any(change != 0, axis=1))
            yield rows, change[rows].astype(np.float64)


def touch_probability(n_own: NDArray[np.floating], n_items: int, negatives: int) -> NDArray[np.float64]:
    """Probability that a client with `n_own` items touches a given row that is not its own, in one round."""
    others = np.maximum(n_items - np.asarray(n_own, dtype=np.float64), negatives)
    return np.asarray(1 - (1 - negatives / np.maximum(others, 1)) ** n_own)


def items_behind(n_touched: NDArray[np.floating], n_items: int, negatives: int) -> NDArray[np.float64]:
    """The number of own items, any shape, of which the expected number of touched rows is `n_touched`.

    Where so many rows are touched that several numbers give as many, the smallest.
    """
    own = np.arange(n_items + 1, dtype=np.float64)
    expected = own + (n_items - own) * touch_probability(own, n_items, negatives)
    expected, first = np.unique(np.maximum.accumulate(expected), return_index=True)
    return np.interp(n_touched, expected, own[first])
