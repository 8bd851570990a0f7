"""The private head: what a device makes of its own list, the items' public features and a popularity everybody knows.

Device u fits a multinomial logit over the whole catalogue, with a base score for each item and a Gaussian prior on its
own taste for each feature. Nothing of the fit leaves the device: it is a part of PFedRec's private score function,
which adds `w_u . e_i` to it.
"""

from dataclasses import dataclass, field

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.special
from numpy.typing import NDArray

from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.models.neighbours import LATE, recency_matrix

Floats = NDArray[np.float32]

YEAR_STEPS = (1935, 1945, 1955, 1965, 1972, 1979, 1984, 1988, 1991, 1993, 1994, 1995, 1996, 1997, 1998)
LATER_STEPS = (2000, 2003, 2006, 2009, 2012, 2015, 2018, 2021, 2024)
"""Further steps, for catalogues that go on; a step that no item has reached tells nothing and is left out."""
MISSING_YEAR = 1990
GENRE_PRECISION, YEAR_PRECISION, POPULARITY_PRECISION = 8.0, 3.0, 10.0
"""Prior precision of a device's taste for a genre, for a step of years, and for popularity's logarithm."""
GROWTH = np.float32(0.3)
"""Learnt features are scaled by this, beside a prior precision of 1."""
RECENCY = 0.8
"""The k-th newest interaction (k = 0, 1, ...) weighs (1 + k)^-RECENCY."""
MASS = 6.0
"""The weights of a device's n interactions add up to MASS sqrt(n)."""
STEPS = 12
TOGETHER = 64
"""Devices whose scores are taken in one matrix product, always as many: rows of zeros stand in for those that are
missing. A product of another shape may round otherwise, and a device alone is to find what it finds in a cohort.
"""


@dataclass(frozen=True, slots=True, eq=False)
class PublicFeatures:
    """What everybody knows of the items: `values` (n_items, d) float32, and the prior's `precision` (d,) float64."""

    values: Floats
    precision: NDArray[np.float64]


def public_features(dataset: Dataset) -> PublicFeatures:
    """Genres as 0 and 1, and years as steps: 1 from each of some years on. Columns that are the same for all items are
    left out.
    """
    years = np.where(dataset.years > 0, dataset.years, MISSING_YEAR)
    steps = years[:, None] >= np.array([*YEAR_STEPS, *LATER_STEPS])
    values = np.concatenate([dataset.genres, steps], axis=1)
    precision = np.repeat([GENRE_PRECISION, YEAR_PRECISION], [dataset.genres.shape[1], steps.shape[1]])
    telling = values.any(axis=0) & ~values.all(axis=0)
    return PublicFeatures(values[:, telling].astype(np.float32), precision[telling])


NO_INPUTS = np.zeros((0, 0), np.float32)
"""Of a head without an item-item model."""
NO_INPUTS.setflags(write=False)


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The part of the score functions that everybody has alike.

    base: (n_items,) float32, an item's score for somebody of whom nothing is known. directions: (n_items, d) float32,
    features in coordinates in which the prior of a taste is the standard normal, and the curvature of the likelihood at
    the prior's mean is diagonal. inputs: (n_items, k) float32 of an item-item model (`securerec.models.neighbours`), k
    = 0 without one: its outputs are the last k of the directions, and a device's tastes along them are not fitted, but
    the sum of its list's inputs, newer ones weighing more.
    """

    base: Floats
    directions: Floats
    inputs: Floats = field(default_factory=lambda: NO_INPUTS)

    @property
    def fitted(self) -> int:
        """How many directions tastes are fitted along: the first ones."""
        return self.directions.shape[1] - self.inputs.shape[1]

    def logits(self, tastes: Floats) -> Floats:
        """Scores (m, n_items) of devices with these tastes (m, d)."""
        return tastes @ self.directions.T + self.base


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """Every device's: the common part, and each one's own `tastes` (n_users, d) float32, which never leave it."""

    head: Head
    tastes: Floats = field(repr=False)

    def logits(self, users: NDArray[np.int64]) -> Floats:
        """Scores (m, n_items) of some devices."""
        return self.head.logits(self.tastes[users])

    @classmethod
    def none(cls, n_users: int, n_items: int) -> "Heads":
        """Heads that add nothing to a score."""
        directions, tastes = np.zeros((n_items, 0), np.float32), np.zeros((n_users, 0), np.float32)
        return cls(Head(np.zeros(n_items, np.float32), directions), tastes)


def grown(features: PublicFeatures, table: Floats) -> PublicFeatures:
    """With what devices learnt together of the items, (n_items, width), as further features, GROWTH of it."""
    values = np.concatenate([features.values, GROWTH * table], axis=1)
    return PublicFeatures(values, np.append(features.precision, np.ones(table.shape[1])))


def make_head(features: PublicFeatures, popularity: NDArray[np.float64]) -> Head:
    """From positive popularity (n_items,), whose logarithm is the base.

    The base itself is one more feature: a device's taste for what is popular.
    """
    base = np.log(popularity)
    values = np.concatenate([features.values.astype(np.float64), base[:, None]], axis=1)
    precision = np.append(features.precision, POPULARITY_PRECISION)
    share = np.exp(base - base.max())
    share /= share.sum()
    centred = values - share @ values
    covariance = (centred * share[:, None]).T @ centred
    curvature, turn = scipy.linalg.eigh(covariance, np.diag(precision))
    directions = centred @ turn[:, np.argsort(-curvature)]
    return Head(base.astype(np.float32), directions.astype(np.float32))


def weights_by_recency(interactions: Interactions, recency: float) -> NDArray[np.float64]:
    """(n_interactions,): each user's add up to MASS sqrt(its number), newer ones weighing more."""
    counts = interactions.counts()
    age = np.repeat(interactions.offsets[1:], counts) - 1 - np.arange(interactions.n_interactions)
    weights = (1.0 + age) ** -recency
    users = interactions.users()
    total = np.bincount(users, weights, minlength=interactions.n_users)
    return weights * (MASS * np.sqrt(counts) / np.maximum(total, 1e-300))[users]


def with_neighbours(heads: Heads, inputs: Floats, outputs: Floats, lists: Interactions, recency: float) -> Heads:
    """Every device's head with an item-item model, inputs and outputs (n_items, k), and each one's list in it."""
    head = Head(heads.head.base, np.concatenate([heads.head.directions, outputs], axis=1), inputs)
    return Heads(head, np.concatenate([heads.tastes, _neighbour_tastes(head, lists, recency)], axis=1))


def _neighbour_tastes(head: Head, lists: Interactions, recency: float) -> Floats:
    """(n_users, k)."""
    if not head.inputs.shape[1]:
        return np.zeros((lists.n_users, 0), np.float32)
    return np.asarray(recency_matrix(lists, LATE * recency) @ head.inputs, np.float32)


def fit_tastes(
    head: Head, interactions: Interactions, *, recency: float = RECENCY, weights: Floats | None = None,
    table: Floats | None = None,
) -> Floats:  # fmt: skip
    """Every device's taste (n_users, d): the maximum a posteriori of its own list under the head.

    argmax sum_i w_i eta_i - N log sum_j exp(eta_j) - |taste|^2 / 2 with eta = base + directions taste + table weights,
    w the list's weights by recency and N their sum. STEPS of gradient over curvature from zero, shortened towards the
    end. weights (n_users, dim), table (n_items, dim): what the score functions add already. Tastes
    along an item-item model's outputs stand last; nothing is fitted along or beside them, since it knows the list.
    """
    n_users = interactions.n_users
    by_recency = weights_by_recency(interactions, recency)
    lists = scipy.sparse.csr_array(
        (by_recency.astype(np.float32), interactions.items, interactions.offsets), shape=(n_users, interactions.n_items)
    )
    # each direction's variance under the base: the likelihood's curvature at zero, for one unit of weight
    directions = head.directions[:, : head.fitted]
    curvature = softmax(head.base[None].copy())[0] @ np.square(directions)
    mass = (MASS * np.sqrt(interactions.counts())).astype(np.float32)[:, None]
    tastes = np.zeros((n_users, head.fitted), np.float32)
    for first in range(0, n_users, TOGETHER):
        some = slice(first, min(first + TOGETHER, n_users))
        pull = _together(np.asarray(lists[some] @ directions, np.float32))
        masses = _together(mass[some])
        inverse = (1 / (1 + masses * curvature)).astype(np.float32)
        taste = np.zeros_like(pull)
        added = np.float32(0) if weights is None or table is None else _together(weights[some]) @ table.T
        for step in range(STEPS):
            expected = softmax(taste @ directions.T + head.base + added) @ directions
            length = np.float32(0.7 if step < STEPS - 2 else 0.5)
            taste += length * inverse * (pull - masses * expected - taste)
        tastes[some] = taste[: some.stop - first]
    return np.concatenate([tastes, _neighbour_tastes(head, interactions, recency)], axis=1)


def calibrated_biases(heads: Heads, negatives: int, weights: Floats, table: Floats) -> Floats:
    """(n_users,): what makes scores the logits of local training's task, to tell an item of the list from `negatives`
    items drawn uniformly.

    An item to which heads and score functions, weights (n_users, dim) on a table (n_items, dim), give the share p of
    the next choice is the positive with odds p n_items / negatives. An item-item model is left aside: what it
    adds for the list's own items would make a device sure of the rest of the catalogue, and its rounds learn nothing.
    """
    n_users, n_items = len(heads.tastes), len(heads.head.base)
    fitted = Head(heads.head.base, heads.head.directions[:, : heads.head.fitted])
    biases = np.empty(n_users, np.float32)
    for first in range(0, n_users, TOGETHER):
        some = slice(first, min(first + TOGETHER, n_users))
        logits = fitted.logits(_together(heads.tastes[some, : heads.head.fitted])) + _together(weights[some]) @ table.T
        biases[some] = np.log(n_items / negatives) - scipy.special.logsumexp(logits, axis=1)[: some.stop - first]
    return biases


def _together(rows: Floats) -> Floats:
    """(TOGETHER, n): rows (m, n), m at most TOGETHER, and zeros below them."""
    return rows if len(rows) == TOGETHER else np.pad(rows, ((0, TOGETHER - len(rows)), (0, 0)))


def softmax(logits: Floats) -> Floats:
    """Each row's shares, in place of the logits."""
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits
