"""The rank-1 sign attack: which items a client has, from the sign of its change to each item row.

A client that scores items by e_i . w and minimises the logistic loss changes row i in one step by
-rate * (sigmoid(e_i . w + b) - y_i) * w. So all changed rows are multiples of its one private vector w, up w for an
item it has (y_i = 1) and down for a sampled negative. The top right singular vector v of the change D recovers w up
to length and sign, and s = D v each row's sign.

Three things beyond the singular vector make it hold under noise:

*Sign of v.* Items the client has outnumber neither its negatives nor the rest, but under noise a count of signs is
about strong rows only and flips. The broadcast table is not noised: under the right sign, e_i . v is the client's own
score of item i, and clients score popular items higher. So the z-scores of the correlation of log popularity with E v
and with s, and of the count of signs where untouched rows are visible, are added. Where most of the energy lies on one
axis as well, signs are hardly disturbed, and a clear count decides alone.

*How far to trust s.* D is modelled as a spike in noise (Johnstone 2001): energy off the axis v gives the noise, the
top eigenvalue the signal (Baik and Silverstein 2006), which is none below the largest eigenvalue that noise alone
reaches in 99 of 100 cases (Tracy-Widom). With signal deviation a and noise variance q, a / q * s is, up to a constant,
the log-likelihood ratio of a row moved up by a against one not moved.

*What is known anyway.* The score is log-odds: those of the item's popularity, plus a / q * s, plus a little of the
part of E v that popularity does not explain. With nothing to see it is popularity's ranking, not a coin's.

In a sum of n clients the others are noise: a is divided by sqrt(n), and the others' part of the signal joins q.

An upload of one column for a table of zeros is no change of embeddings, but a client's list itself: see `list_vector`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.goals.items import ITEMS, ItemScores, Seen
from attacks.interactions.list_vector import list_log_odds
from attacks.registry import register
from attacks.views import UploadView

_NOISE_EDGE = 2.02
"""99% quantile of the Tracy-Widom law for real matrices."""

_TASTE_WEIGHT = 2.0
"""Log-odds for one deviation of E v beyond popularity. Chosen on MovieLens-100K under Laplace noise, where 1 does as
well, 4 helps late rounds and harms early ones."""

_CERTAIN = 2.5
"""Noise deviations beyond which a row counts as moved, however much larger the largest moves are."""

_CLEAR_COUNT = 3.0
"""Deviations of a count of coin flips beyond which a count of undisturbed signs decides."""

UNTOUCHED = 10.0
"""Log-odds taken off a row that is exactly unchanged where others are not: the client trained on all its items."""


@register(
    ITEMS,
    name="rank-1 sign",
    kinds=("unprotected_upload", "noised_upload", "opened_sum"),
    adversary="a curious server, or whoever opens one upload or sum; knows the broadcast table and item popularity",
    source="the form of the PFedRec update (Zhang et al., IJCAI 2023, algorithm 1); spiked noise after Johnstone 2001",
    summary="an upload's top singular vector is the private score function; a row's sign along it is its label",
)
def rank_one(seen: Seen) -> ItemScores:
    """Log-odds (n_matrices, n_items) that the client has the item; the prediction is a log-odds above 0."""
    view = seen.view
    prior = popularity_log_odds(view)
    if view.dim == 1 and view.clients_per_matrix == 1 and not view.table.any():
        vectors = np.concatenate([block[:, :, 0].astype(np.float64) for block in view.blocks()])
        read = list_log_odds(vectors, prior, view.popularity)
        return ItemScores(read.astype(np.float32), read > 0)
    table = view.table.astype(np.float64)
    rows = [
        score
        for block in view.blocks()
        for score in _log_odds(block.astype(np.float64), table, prior, view.clients_per_matrix)
    ]
    scores = np.array(rows)
    return ItemScores(np.clip(scores, -3e38, 3e38).astype(np.float32), scores > 0)


@dataclass(frozen=True, slots=True, eq=False)
class Oriented:
    """Matrices (b, n_items, dim) along their top singular axis, pointed up for items that clients have.

    touched: (b, n_items) rows that are not exactly zero. along: (b, n_items) each row's component on the axis. taste:
    (b, n_items) the broadcast rows' component, standardised; agreement: (b,) its correlation with log popularity.
    signal, noise, alignment: (b,) as `spike`.
    """

    touched: NDArray[np.bool_]
    along: NDArray[np.float64]
    taste: NDArray[np.float64]
    agreement: NDArray[np.float64]
    signal: NDArray[np.float64]
    noise: NDArray[np.float64]
    alignment: NDArray[np.float64]


def popularity_log_odds(view: UploadView) -> NDArray[np.float64]:
    """(n_items,) log-odds that somebody of the population has the item, half a user added to either side."""
    counts = view.popularity.astype(np.float64)
    return np.asarray(np.log((counts + 0.5) / (view.population - counts + 0.5)))


def oriented(changes: NDArray[np.float64], table: NDArray[np.float64], prior: NDArray[np.float64]) -> Oriented:
    """changes: (b, n_items, dim); table: (n_items, dim); prior: (n_items,) log-odds of popularity."""
    touched = np.any(changes != 0, axis=2)
    values, vectors = np.linalg.eigh(np.swapaxes(changes, 1, 2) @ changes)
    values, axis = np.maximum(values, 0), vectors[:, :, -1]
    signal, noise, alignment = spike(values, touched.sum(axis=1))

    along = np.einsum("bid,bd->bi", changes, axis)
    taste = _standard(axis @ table.T)
    known = _standard(prior[None])
    agreement = np.mean(taste * known, axis=1)
    undisturbed = values[:, -1] > values.sum(axis=1) / 2
    sign = np.where(_sign_evidence(along, agreement, known, touched, undisturbed) < 0, -1.0, 1.0)
    along, taste = sign[:, None] * along, sign[:, None] * taste
    return Oriented(touched, along, taste, sign * agreement, signal, noise, alignment)


def _log_odds(
    changes: NDArray[np.float64], table: NDArray[np.float64], prior: NDArray[np.float64], cohort: int
) -> NDArray[np.float64]:
    """changes: (b, n_items, dim); table: (n_items, dim); prior: (n_items,) log-odds. Returns (b, n_items)."""
    found = oriented(changes, table, prior)
    visible = np.asarray(~found.touched.all(axis=1))
    strength = one_clients_weight(found.signal, found.noise, cohort)
    beyond = found.taste - found.agreement[:, None] * _standard(prior[None])
    weight = _TASTE_WEIGHT * np.maximum(found.agreement, 0) * found.alignment / np.sqrt(cohort)
    # A constant for each matrix: moves the yes-or-no line, not the ranking. Visible rows need none, zero is their line.
    half_way = np.minimum(np.sqrt(found.signal / cohort) / 2, _CERTAIN * np.sqrt(found.noise))
    line = np.where(visible, 0.0, strength * half_way)
    unchanged = np.where(visible[:, None] & ~found.touched, UNTOUCHED, 0.0)
    return prior + strength[:, None] * found.along + weight[:, None] * beyond - unchanged - line[:, None]


def one_clients_weight(signal: NDArray[np.float64], noise: NDArray[np.float64], cohort: int) -> NDArray[np.float64]:
    """Log-odds for one unit of movement along the axis that a given one of `cohort` clients moved the row up.

    signal: variance of the movement along the axis, of all of them together; noise: variance beside it. Same shapes.
    """
    return np.asarray(np.sqrt(signal / cohort) / (noise + signal * (1 - 1 / cohort)))


def spike(
    values: NDArray[np.float64], n_rows: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Signal and noise in a rank-1 matrix plus white noise, from the eigenvalues of its Gram matrix.

    values: (b, dim) ascending, of D^T D with D of n_rows (b,) rows. Returns (b,) each: the variance of the signal
    along its axis, 0 where noise alone explains the top value; the noise's variance a value, above 0; the squared
    cosine between the top eigenvector and the axis.
    """
    dim = values.shape[1]
    n = np.maximum(n_rows, 1).astype(np.float64)
    total = values.sum(axis=1)
    floor = 1e-12 * total / (n * dim) + 1e-30
    noise = np.maximum(values[:, :-1].sum(axis=1) / (n * max(dim - 1, 1)), floor)

    edge = (np.sqrt(n) + np.sqrt(dim)) ** 2
    spread = (np.sqrt(n) + np.sqrt(dim)) * (1 / np.sqrt(n) + 1 / np.sqrt(dim)) ** (1 / 3)
    exact = (noise <= floor) & (total > 0)
    seen = values[:, -1] > total / (n * dim) * (edge + _NOISE_EDGE * spread)

    # l, the spike over the noise, solves (l + 1)(1 + g / l) = top value over noise, g = dim / n.
    ratio = dim / n
    excess = values[:, -1] / n / noise - 1 - ratio
    seen &= excess > 2 * np.sqrt(ratio)
    excess = np.where(seen, excess, 3 * np.sqrt(ratio))
    over = (excess + np.sqrt(excess**2 - 4 * ratio)) / 2
    alignment = (1 - ratio / over**2) / (1 + ratio / over)
    signal = np.where(exact, total / n, np.where(seen, over * noise, 0.0))
    return signal, noise, np.where(exact, 1.0, np.where(seen, np.maximum(alignment, 0.0), 0.0))


def _sign_evidence(
    along: NDArray[np.float64],
    agreement: NDArray[np.float64],
    known: NDArray[np.float64],
    touched: NDArray[np.bool_],
    undisturbed: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """(b,) sum of z-scores for the axis as it stands, negative for its opposite."""
    visible = ~touched.all(axis=1)
    moved = np.mean(_standard(along) * known, axis=1)
    correlations = np.arctanh(np.clip(np.stack([agreement, moved]), -0.999, 0.999)).sum(axis=0)
    fewer = np.sum(touched & (along < 0), axis=1) - np.sum(touched & (along > 0), axis=1)
    count = fewer / np.sqrt(np.maximum(touched.sum(axis=1), 1))
    decided = visible & undisturbed & (np.abs(count) > _CLEAR_COUNT)
    return np.where(decided, count, correlations * np.sqrt(along.shape[1]) + np.where(visible, count, 0.0))


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean 0 and deviation 1 along the last axis; constant rows become 0."""
    centred = values - values.mean(axis=-1, keepdims=True)
    return np.asarray(centred / (centred.std(axis=-1, keepdims=True) + 1e-30))
