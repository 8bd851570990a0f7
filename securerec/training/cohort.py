"""The cohort trainer: PFedRec's local training for many clients at once, without torch.

Source: Zhang, Long, Zhou, Yan, Zhang, Zhang, Yang, "Dual Personalization on Federated Recommendation", IJCAI 2023,
algorithm 1. `securerec.training.reference` is the same in plain torch, as the oracle.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

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

SAMPLES_AT_ONCE = 1 << 16
"""Samples of the clients that a thread takes on at once where a round is streamed."""


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


@dataclass(frozen=True, slots=True)
class StreamedRound:
    """What is left of a round whose changes were only summed.

    functions: after training. losses: (n_clients,) float64, as of `CohortUpdate`. total: as of `CohortTrainer.train`.
    scores: logits of the candidates under each user's own view, or None where there were none.
    """

    functions: ScoreFunctions
    losses: NDArray[np.float64]
    total: IntegerSum
    scores: NDArray[np.float32] | None


class CohortTrainer:
    """Trains every client of a data set, one round a call; holds the buffers, not the model.

    `train` keeps everybody's changes, in as much memory as all touched rows need; `stream` does not.
    """

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
        self._samples = np.diff(self.sampler.offsets)
        self.threads = threads or usable_cores()
        self._executor = ThreadPoolExecutor(self.threads) if self.threads > 1 else None
        self.run_blocks = block_runner(self._samples, self._executor, self.threads)
        self._shape = (0,) * model.dim

    @cached_property
    def _kept(self) -> "_Changes":
        """Room for everybody's changes, made for the first round that keeps them."""
        capacity = np.minimum(self._samples, self.train_set.n_items)
        starts = np.concatenate(([0], np.cumsum(capacity)))[:-1]
        return _Changes.empty(starts, int(capacity.sum()), self.model.dim)

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
        table = self._checked(table, functions)
        new, kept = ScoreFunctions(functions.weights.copy(), functions.biases.copy()), self._kept
        losses, sums = np.zeros(self.train_set.n_users, np.float64), _Sums.zero(self.threads, table, scale, limit)

        def block(worker: int, first: int, last: int) -> None:
            mine = slice(first, last)
            changes = _Changes(kept.starts[mine], kept.counts[mine], kept.rows, kept.delta)
            codes = draws.codes[draws.offsets[first] : draws.offsets[last]]
            self._train_some(mine, table, new, codes, changes, sums, worker, losses)

        self.run_blocks(block)
        self._finish(losses)
        update = CohortUpdate(kept.starts, kept.counts, kept.rows, kept.delta, losses, new)
        return new, update, sums.total() if scale else None

    def stream(
        self, table: Table, functions: ScoreFunctions, rng: np.random.Generator, *, scale: float, limit: int,
        candidates: NDArray[np.int32] | None = None, into: ScoreFunctions | None = None,
        samples_at_once: int = SAMPLES_AT_ONCE,
    ) -> StreamedRound:  # fmt: skip
        """`draw`, `train` and, for `candidates` (n_users, n), `score_own`, in one pass that keeps nobody's changes.

        Gives the same numbers as those three, to the bit, whatever the threads and `samples_at_once`. Memory does not
        grow with the cohort but for what is returned. `into` receives the new score functions: it may be `functions`
        itself, or lie in a file (`securerec.training.private_state`). Raises RunError when a client's training
        diverges; what `into` holds is of no use then.
        """
        table = self._checked(table, functions)
        keys = client_keys(rng, self.train_set.n_users)
        new = into or ScoreFunctions(
            *(np.empty(part.shape, np.float32) for part in (functions.weights, functions.biases))
        )
        losses, sums = np.zeros(self.train_set.n_users, np.float64), _Sums.zero(self.threads, table, scale, limit)
        scores = None if candidates is None else np.empty(candidates.shape, np.float32)
        offsets = self.sampler.offsets
        chunks = iter(_chunks(offsets, samples_at_once))
        room = min(int(self._samples.max(initial=0)), self.train_set.n_items)

        def work(worker: int) -> None:
            # All threads take from one iterator, so that none waits for another before the end.
            for first, last in chunks:
                mine = slice(first, last)
                codes = np.empty(offsets[last] - offsets[first], np.int32)
                self.sampler.fill(first, last, keys, codes)
                if new is not functions:
                    new.weights[mine], new.biases[mine] = functions.weights[mine], functions.biases[mine]
                changes = _Changes.empty(np.zeros(last - first, np.int64), room, self.model.dim)
                self._train_some(mine, table, new, codes, changes, sums, worker, losses, candidates, scores)

        if self._executor is None:
            work(0)
        else:
            for future in [self._executor.submit(work, worker) for worker in range(self.threads)]:
                future.result()
        self._finish(losses)
        return StreamedRound(new, losses, sums.total(), scores)

    def _train_some(
        self, clients: slice, table: Table, functions: ScoreFunctions, codes: NDArray[np.int32], changes: "_Changes",
        sums: "_Sums", worker: int, losses: NDArray[np.float64], candidates: NDArray[np.int32] | None = None,
        scores: NDArray[np.float32] | None = None,
    ) -> None:  # fmt: skip
        """Train these clients on their samples `codes`, in place of `functions`; `changes` is theirs alone."""
        model, head, n_clients = self.model, self.heads.head, clients.stop - clients.start
        offsets = self.sampler.offsets[clients.start : clients.stop + 1]
        if candidates is None or scores is None:
            wanted, logits = np.empty((n_clients, 0), np.int32), np.empty((n_clients, 0), np.float32)
        else:
            wanted, logits = candidates[clients], scores[clients]
        sums.saturated[worker] += kernels.train_block(
            self._shape, 0, n_clients, table, _plain(functions.weights[clients]), _plain(functions.biases[clients]),
            head.base, head.directions, self.heads.tastes[clients], offsets - offsets[0], codes,
            model.batch_size, model.epochs, np.float32(model.score_lr), np.float32(model.score_lr * model.bias),
            np.float32(model.item_lr(self.train_set.n_items)), model.post_tuning,
            changes.starts, changes.counts, changes.rows, changes.delta,
            sums.scale > 0, sums.scale, sums.limit, sums.integers[worker], losses[clients], wanted, logits,
        )  # fmt: skip

    def _checked(self, table: Table, functions: ScoreFunctions) -> Table:
        """The table as the kernels take it. Raises ValueError when it or the score functions have another shape."""
        n_users, n_items, dim = self.train_set.n_users, self.train_set.n_items, self.model.dim
        if table.shape[1] != dim or len(table) < n_items or functions.weights.shape != (n_users, dim):
            raise ValueError(
                f"a table {table.shape} and score functions {functions.weights.shape} where {n_users} users, {n_items} "
                f"items and dim {dim} were told"
            )
        return _plain(table)

    def _finish(self, losses: NDArray[np.float64]) -> None:
        """Make the clients' summed losses means. Raises RunError when a client's training has diverged."""
        diverged = np.flatnonzero(~np.isfinite(losses))
        if diverged.size:
            raise RunError(
                f"local training of {diverged.size} of {len(losses)} clients left the finite numbers (first: client "
                f"{diverged[0]}): lower the learning rates"
            )
        losses /= np.maximum(self._samples * self.model.epochs, 1)

    def untrained(self, functions: ScoreFunctions) -> CohortUpdate:
        """Nobody has changed anything."""
        nothing = _Changes.empty(np.zeros(self.train_set.n_users, np.int64), 0, self.model.dim)
        losses = np.zeros(self.train_set.n_users, np.float64)
        return CohortUpdate(nothing.starts, nothing.counts, nothing.rows, nothing.delta, losses, functions)

    def score(self, table: Table, functions: ScoreFunctions, candidates: NDArray[np.int32]) -> NDArray[np.float32]:
        """Logits (n_users, n_candidates) of each user's candidates under one shared item table."""
        return self.score_own(table, functions, self.untrained(functions), candidates)

    def score_own(
        self, table: Table, functions: ScoreFunctions, update: CohortUpdate, candidates: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """Logits (n_users, n_candidates) under each user's own view: `table` as it was broadcast, plus its own
        change.
        """
        table, weights, biases = self._checked(table, functions), _plain(functions.weights), _plain(functions.biases)
        out = np.empty(candidates.shape, np.float32)
        head, tastes = self.heads.head, self.heads.tastes
        self.run_blocks(
            lambda _, first, last: kernels.score_block(
                self._shape, first, last, table, weights, biases, head.base, head.directions, tastes,
                update.starts, update.counts, update.rows, update.delta, candidates, out,
            )
        )  # fmt: skip
        return out


@dataclass(frozen=True, slots=True)
class _Changes:
    """Where the kernel leaves what clients changed, as in `CohortUpdate`."""

    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    rows: NDArray[np.int32]
    delta: NDArray[np.float32]

    @classmethod
    def empty(cls, starts: NDArray[np.int64], room: int, dim: int) -> "_Changes":
        return cls(starts, np.zeros(len(starts), np.int64), np.empty(room, np.int32), np.empty((room, dim), np.float32))


@dataclass(frozen=True, slots=True)
class _Sums:
    """What each thread has added up: `integers` (threads, n_items, dim) int64, `saturated` (threads,) int64.

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
