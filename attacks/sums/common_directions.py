"""One client's upload under what is left of everybody else's: told apart by direction, then row by row.

*Direction.* All of a client's rows lie along its private vector w. The others' rows spread over directions of their
own, with a Gram matrix C that is known. In the coordinates D C^(-1/2) they spread evenly, and a client whose w they do
not share stands out as the top axis. Where there are fewer others than dimensions, some directions are nobody else's.

*Rows.* Off the axis there is nobody but the others, so each row's energy there says how much noise to expect along
it. A row's move along the axis is then a mixture: up for an item the client has (prior: popularity), down for a
negative, none for the rest, with amplitudes, shares and the noise's scale found by expectation maximisation; the score
is the posterior log-odds. Where the top axis is no larger than noise alone would make it, it is popularity's.
"""

import numpy as np
from numpy.typing import NDArray

from attacks.interactions.rank_one import spike
from attacks.sums.orientation import points_down

_SMALLEST_EIGENVALUE = 1e-6
"""Of C, over its largest. What is below is where the others never move."""

_PRIOR_ROWS = 3.0
"""How many values off the axis the mean noise of all rows counts as, beside a row's own dim - 1."""

_CLEAR = 2.0
"""Deviations of a row's noise beyond which its sign is counted."""

_STEPS = 30
_SCALES = (1e-3, 1e3)
_SHARES = (0.02, 0.6)

_UNTOUCHED = 10.0
"""Log-odds taken off a row that the client cannot have touched."""


def log_odds(
    change: NDArray[np.float64],
    others: NDArray[np.float64],
    touched: NDArray[np.bool_],
    table: NDArray[np.float64],
    prior: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(n_items,) log-odds that the client has the item.

    change: (n_items, dim), the client's upload and what is left of others'. others: (dim, dim), the Gram matrix of
    rows of others, of any size. touched: (n_items,), False where the client certainly changed nothing. table: as
    broadcast. prior: log-odds of popularity.
    """
    scores = np.where(touched, prior, prior - _UNTOUCHED)
    values, vectors = np.linalg.eigh(others)
    if values[-1] <= 0 or np.count_nonzero(touched) < 2:
        return scores
    root = np.sqrt(np.maximum(values, _SMALLEST_EIGENVALUE * values[-1]))
    moved = change[touched] @ (vectors / root)
    moved /= np.sqrt(np.mean(moved**2)) + 1e-30

    gram_values, gram_vectors = np.linalg.eigh(moved.T @ moved)
    signal, _, _ = spike(np.maximum(gram_values, 0)[None], np.array([len(moved)]))
    if signal[0] == 0:
        return scores
    axis = gram_vectors[:, -1]
    along = moved @ axis
    noise = _row_noise(moved, along)
    clear = np.abs(along) > _CLEAR * np.sqrt(noise)
    # A row is g w; in these coordinates w is w / root, so scores E w are (E root) (w / root).
    if points_down(along[clear], axis, table @ (vectors * root), prior):
        along = -along
    scores[touched] = posterior(along, noise, prior[touched])
    return scores


def _row_noise(moved: NDArray[np.float64], along: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) variance of each row's noise along the axis, from its energy off it. moved: (n, dim); along: (n,)."""
    others = moved.shape[1] - 1
    if others == 0:
        return np.full(len(moved), np.mean(along**2) + 1e-30)
    off = np.maximum(np.sum(moved**2, axis=1) - along**2, 0)
    mean = off.mean() / others
    return (off + _PRIOR_ROWS * mean) / (others + _PRIOR_ROWS) + 1e-30


def posterior(
    along: NDArray[np.float64], noise: NDArray[np.float64], prior: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n,) log-odds that a row's move is that of an item the client has.

    along: moves; noise: their variances up to a common factor; prior: log-odds. Each move is Gaussian around +a for an
    item, around -b for a share t of the rest, around 0 for the others; a, b >= 0, t and the factor are found by
    expectation maximisation.
    """
    log_has, log_lacks = -np.logaddexp(0, -prior), -np.logaddexp(0, prior)
    weight = 1 / noise
    up = down = float(np.sqrt(max(np.sum(along**2 * weight) - len(along), 0.0) / np.sum(weight)))
    share, scale = 0.25, 1.0
    odds = prior
    for _ in range(_STEPS):
        has = log_has - (along - up) ** 2 * weight / (2 * scale)
        negative = log_lacks + np.log(share) - (along + down) ** 2 * weight / (2 * scale)
        still = log_lacks + np.log1p(-share) - along**2 * weight / (2 * scale)
        lacks = np.logaddexp(negative, still)
        odds = has - lacks
        whole = np.logaddexp(has, lacks)
        is_up, is_down, is_still = np.exp(has - whole), np.exp(negative - whole), np.exp(still - whole)
        up = max(float(np.sum(is_up * along * weight) / (np.sum(is_up * weight) + 1e-30)), 0.0)
        down = max(float(-np.sum(is_down * along * weight) / (np.sum(is_down * weight) + 1e-30)), 0.0)
        squares = is_up * (along - up) ** 2 + is_down * (along + down) ** 2 + is_still * along**2
        scale = float(np.clip(np.mean(squares * weight), *_SCALES))
        share = float(np.clip(is_down.sum() / (is_down.sum() + is_still.sum() + 1e-30), *_SHARES))
    return odds
