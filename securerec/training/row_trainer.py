"""What trainers of whole cohorts have in common whose clients each change some rows of a shared matrix: draws, room for
the changes, threads, sums, and how a round ends. A kernel of its own trains a block of clients in each.
"""

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securerec.data.interactions import Interactions
from securerec.errors import RunError
from securerec.machine import usable_cores
from securerec.models.head import Heads
from securerec.models.scorers import Learner, ScoreFunctions
from securerec.training.cohort import CohortUpdate, IntegerSum, Table
from securerec.training.draws import Draws, Sampler, block_runner, client_keys


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A round of clients first..last-1, trained by one thread.

    table: (n_rows, dim) as broadcast. functions: trained in place. update: its counts, rows, changes and summed losses
    are filled in; NaN as a loss says that a client is no longer finite. scale, limit: rounded to integers, changes are
    added to `integers` (n_rows, dim) int64, where scale is above 0.
    """

    first: int
    last: int
    table: Table
    functions: ScoreFunctions
    draws: Draws
    update: CohortUpdate
    scale: float
    limit: float
    integers: NDArray[np.int64]


class RowTrainer(ABC):
    """Trains every client of a data set, one round a call; holds the buffers, not the model. The surface is that of
    `securerec.training.cohort.CohortTrainer`.
    """

    def __init__(
        self, model: Learner, train: Interactions, never_negative: Interactions, *, threads: int | None = None
    ) -> None:
        """`never_negative`: for each user the items that may not be drawn as its negatives (contains `train`)."""
        self.train_set = train
        self.heads = Heads.none(train.n_users, train.n_items)
        self.sampler = Sampler(train, never_negative, negatives=model.negatives)
        samples = np.diff(self.sampler.offsets)
        capacity = np.minimum(samples, train.n_items) + model.shared_rows
        self._starts = np.concatenate(([0], np.cumsum(capacity)))[:-1].astype(np.int64)
        self._rows = np.empty(capacity.sum(), np.int32)
        self._changes = np.empty((capacity.sum(), model.dim), np.float32)
        self.threads = threads or usable_cores()
        self._executor = ThreadPoolExecutor(self.threads) if self.threads > 1 else None
        self.run_blocks = block_runner(samples, self._executor, self.threads)

    @abstractmethod
    def _train_block(self, block: Block) -> int:
        """Train a block; returns how many coordinates met the limit."""

    @abstractmethod
    def _score_block(
        self, first: int, last: int, table: Table, functions: ScoreFunctions, update: CohortUpdate,
        candidates: NDArray[np.int32], out: NDArray[np.float32],
    ) -> None:  # fmt: skip
        """Fill rows first..last-1 of `out` with the candidates' logits, each client's by `table` with its own change
        added; candidates below 0 score 0.
        """

    def draw(self, rng: np.random.Generator) -> Draws:
        """This round's positives and fresh negatives; `rng` as made from the run's seed and the round."""
        return self.sampler.draw(client_keys(rng, self.train_set.n_users), self.run_blocks)

    def train(
        self, table: Table, functions: ScoreFunctions, draws: Draws, *, scale: float = 0.0, limit: int = 0
    ) -> tuple[ScoreFunctions, CohortUpdate, IntegerSum | None]:
        """One round for everybody from the shared matrix (n_rows, dim), as `CohortTrainer.train`.

        Raises RunError when a client's training diverges.
        """
        n_clients = self.train_set.n_users
        new = ScoreFunctions(functions.weights.copy(), functions.biases.copy())
        counts, losses = np.zeros(n_clients, np.int64), np.zeros(n_clients, np.float64)
        update = CohortUpdate(self._starts, counts, self._rows, self._changes, losses, new)
        sums = np.zeros((self.threads if scale else 1, *(table.shape if scale else (1, 1))), np.int64)
        saturated = np.zeros(self.threads, np.int64)

        def block(worker: int, first: int, last: int) -> None:
            integers = sums[worker if scale else 0]
            saturated[worker] = self._train_block(
                Block(first, last, table, new, draws, update, float(scale), float(limit), integers)
            )

        self.run_blocks(block)
        diverged = np.flatnonzero(~np.isfinite(losses))
        if diverged.size:
            raise RunError(
                f"local training of {diverged.size} of {n_clients} clients left the finite numbers (first: client "
                f"{diverged[0]}): lower the learning rates"
            )
        return new, update, IntegerSum(sums.sum(axis=0), int(saturated.sum())) if scale else None

    def untrained(self, functions: ScoreFunctions) -> CohortUpdate:
        """Nobody has changed anything."""
        counts = np.zeros(self.train_set.n_users, np.int64)
        return CohortUpdate(self._starts, counts, self._rows, self._changes, counts.astype(np.float64), functions)

    def score(self, table: Table, functions: ScoreFunctions, candidates: NDArray[np.int32]) -> NDArray[np.float32]:
        """Logits (n_users, n_candidates) of each user's candidates under one shared matrix."""
        return self.score_own(table, functions, self.untrained(functions), candidates)

    def score_own(
        self, table: Table, functions: ScoreFunctions, update: CohortUpdate, candidates: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """Logits (n_users, n_candidates) under each user's own view: `table` as it was broadcast, plus its own
        change.
        """
        out = np.empty(candidates.shape, np.float32)
        self.run_blocks(
            lambda _, first, last: self._score_block(first, last, table, functions, update, candidates, out)
        )
        return out
