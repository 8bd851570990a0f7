"""What trainers of whole cohorts have in common whose clients each change some rows of a shared matrix: draws, room for
the changes, threads, sums, and how a round ends. A kernel of its own trains a block of clients in each.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from securerec.data.interactions import Interactions
from securerec.errors import RunError
from securerec.machine import usable_cores
from securerec.models.head import Heads
from securerec.models.scorers import Learner, ScoreFunctions
from securerec.training.draws import Draws, Sampler, block_runner, client_keys
from securerec.training.updates import CohortUpdate, IntegerSum, Table

SAMPLES_AT_ONCE = 1 << 16
"""Samples of the clients that a thread takes on at once where a round is streamed."""

Keep = Callable[[int, CohortUpdate], None]
"""Given the number of the first of some consecutive clients, and what they changed, the first of them as client 0.
Their arrays hold until it returns; threads call it at the same time."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A round of some clients, trained by one thread. All arrays but the table are theirs alone, and numbered by their
    place from `first` to `last` - 1.

    table: (n_rows, dim) as broadcast. functions: trained in place. update: its counts, rows, changes and mean losses
    are filled in; NaN as a loss says that a client is no longer finite. scale, limit: rounded to integers, changes are
    added to `integers` (n_rows, dim) int64, where scale is above 0. heads: what is added to their scores. candidates
    (n_clients, n), n may be 0: what to score by each client's own view after training, into `scores`; only for a
    trainer that `scores_while_training`.
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
    heads: Heads
    candidates: NDArray[np.int32]
    scores: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class StreamedRound:
    """What is left of a round whose changes were not kept in memory.

    functions: after training. losses: (n_clients,) float64, as of `CohortUpdate`. total: as of `RowTrainer.train`.
    scores: logits of the candidates under each user's own view, or None where there were none.
    """

    functions: ScoreFunctions
    losses: NDArray[np.float64]
    total: IntegerSum
    scores: NDArray[np.float32] | None


class RowTrainer(ABC):
    """Trains every client of a data set, one round a call; holds the buffers, not the model.

    `train` keeps everybody's changes, in as much memory as all touched rows need; `stream` does not.
    """

    scores_while_training = False
    """Whether `_train_block` scores candidates too, and so needs no client's change any more once it is trained."""

    def __init__(
        self, model: Learner, train: Interactions, never_negative: Interactions, *, heads: Heads | None = None,
        threads: int | None = None,
    ) -> None:  # fmt: skip
        """`never_negative`: for each user the items that may not be drawn as its negatives (contains `train`). `heads`:
        what is added to every score and not trained here.
        """
        self.train_set = train
        self.heads = heads or Heads.none(train.n_users, train.n_items)
        self.sampler = Sampler(train, never_negative, negatives=model.negatives)
        samples = np.diff(self.sampler.offsets)
        self._learner, self._room = model, np.minimum(samples, train.n_items) + model.shared_rows
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

    @cached_property
    def _kept(self) -> CohortUpdate:
        """Room for everybody's changes, made for the first round that keeps them."""
        nobody = ScoreFunctions(np.empty((0, 0), np.float32), np.empty(0, np.float32))
        return self._empty(_starts(self._room), int(self._room.sum()), np.empty(0), nobody)

    def train(
        self, table: Table, functions: ScoreFunctions, draws: Draws, *, scale: float = 0.0, limit: int = 0
    ) -> tuple[ScoreFunctions, CohortUpdate, IntegerSum | None]:
        """One round for everybody, from the shared matrix as it is broadcast (n_rows, dim).

        Returns the new score functions (the old ones are left alone) and the update. With `scale` > 0 also the sum of
        all updates rounded to integers at `scale` units to 1 and held within +-limit: what a secure sum of the same
        integers would open, computed on the way. Raises RunError when a client's training diverges, ValueError for
        draws of another cohort.
        """
        table = self._checked(table, functions)
        ours = self.sampler.offsets
        if draws.offsets is not ours and not np.array_equal(draws.offsets, ours) or len(draws.codes) != ours[-1]:
            raise ValueError("the draws are of other lists than the trainer's: draw with its own `draw`")
        new, kept = ScoreFunctions(functions.weights.copy(), functions.biases.copy()), self._kept
        losses, sums = np.zeros(self.train_set.n_users, np.float64), _Sums.zero(self.threads, table, scale, limit)
        update = CohortUpdate(kept.starts, kept.counts, kept.rows, kept.delta, losses, new)

        def block(worker: int, first: int, last: int) -> None:
            mine = slice(first, last)
            codes = draws.codes[draws.offsets[first] : draws.offsets[last]]
            self._train_some(mine, table, codes, _some(update, mine), sums, worker, None, None)

        self.run_blocks(block)
        require_finite(losses)
        return new, update, sums.total() if scale else None

    def stream(
        self, table: Table, functions: ScoreFunctions, rng: np.random.Generator, *, scale: float = 0.0, limit: int = 0,
        candidates: NDArray[np.int32] | None = None, into: ScoreFunctions | None = None, keep: Keep | None = None,
        samples_at_once: int = SAMPLES_AT_ONCE,
    ) -> StreamedRound:  # fmt: skip
        """`draw`, `train` and, for `candidates` (n_users, n), `score_own`, in one pass that keeps nobody's changes:
        `keep` is given them as they come, once they were summed and scored.

        Gives the same numbers as those three, to the bit, whatever the threads and `samples_at_once`. Memory does not
        grow with the cohort but for what is returned. `into` receives the new score functions: it may be `functions`
        itself, or lie in a file (`securerec.training.private_state`). Raises RunError when a client's training
        diverges; what `into` holds is of no use then.
        """
        table, n_clients = self._checked(table, functions), self.train_set.n_users
        keys, offsets = client_keys(rng, n_clients), self.sampler.offsets
        new = into or ScoreFunctions(
            *(np.empty(part.shape, np.float32) for part in (functions.weights, functions.biases))
        )
        losses, sums = np.zeros(n_clients, np.float64), _Sums.zero(self.threads, table, scale, limit)
        scores = None if candidates is None else np.empty(candidates.shape, np.float32)
        # nobody's changes are needed later: they may lie in the same place
        together = keep is None and (candidates is None or self.scores_while_training)
        most = int(self._room.max(initial=0))
        chunks = iter(_chunks(offsets, samples_at_once))

        def work(worker: int) -> None:
            # All threads take from one iterator, so that none waits for another before the end.
            for first, last in chunks:
                mine = slice(first, last)
                codes = np.empty(offsets[last] - offsets[first], np.int32)
                self.sampler.fill(first, last, keys, codes)
                if new is not functions:
                    new.weights[mine], new.biases[mine] = functions.weights[mine], functions.biases[mine]
                starts = np.zeros(last - first, np.int64) if together else _starts(self._room[mine])
                room = most if together else int(self._room[mine].sum())
                theirs = ScoreFunctions(_plain(new.weights[mine]), _plain(new.biases[mine]))
                update = self._empty(starts, room, losses[mine], theirs)
                self._train_some(mine, table, codes, update, sums, worker, candidates, scores)
                if keep is not None:
                    keep(first, update)

        if self._executor is None:
            work(0)
        else:
            for future in [self._executor.submit(work, worker) for worker in range(self.threads)]:
                future.result()
        require_finite(losses)
        return StreamedRound(new, losses, sums.total(), scores)

    def _train_some(
        self, clients: slice, table: Table, codes: NDArray[np.int32], update: CohortUpdate, sums: "_Sums", worker: int,
        candidates: NDArray[np.int32] | None, scores: NDArray[np.float32] | None,
    ) -> None:  # fmt: skip
        """Train these clients on their samples `codes`, and score their candidates; `update` is theirs alone,
        candidates and scores are everybody's.
        """
        n_clients, offsets = clients.stop - clients.start, self.sampler.offsets[clients.start : clients.stop + 1]
        heads = Heads(self.heads.head, self.heads.tastes[clients])
        if candidates is None or scores is None:
            wanted, logits = np.empty((n_clients, 0), np.int32), np.empty((n_clients, 0), np.float32)
        else:
            wanted, logits = candidates[clients], scores[clients]
        sums.saturated[worker] += self._train_block(
            Block(
                0, n_clients, table, update.functions, Draws(offsets - offsets[0], codes), update, sums.scale,
                sums.limit, sums.integers[worker], heads, wanted, logits,
            )
        )  # fmt: skip
        if wanted.size and not self.scores_while_training:
            self._score_block(0, n_clients, table, update.functions, update, wanted, logits)

    def _checked(self, table: Table, functions: ScoreFunctions) -> Table:
        """The table as the kernels take it. Raises ValueError when it or the score functions have another shape."""
        n_users, n_items, model = self.train_set.n_users, self.train_set.n_items, self._learner
        wanted = (n_users, model.private_width)
        short = len(table) < n_items + model.shared_rows
        if short or table.shape[1] != model.dim or functions.weights.shape != wanted:
            raise ValueError(
                f"a table {table.shape} and score functions {functions.weights.shape} where {n_users} users, {n_items} "
                f"items and dim {model.dim} were told"
            )
        return _plain(table)

    def _empty(
        self, starts: NDArray[np.int64], room: int, losses: NDArray[np.float64], functions: ScoreFunctions
    ) -> CohortUpdate:
        """Nobody has changed anything yet, with room for so many rows."""
        rows, delta = np.empty(room, np.int32), np.empty((room, self._learner.dim), np.float32)
        return CohortUpdate(starts, np.zeros(len(starts), np.int64), rows, delta, losses, functions)

    def untrained(self, functions: ScoreFunctions) -> CohortUpdate:
        """Nobody has changed anything."""
        n_clients = self.train_set.n_users
        return self._empty(np.zeros(n_clients, np.int64), 0, np.zeros(n_clients, np.float64), functions)

    def score(self, table: Table, functions: ScoreFunctions, candidates: NDArray[np.int32]) -> NDArray[np.float32]:
        """Logits (n_users, n_candidates) of each user's candidates under one shared matrix."""
        return self.score_own(table, functions, self.untrained(functions), candidates)

    def score_own(
        self, table: Table, functions: ScoreFunctions, update: CohortUpdate, candidates: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """Logits (n_users, n_candidates) under each user's own view: `table` as it was broadcast, plus its own
        change.
        """
        table = self._checked(table, functions)
        functions = ScoreFunctions(_plain(functions.weights), _plain(functions.biases))
        out = np.empty(candidates.shape, np.float32)
        self.run_blocks(
            lambda _, first, last: self._score_block(first, last, table, functions, update, candidates, out)
        )
        return out


@dataclass(frozen=True, slots=True)
class _Sums:
    """What each thread has added up: `integers` (threads, n_rows, dim) int64, `saturated` (threads,) int64.

    Whole numbers add up to the same in any order. With a `scale` of 0 nothing is added up.
    """

    scale: float
    limit: float
    integers: NDArray[np.int64]
    saturated: NDArray[np.int64]

    @classmethod
    def zero(cls, threads: int, table: Table, scale: float, limit: int) -> "_Sums":
        shape = table.shape if scale else (0, 0)
        return cls(float(scale), float(limit), np.zeros((threads, *shape), np.int64), np.zeros(threads, np.int64))

    def total(self) -> IntegerSum:
        return IntegerSum(self.integers.sum(axis=0), int(self.saturated.sum()))


def require_finite(losses: NDArray[np.float64]) -> None:
    """Raise RunError when a client's training has diverged."""
    diverged = np.flatnonzero(~np.isfinite(losses))
    if diverged.size:
        raise RunError(
            f"local training of {diverged.size} of {len(losses)} clients left the finite numbers (first: client "
            f"{diverged[0]}): lower the learning rates"
        )


def _some(update: CohortUpdate, clients: slice) -> CohortUpdate:
    """Of consecutive clients, in the same memory."""
    functions = ScoreFunctions(update.functions.weights[clients], update.functions.biases[clients])
    return CohortUpdate(
        update.starts[clients], update.counts[clients], update.rows, update.delta, update.losses[clients], functions
    )


def _starts(room: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each client's rows begin, when all lie one after another."""
    return np.concatenate(([0], np.cumsum(room)))[:-1].astype(np.int64)


def _chunks(offsets: NDArray[np.int64], samples_at_once: int) -> list[tuple[int, int]]:
    """Consecutive clients, as many as have no more samples than this together, at least one: (first, last + 1)."""
    chunks, first = [], 0
    while first < len(offsets) - 1:
        last = int(np.searchsorted(offsets, offsets[first] + samples_at_once, side="right")) - 1
        chunks.append((first, max(last, first + 1)))
        first = chunks[-1][1]
    return chunks


def _plain(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """As a contiguous array of the plain class, of the same memory where it is one (a mapped file is)."""
    return np.ascontiguousarray(values)
