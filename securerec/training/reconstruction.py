"""The cohort trainer of FedRecon. `securerec.training.reference_reconstruction` is the same in plain torch, as the
oracle.
"""

import numpy as np
from numpy.typing import NDArray

from securerec.data.interactions import Interactions
from securerec.models.fedrecon import FedRecon
from securerec.models.scorers import ScoreFunctions
from securerec.training import reconstruction_kernels as kernels
from securerec.training.cohort import CohortUpdate, Table
from securerec.training.row_trainer import Block, RowTrainer


class ReconstructionTrainer(RowTrainer):
    """Trains every client of a data set, one round a call; holds the buffers, not the model."""

    def __init__(
        self, model: FedRecon, train: Interactions, never_negative: Interactions, *, threads: int | None = None
    ) -> None:
        """As `RowTrainer`."""
        super().__init__(model, train, never_negative, threads=threads)
        self.model = model

    def _train_block(self, block: Block) -> int:
        model, update = self.model, block.update
        return kernels.train_block(
            block.first, block.last, block.table, block.functions.weights, model.dual,
            block.draws.offsets, block.draws.codes, model.batch_size, model.rebuilding_epochs, model.epochs,
            np.float32(model.score_lr), np.float32(model.item_lr_factor * self.train_set.n_items),
            update.starts, update.counts, update.rows, update.delta,
            block.scale, block.limit, block.scale > 0, block.integers, update.losses,
        )  # fmt: skip

    def _score_block(
        self, first: int, last: int, table: Table, functions: ScoreFunctions, update: CohortUpdate,
        candidates: NDArray[np.int32], out: NDArray[np.float32],
    ) -> None:  # fmt: skip
        kernels.score_block(
            first, last, table, functions.weights, update.starts, update.counts, update.rows, update.delta,
            candidates, out,
        )  # fmt: skip
