"""What attacks on people are made from: each client's items as inferred from its upload, and uploads side by side."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from attacks.interactions.common_axis import log_odds
from attacks.interactions.rank_one import popularity_log_odds
from attacks.views import OpenedSum, RowUploads, UploadView

_ITEMS_AT_ONCE = 128


def probabilities(view: UploadView) -> NDArray[np.float32]:
    """(n_clients, n_items) float32: how likely each client has each item, from all the uploads of a round."""
    return np.asarray(expit(log_odds(view)), dtype=np.float32)


def prior(view: UploadView) -> NDArray[np.float32]:
    """(n_items,) float32 in 0 .. 1: how likely anybody has the item, from popularity alone."""
    return np.asarray(expit(popularity_log_odds(view)), dtype=np.float32)


def cosines(ours: UploadView, theirs: UploadView) -> NDArray[np.float32]:
    """(n_ours, n_theirs) float32: cosine of the angle between two uploads, each less the mean upload of its round.

    Reads a few items' columns at a time, so memory stays near that of the views.
    """
    products = np.zeros((len(ours.clients), len(theirs.clients)), dtype=np.float32)
    lengths = np.zeros(len(ours.clients)), np.zeros(len(theirs.clients))
    for left, right in zip(_columns(ours), _columns(theirs), strict=True):
        products += left @ right.T
        for length, part in zip(lengths, (left, right), strict=True):
            length += np.einsum("bi,bi->b", part, part)
    return (products / (np.sqrt(np.outer(*lengths)) + 1e-30)).astype(np.float32)


def _columns(view: UploadView) -> Iterator[NDArray[np.float32]]:
    """The uploads (n, items at once * dim) less their mean, over slices of items."""
    uploads, n, dim = view.uploads, len(view.clients), view.dim
    assert not isinstance(uploads, OpenedSum), "goals hand no sums to attacks on people"
    if isinstance(uploads, RowUploads):
        owners = np.repeat(np.arange(n), np.diff(uploads.offsets))
        by_item = np.argsort(uploads.rows, kind="stable")
        edges = np.searchsorted(uploads.rows, np.arange(0, view.n_items, _ITEMS_AT_ONCE), sorter=by_item)
        spans = np.split(by_item, edges[1:])
    for at, start in enumerate(range(0, view.n_items, _ITEMS_AT_ONCE)):
        width = min(_ITEMS_AT_ONCE, view.n_items - start)
        if isinstance(uploads, RowUploads):
            part = np.zeros((n, width, dim), dtype=np.float32)
            part[owners[spans[at]], uploads.rows[spans[at]] - start] = uploads.delta[spans[at]]
        else:
            part = uploads.delta[:, start : start + width]
        flat = part.reshape(n, width * dim)
        yield flat - flat.mean(axis=0)
