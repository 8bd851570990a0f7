"""Properties of clients that follow from their items: how many they have, and what they are fans of."""

import numpy as np
from numpy.typing import NDArray

from attacks.case import Public

GENRES = 5
"""Genres looked at: those in which clients differ most."""


def genre_shares(histories: NDArray[np.bool_], public: Public) -> dict[str, NDArray[np.float64]]:
    """For each of the genres in which clients differ most, the share (n,) of each client's items that are of it.

    histories: (n, n_items). Most: the variance of the share beyond what drawing by lot would give at these lengths.
    Clients without items get 0. Empty where genres are not known.
    """
    if public.genres is None:
        return {}
    lengths = np.maximum(histories.sum(axis=1), 1)
    shares = histories.astype(np.float64) @ public.genres / lengths[:, None]
    mean = shares.mean(axis=0)
    beyond = shares.var(axis=0) - mean * (1 - mean) * np.mean(1 / lengths)
    order = [at for at in np.argsort(-beyond, kind="stable")[:GENRES].tolist() if beyond[at] > 0]
    return {public.genre_names[at]: shares[:, at] for at in order}


def habits(histories: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    """Who has many items (n,), the top quarter, and who has few, the bottom quarter; on the line counts as inside."""
    lengths = histories.sum(axis=1)
    low, high = np.quantile(lengths, [0.25, 0.75])
    return {"heavy user": lengths >= high, "new user": lengths <= low}


def fans(histories: NDArray[np.bool_], public: Public) -> dict[str, NDArray[np.bool_]]:
    """For each genre of `genre_shares`, who is in the top quarter by it (n,)."""
    return {
        f"fan of {genre}": share >= np.quantile(share, 0.75) for genre, share in genre_shares(histories, public).items()
    }
