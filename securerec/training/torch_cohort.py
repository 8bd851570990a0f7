"""The batched trainer: local training of every learner in torch, many clients at once, for a GPU.

Clients draw the same samples and step in the same order as in the compiled trainers, so that the results agree but for
float32 rounding. Gradients are autograd's; `securerec.training.torch_learners` says what each learner scores and when
what steps.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from securerec.data.interactions import Interactions
from securerec.machine import usable_cores
from securerec.models.head import Heads
from securerec.models.scorers import Learner, ScoreFunctions
from securerec.training.draws import Draws, Sampler, block_runner, client_keys
from securerec.training.kernels import LEAST_LIKELIHOOD
from securerec.training.row_trainer import Keep, StreamedRound, require_finite
from securerec.training.torch_chunks import Batch, Chunk, cut
from securerec.training.torch_guards import deterministic, enough_memory, settle_cublas
from securerec.training.torch_learners import Stage, score_model
from securerec.training.torch_update import Changes, DeviceUpdate, add_rounded, changes_at, moved
from securerec.training.updates import CohortUpdate, IntegerSum, Table

MEMORY = 4 << 30
"""Bytes that a chunk of clients may take. Not what happens to be free: the same cohort is always cut alike, since
matrix products of another number of clients may differ in their last bits."""

MOST_NATS = -float(np.log(LEAST_LIKELIHOOD))
"""That a sample adds to a client's loss at most, as in `securerec.training.kernels`."""


class TorchTrainer:
    """Trains every client of a data set, one round a call; holds no model. The surface is that of
    `securerec.training.row_trainer.RowTrainer`.
    """

    def __init__(
        self, model: Learner, train: Interactions, never_negative: Interactions, device: torch.device, *,
        heads: Heads | None = None, memory: int = MEMORY, threads: int | None = None,
    ) -> None:  # fmt: skip
        """`never_negative`, `heads`: as of `RowTrainer`; threads only draw. memory: bytes a chunk of clients may
        take on the device.

        Raises ValueError for a learner that is not known here.
        """
        if device.type == "cuda":
            settle_cublas()
        self.model, self.train_set, self.device, self._memory = model, train, device, memory
        self.heads = heads or Heads.none(train.n_users, train.n_items)
        self._scores = score_model(model, train.n_items)
        self.sampler = Sampler(train, never_negative, negatives=model.negatives)
        samples = np.diff(self.sampler.offsets)
        threads = threads or usable_cores()
        self._run_blocks = block_runner(samples, ThreadPoolExecutor(threads) if threads > 1 else None, threads)
        head = self.heads.head
        self._base, self._directions = self._sent(head.base), self._sent(head.directions)
        numbers = self._scores.numbers + head.directions.shape[1]
        self._chunks = cut(
            samples, batch_size=self._scores.batch_size, dim=model.dim, numbers=numbers, private=model.private_width,
            memory=memory,
        )  # fmt: skip

    def _sent(self, values: NDArray[np.float32]) -> Tensor:
        """A copy on the device."""
        return torch.tensor(values, device=self.device)

    def draw(self, rng: np.random.Generator) -> Draws:
        """This round's positives and fresh negatives; `rng` as made from the run's seed and the round."""
        return self.sampler.draw(client_keys(rng, self.train_set.n_users), self._run_blocks)

    def train(
        self, table: Table, functions: ScoreFunctions, draws: Draws, *, scale: float = 0.0, limit: int = 0
    ) -> tuple[ScoreFunctions, CohortUpdate, IntegerSum | None]:
        """One round for everybody from the shared matrix (n_rows, dim), as `RowTrainer.train`.

        Raises RunError when a client's training diverges, or the device's memory does not suffice.
        """
        new = ScoreFunctions(np.empty_like(functions.weights), np.empty_like(functions.biases))
        parts: list[Changes] = []
        # Of a cohort whose changes are more than a chunk may take, they wait in the host's memory.
        kept = len(draws.codes) * (8 + 4 * self.model.dim) <= self._memory

        def take(clients: NDArray[np.int64], part: Changes, losses: NDArray[np.float64]) -> None:
            parts.append(part if kept else moved(part, torch.device("cpu")))

        losses, total = self._round(table, functions, draws, new, scale, limit, take)
        return new, DeviceUpdate(self._chunks, parts, len(table), losses, new), total if scale else None

    def stream(
        self, table: Table, functions: ScoreFunctions, rng: np.random.Generator, *, scale: float = 0.0, limit: int = 0,
        candidates: NDArray[np.int32] | None = None, into: ScoreFunctions | None = None, keep: Keep | None = None,
    ) -> StreamedRound:  # fmt: skip
        """`draw`, `train` and, for `candidates` (n_users, n), `score_own`, as `RowTrainer.stream`: nobody's changes are
        kept, but given to `keep` as they come. Draws of a whole round are held, 4 bytes a sample.

        Raises RunError as `train`; what `into` holds is of no use then.
        """
        new = into or ScoreFunctions(np.empty_like(functions.weights), np.empty_like(functions.biases))
        scores = None if candidates is None else np.empty(candidates.shape, np.float32)

        def take(clients: NDArray[np.int64], part: Changes, losses: NDArray[np.float64]) -> None:
            if candidates is not None and scores is not None:
                scores[clients] = self._score_chunk(clients, part, self._sent(table), new, candidates)
            if keep is not None:
                first = int(clients.min())
                theirs = new.of(np.arange(first, first + len(clients)))
                keep(first, DeviceUpdate([clients - first], [part], len(table), losses, theirs))

        losses, total = self._round(table, functions, self.draw(rng), new, scale, limit, take)
        return StreamedRound(new, losses, total, scores)

    @enough_memory()
    @torch.no_grad()
    def _round(
        self, table: Table, functions: ScoreFunctions, draws: Draws, new: ScoreFunctions, scale: float, limit: int,
        take: Callable[[NDArray[np.int64], Changes, NDArray[np.float64]], None],
    ) -> tuple[NDArray[np.float64], IntegerSum]:  # fmt: skip
        """Train everybody into `new`, and `take` each chunk's clients, changes and losses, the latter in the order of
        their numbers. Returns all losses and the sum of the rounded changes, of nothing where scale is 0.
        """
        losses = np.empty(self.train_set.n_users, np.float64)
        sent, codes = self._sent(table), torch.from_numpy(draws.codes).to(self.device)
        total, met = torch.zeros(table.shape if scale else (0, 0), dtype=torch.int64, device=self.device), 0
        counts = np.diff(draws.offsets)
        for clients in self._chunks:
            chunk = Chunk.of(counts[clients], draws.offsets[clients], codes, self.train_set.n_items)
            part, losses[clients] = self._train_chunk(chunk, clients, sent, functions, new)
            if scale:
                met += add_rounded(part, total, scale, limit)
            take(clients, part, losses[np.sort(clients)])
        require_finite(losses)
        return losses, IntegerSum(total.cpu().numpy(), met)

    def _train_chunk(
        self, chunk: Chunk, clients: NDArray[np.int64], table: Tensor, functions: ScoreFunctions, new: ScoreFunctions
    ) -> tuple[Changes, NDArray[np.float64]]:
        """Train these clients into `new`; returns their changes, and their mean losses (c,) in nats."""
        model, scores, n_rows = self.model, self._scores, len(table)
        weights, biases = self._sent(functions.weights[clients]), self._sent(functions.biases[clients])
        before = table[self.train_set.n_items :].expand(len(clients), -1, -1)
        own = scores.opened(torch.zeros_like(weights) if scores.forgets else weights, biases, before)
        tastes = self._sent(self.heads.tastes[clients])
        # The last row is that of samples that are not there.
        rows = torch.cat([table[chunk.items], table.new_zeros(1, model.dim)])
        items = torch.cat([chunk.items, chunk.items.new_zeros(1)])
        losses = torch.zeros(len(clients), dtype=torch.float64, device=self.device)
        samples, changed = np.zeros(len(clients), np.int64), torch.zeros_like(chunk.items, dtype=torch.bool)
        with deterministic():
            for part in scores.parts:
                for _ in range(part.epochs):
                    for batch in chunk.batches(part, scores.batch_size):
                        added = self._added(items[batch.places], tastes[: batch.active])
                        loss = self._step(own, rows, batch, added, part.stages)
                        losses[: batch.active] += loss * part.counted
        for part in scores.parts:
            first, last = chunk.span(part)
            samples += (last - first) * part.epochs * part.counted
            if part.stages != ("function",):
                changed |= chunk.touched(part)
        new.weights[clients], new.biases[clients], shared = self._read(own, before)
        change = rows[:-1] - table[chunk.items]
        travelled = shared - before
        # 0 times what is not finite is NaN, and makes its client's loss that.
        losses.index_add_(0, chunk.holders, (change * 0).sum(dim=1).double())
        losses += (travelled * 0).sum(dim=(1, 2)) + sum((each * 0).reshape(len(each), -1).sum(dim=1) for each in own)
        keys, change = (chunk.holders * n_rows + chunk.items)[changed], change[changed]
        if model.shared_rows:
            places = torch.arange(len(clients), device=self.device)[:, None] * n_rows
            network = places + torch.arange(self.train_set.n_items, n_rows, device=self.device)
            keys, order = torch.sort(torch.cat([keys, network.flatten()]))
            change = torch.cat([change, travelled.flatten(0, 1)])[order]
        return (keys, change), losses.cpu().numpy() / np.maximum(samples, 1)

    def _read(self, own: list[Tensor], before: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32], Tensor]:
        """Weights and biases on the host, shared rows on the device."""
        weights, biases, shared = self._scores.closed(own, before)
        return weights.cpu().numpy(), biases.cpu().numpy(), shared

    def _added(self, items: Tensor, tastes: Tensor) -> Tensor:
        """(c, b) what the private heads add to the scores of items (c, b)."""
        return self._base[items] + torch.bmm(self._directions[items], tastes[:, :, None])[:, :, 0]

    def _step(self, own: list[Tensor], rows: Tensor, batch: Batch, added: Tensor, stages: tuple[Stage, ...]) -> Tensor:
        """One batch: each stage's step, in place. Returns each client's summed loss before it, (active,) float64."""
        scores, loss = self._scores, torch.zeros((), dtype=torch.float64)
        for number, stage in enumerate(stages):
            items, mine = rows[batch.places], [part[: batch.active] for part in own]
            leaves = ([] if stage == "items" else mine) + ([] if stage == "function" else [items])
            with torch.enable_grad():
                for part in leaves:
                    part.requires_grad_()
                each = binary_cross_entropy_with_logits(
                    scores.logits(mine, items) + added, batch.labels, reduction="none"
                )
                gradients = torch.autograd.grad((each * batch.share).sum(), leaves)
            if number == 0:
                counted = torch.where(batch.share > 0, each.detach().clamp(max=MOST_NATS), 0)
                loss = counted.sum(dim=1, dtype=torch.float64)
            for part in leaves:
                part.requires_grad_(False)
            if stage != "items":
                for part, rate, gradient in zip(mine, scores.rates, gradients, strict=False):
                    part -= rate * gradient
            if stage != "function":
                # Without the places of nobody's samples: one row that many add to is added to one by one.
                step = gradients[-1].flatten(0, 1)[batch.there]
                rows.index_add_(0, batch.places.flatten()[batch.there], step, alpha=-scores.item_lr)
        return loss

    def untrained(self, functions: ScoreFunctions) -> CohortUpdate:
        """Nobody has changed anything."""
        keys, changes = torch.empty(0, dtype=torch.int64), torch.empty(0, self.model.dim)
        losses = np.zeros(self.train_set.n_users, np.float64)
        return DeviceUpdate(self._chunks, [(keys, changes)] * len(self._chunks), 1, losses, functions)

    def score(self, table: Table, functions: ScoreFunctions, candidates: NDArray[np.int32]) -> NDArray[np.float32]:
        """Logits (n_users, n_candidates) of each user's candidates under one shared matrix."""
        return self.score_own(table, functions, self.untrained(functions), candidates)

    def score_own(
        self, table: Table, functions: ScoreFunctions, update: CohortUpdate, candidates: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """Logits (n_users, n_candidates) under each user's own view: `table` as it was broadcast, plus its own change.

        `update` is one of this trainer's.
        """
        out, sent = np.empty(candidates.shape, np.float32), self._sent(table)
        for clients, part in zip(self._chunks, cast(DeviceUpdate, update).parts, strict=True):
            out[clients] = self._score_chunk(clients, part, sent, functions, candidates)
        return out

    @enough_memory()
    @torch.no_grad()
    def _score_chunk(
        self, clients: NDArray[np.int64], part: Changes, table: Tensor, functions: ScoreFunctions,
        candidates: NDArray[np.int32],
    ) -> NDArray[np.float32]:  # fmt: skip
        """Logits (c, n) of a chunk's clients, whose changes are `part`, for their rows of everybody's `candidates`."""
        n_rows, n_items, scores = len(table), len(table) - self.model.shared_rows, self._scores
        further, part = torch.arange(n_items, n_rows, device=self.device), moved(part, self.device)
        one = 4 * (candidates.shape[1] * scores.numbers + 2 * self.model.private_width) + 1
        at_once = max(1, self._memory // one)
        out = np.empty((len(clients), candidates.shape[1]), np.float32)
        for first in range(0, len(clients), at_once):
            some = clients[first : first + at_once]
            places = torch.arange(first, first + len(some), device=self.device)[:, None] * n_rows
            wanted = torch.tensor(candidates[some], device=self.device).long()
            items = wanted.clamp(min=0)
            shared = table[further] + changes_at(part, places + further)
            own = scores.opened(self._sent(functions.weights[some]), self._sent(functions.biases[some]), shared)
            logits = scores.logits(own, table[items] + changes_at(part, places + items))
            logits += self._added(items, self._sent(self.heads.tastes[some]))
            out[first : first + len(some)] = torch.where(wanted >= 0, logits, 0).cpu().numpy()
        return out
