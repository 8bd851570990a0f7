"""The cohort trainer: PFedRec's local training for many clients at once, without torch.

Source: Zhang, Long, Zhou, Yan, Zhang, Zhang, Yang, "Dual Personalization on Federated Recommendation", IJCAI 2023,
algorithm 1. `securerec.training.reference` is the same in plain torch, as the oracle.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securerec.data.interactions import Interactions
from securerec.errors import RunError
from securerec.machine import usable_cores
from securerec.models.head import Heads
from securerec.models.pfedrec import PFedRec, ScoreFunctions
from securerec.training import kernels
from securerec.training.draws import Draws, Sampler, block_runner, client_keys
from securerec.training.updates import Change, RowUpdates, digest_of

Table = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CohortUpdate:
    """What one round's local training changed. The arrays belong to the trainer and hold until its next round.

    Client c touched `rows[starts[c] : starts[c] + counts[c]]` (item numbers), and `delta` at the same places is
    `E_c - E`, the change of its own view of those item rows from the broadcast table. `losses` (n_clients,) float64 is
    each client's mean binary cross-entropy in nats. `functions`: what the clients score with after it.
    """

    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    rows: NDArray[np.int32]
    delta: NDArray[np.float32]
    losses: NDArray[np.float64]
    functions: ScoreFunctions

    def digest(self) -> str:
        """SHA-256 of everybody's changes, hex: equal updates have equal digests."""
        return digest_of(self, np.arange(len(self.counts)))

    def part(self, clients: NDArray[np.int64]) -> RowUpdates:
        """A copy of some clients' changes."""
        return RowUpdates.gathered(self, clients)

    def of(self, client: int) -> Change:
        """Touched rows (t,) and their change (t, dim) of one client."""
        span = slice(self.starts[client], self.starts[client] + self.counts[client])
        return self.rows[span], self.delta[span]


@dataclass(frozen=True, slots=True)
class IntegerSum:
    """The plain sum of rounded updates: `total` (n_items, dim) int64, and how many coordinates met the bound."""

    total: NDArray[np.int64]
    saturated: int


class CohortTrainer:
    """Trains every client of a data set, one round a call; holds the buffers, not the model."""

    def __init__(
        self, model: PFedRec, train: Interactions, never_negative: Interactions, *, heads: Heads | None = None,
        threads: int | None = None,
    ) -> None:  # fmt: skip
        """`never_negative`: for each user the items that may not be drawn as its negatives (contains `train`). `heads`:
        what is added to every score and not trained here.
        """
        self.model, self.train_set = model, train
        self.heads = heads or Heads.none(train.n_users, train.n_items)
        self.sampler = Sampler(train, never_negative, negatives=model.negatives)
        samples = np.diff(self.sampler.offsets)
        capacity = np.minimum(samples, train.n_items)
        self._starts = np.concatenate(([0], np.cumsum(capacity)))[:-1]
        self._rows = np.empty(capacity.sum(), np.int32)
        self._local = np.empty((capacity.sum(), model.dim), np.float32)
        self.threads = threads or usable_cores()
        self._executor = ThreadPoolExecutor(self.threads) if self.threads > 1 else None
        self.run_blocks = block_runner(samples, self._executor, self.threads)

    def draw(self, rng: np.random.Generator) -> Draws:
        """This round's positives and fresh negatives; `rng` as made from the run's seed and the round."""
        return self.sampler.draw(client_keys(rng, self.train_set.n_users), self.run_blocks)

    def train(
        self, table: Table, functions: ScoreFunctions, draws: Draws, *, scale: float = 0.0, limit: int = 0
    ) -> tuple[ScoreFunctions, CohortUpdate, IntegerSum | None]:
        """One round for everybody, from the broadcast `table` (n_items, dim).

        Returns the new score functions (the old ones are left alone) and the update. With `scale` > 0 also the sum of
        all updates rounded to integers at `scale` units to 1 and held within +-limit: what a secure sum of the same
        integers would open, computed on the way. Raises RunError when a client's training diverges.
        """
        model, n_clients = self.model, self.train_set.n_users
        head, tastes = self.heads.head, self.heads.tastes
        new = ScoreFunctions(functions.weights.copy(), functions.biases.copy())
        counts = np.zeros(n_clients, np.int64)
        losses = np.zeros(n_clients, np.float64)
        sums = np.zeros((self.threads if scale else 1, *(table.shape if scale else (1, 1))), np.int64)
        saturated = np.zeros(self.threads, np.int64)

        def block(worker: int, first: int, last: int) -> None:
            saturated[worker] = kernels.train_block(
                first, last, table, new.weights, new.biases, head.base, head.directions, tastes,
                draws.offsets, draws.codes, model.batch_size, model.epochs,
                np.float32(model.score_lr), np.float32(model.item_lr(self.train_set.n_items)),
                self._starts, counts, self._rows, self._local,
                float(scale), float(limit), scale > 0, sums[worker if scale else 0], losses,
            )  # fmt: skip

        self.run_blocks(block)
        diverged = np.flatnonzero(~np.isfinite(losses))
        if diverged.size:
            raise RunError(
                f"local training of {diverged.size} of {n_clients} clients left the finite numbers (first: client "
                f"{diverged[0]}): lower the learning rates"
            )
        losses /= np.maximum(np.diff(draws.offsets) * model.epochs, 1)
        update = CohortUpdate(self._starts, counts, self._rows, self._local, losses, new)
        total = IntegerSum(sums.sum(axis=0), int(saturated.sum())) if scale else None
        return new, update, total

    def untrained(self, functions: ScoreFunctions) -> CohortUpdate:
        """Nobody has changed anything."""
        counts = np.zeros(self.train_set.n_users, np.int64)
        return CohortUpdate(self._starts, counts, self._rows, self._local, counts.astype(np.float64), functions)

    def score(self, table: Table, functions: ScoreFunctions, candidates: NDArray[np.int32]) -> NDArray[np.float32]:
        """Logits (n_users, n_candidates) of each user's candidates under one shared item table."""
        out = np.empty(candidates.shape, np.float32)
        head, tastes = self.heads.head, self.heads.tastes
        self.run_blocks(
            lambda _, first, last: kernels.score_block(
                first, last, table, functions.weights, functions.biases, head.base, head.directions, tastes,
                candidates, out,
            )
        )  # fmt: skip
        return out

    def score_own(
        self, table: Table, functions: ScoreFunctions, update: CohortUpdate, candidates: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """Logits (n_users, n_candidates) under each user's own view: `table` as it was broadcast, plus its own
        change.
        """
        out = self.score(table, functions, candidates)
        self.run_blocks(
            lambda _, first, last: kernels.change_block(
                first, last, functions.weights, update.starts, update.counts, update.rows, update.delta,
                self.train_set.n_items, candidates, out,
            )
        )  # fmt: skip
        return out
