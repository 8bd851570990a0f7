"""What a learner must give so that the rounds, their privacy and their secure sums can train it.

A learner has a *shared matrix*, whose first rows are the items' and whose further rows, if any, hold numbers of a score
function that everybody shares; and a *private part* for each device. What leaves a device is always a change of the
shared matrix, whatever its rows mean.

Dual personalisation (IJCAI 2023) is a part that plugs in: with it the whole score function is private, and a device
tunes the item rows by its new score function (post-tuning) and scores by that view of its own; without it, score
function and item rows step at once, what the learner has of a network is shared, and the server's matrix scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Rows = tuple[NDArray[np.int32], NDArray[np.float32]]
"""Rows of the shared matrix (t,), no row twice, and a device's change of them (t, dim)."""


@dataclass(frozen=True, slots=True)
class ScoreFunctions:
    """The private part of every client: `weights` (n_users, private_width) float32, `biases` (n_users,) float32."""

    weights: NDArray[np.float32] = field(repr=False)
    biases: NDArray[np.float32] = field(repr=False)

    def of(self, users: NDArray[np.int64] | list[int]) -> "ScoreFunctions":
        """Only some clients'."""
        return ScoreFunctions(self.weights[users], self.biases[users])


class Learner(Protocol):
    """One scorer with its hyper-parameters; a frozen value. `securerec.training.trainers` knows who trains it."""

    @property
    def dim(self) -> int:
        """Length of a row of the shared matrix."""
        ...

    @property
    def negatives(self) -> int:
        """Drawn anew beside every positive in every round."""
        ...

    @property
    def dual(self) -> bool:
        """Whether it has dual personalisation; devices then score by their own view."""
        ...

    @property
    def shared_rows(self) -> int:
        """How many rows of the shared matrix follow the items'."""
        ...

    @property
    def private_width(self) -> int:
        """Numbers of one device's private part, its bias apart."""
        ...

    def with_frozen_items(self) -> "Learner":
        """The same with item rows that do not move, for devices that only make use of what others learnt."""
        ...

    def initial_table(self, n_items: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """The shared matrix (n_items + shared_rows, dim) before round 1, which anybody can compute."""
        ...

    def initial_functions(self, n_users: int, rng: np.random.Generator) -> ScoreFunctions:
        """The private parts before round 1, the same for every user."""
        ...

    def logits(self, table: NDArray[np.float32], functions: ScoreFunctions) -> NDArray[np.float32]:
        """Scores (m, n_items) of m devices' `functions` under one shared matrix."""
        ...

    def own_logits(
        self, table: NDArray[np.float32], functions: ScoreFunctions, changes: Sequence[Rows]
    ) -> NDArray[np.float32]:
        """Scores (m, n_items), each device by its own view: the shared matrix with its own change added."""
        ...
