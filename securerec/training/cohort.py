"""The cohort trainer: PFedRec's local training for many clients at once, without torch.

Source: Zhang, Long, Zhou, Yan, Zhang, Zhang, Yang, "Dual Personalization on Federated Recommendation", IJCAI 2023,
algorithm 1. `securerec.training.reference` is the same in plain torch, as the oracle.
"""

import numpy as np
from numpy.typing import NDArray

from securerec.data.interactions import Interactions
from securerec.models.head import Heads
from securerec.models.pfedrec import PFedRec, ScoreFunctions
from securerec.training import kernels
from securerec.training.row_trainer import Block, RowTrainer, StreamedRound
from securerec.training.updates import CohortUpdate, IntegerSum, Table

__all__ = ["CohortTrainer", "CohortUpdate", "IntegerSum", "StreamedRound", "Table"]


class CohortTrainer(RowTrainer):
    """Trains every client of a data set, one round a call; holds the buffers, not the model."""

    scores_while_training = True

    def __init__(
        self, model: PFedRec, train: Interactions, never_negative: Interactions, *, heads: Heads | None = None,
        threads: int | None = None,
    ) -> None:  # fmt: skip
        """As `RowTrainer`."""
        super().__init__(model, train, never_negative, heads=heads, threads=threads)
        self.model = model
        self._shape = (0,) * model.dim

    def _train_block(self, block: Block) -> int:
        model, update, head = self.model, block.update, block.heads.head
        saturated = kernels.train_block(
            self._shape, block.first, block.last, block.table, block.functions.weights, block.functions.biases,
            head.base, head.directions, block.heads.tastes, block.draws.offsets, block.draws.codes,
            model.batch_size, model.epochs, np.float32(model.score_lr), np.float32(model.score_lr * model.bias),
            np.float32(model.item_lr(self.train_set.n_items)), model.post_tuning,
            update.starts, update.counts, update.rows, update.delta,
            block.scale > 0, block.scale, block.limit, block.integers, update.losses, block.candidates, block.scores,
        )  # fmt: skip
        samples = np.diff(block.draws.offsets[block.first : block.last + 1])
        update.losses[block.first : block.last] /= np.maximum(samples * model.epochs, 1)
        return saturated

    def _score_block(
        self, first: int, last: int, table: Table, functions: ScoreFunctions, update: CohortUpdate,
        candidates: NDArray[np.int32], out: NDArray[np.float32],
    ) -> None:  # fmt: skip
        head, tastes = self.heads.head, self.heads.tastes
        kernels.score_block(
            self._shape, first, last, table, functions.weights, functions.biases, head.base, head.directions, tastes,
            update.starts, update.counts, update.rows, update.delta, candidates, out,
        )  # fmt: skip
