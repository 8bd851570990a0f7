"""Item rows from which taste the next item was taken: what turns the heads of many devices into an item table.

A device walks through its list. What it took before an item says where its taste stood then (`loadings`), and the
item that followed, against what its head expected, is what item rows can learn from: the gradient of the likelihood of
each next item in the rows of a table that starts at zero. The devices' gradients, each of norm 1, are summed; the
server shrinks the noisy sum to what is more than noise. PFedRec's rounds go on from there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securerec.data.interactions import Interactions
from securerec.models.head import MASS, RECENCY, Floats, Head, softmax
from securerec.models.shrinkage import wiener

CONSTANT = 0.3
"""The first loading, the same for everybody; the others together are no longer than sqrt(1 - CONSTANT^2)."""
NEWER_FIRST = 0.3
"""The k-th newest item of a list weighs (1 + k)^-NEWER_FIRST in its gradient."""
_STEPS_AT_ONCE = 256
"""Of a walk: what bounds its memory for a long list."""
GAINS = (1.2, 1.0)
"""How much of the table of the first release a score function takes, and of the later ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """The directions of taste that item rows are about: the `width` ones that lists tell most of.

    directions: (n_items, width) float32; columns beyond those that the head has are zero. curvature: (width,) float32,
    the likelihood's along them, for one unit of weight. recency: as of the heads.
    """

    directions: Floats
    curvature: Floats
    recency: float = RECENCY

    @property
    def width(self) -> int:
        return self.directions.shape[1]

    @classmethod
    def of(cls, head: Head, width: int, recency: float = RECENCY) -> "Segments":
        """Of everybody's head."""
        missing = max(width - head.directions.shape[1], 0)
        directions = np.pad(head.directions[:, :width], ((0, 0), (0, missing)))
        return cls(directions, softmax(head.base[None].copy())[0] @ np.square(directions), recency)

    def walk(self, items: NDArray[np.int32]) -> Floats:
        """Loadings (n + 1, 1 + width) before each item of a list, oldest first, and after all. The first, before which
        nothing is known, are zero.
        """
        n, taken = len(items), self.directions[items].astype(np.float64)
        taste = np.empty((n + 1, self.width))
        for first in range(0, n + 1, _STEPS_AT_ONCE):
            steps = np.arange(first, min(first + _STEPS_AT_ONCE, n + 1))
            age = steps[:, None] - 1 - np.arange(n)
            weights = np.where(age >= 0, (1.0 + np.maximum(age, 0)) ** -self.recency, 0.0)
            weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
            taste[steps] = weights @ taken
        mass = MASS * np.sqrt(np.arange(n + 1))[:, None]
        taste *= mass / (1 + mass * self.curvature)
        length = np.linalg.norm(taste, axis=1, keepdims=True)
        taste *= np.sqrt(1 - CONSTANT**2) / np.maximum(length, CONSTANT)
        loadings = np.concatenate([np.full((n + 1, 1), CONSTANT), taste], axis=1)
        loadings[0] = 0.0
        return np.asarray(loadings, np.float32)

    def gradient(self, items: NDArray[np.int32], expected: Floats) -> Floats:
        """(n_items, 1 + width), of norm 1 or zero: the direction in which a list's likelihood grows fastest.

        expected: (n_items,) the shares that the device's head gives the items.
        """
        loadings = self.walk(items)[:-1]
        loadings *= (np.arange(len(items), 0, -1.0) ** -NEWER_FIRST).astype(np.float32)[:, None]
        gradient = -np.outer(expected, loadings.sum(axis=0))
        np.add.at(gradient, items, loadings)
        length = float(np.linalg.norm(gradient))
        return np.asarray(gradient / max(length, 1e-12), np.float32)


def shrunk(total: NDArray[np.float64], popularity: NDArray[np.float64], noise: float) -> Floats:
    """The item table (n_items, width) from the noisy sum of gradients, as much of it as is not noise: a row is the
    gradient over how often its item was met.

    noise: deviation of the sum's noise, 0 for none; popularity: as it was released.
    """
    return (wiener(total, noise, popularity, doubt=0.0) * (10 / (np.maximum(popularity, 0.0) + 18))[:, None]).astype(
        np.float32
    )


def next_loadings(segments: Segments, train: Interactions) -> Floats:
    """Every device's loadings after its whole list, (n_users, 1 + width)."""
    loadings = np.zeros((train.n_users, 1 + segments.width), np.float32)
    for user in range(train.n_users):
        loadings[user] = segments.walk(train.of(user))[-1]
    return loadings
