"""The cohort trainer of FedNCF. `securerec.training.reference_network` is the same in plain torch, as the oracle."""

import numpy as np
from numpy.typing import NDArray

from securerec.data.interactions import Interactions
from securerec.models.fedncf import NETWORK_GAIN, FedNCF
from securerec.models.scorers import ScoreFunctions
from securerec.training import network_kernels
from securerec.training.cohort import CohortUpdate, Table
from securerec.training.row_trainer import Block, RowTrainer


class NetworkTrainer(RowTrainer):
    """Trains every client of a data set, one round a call; holds the buffers, not the model."""

    def __init__(
        self, model: FedNCF, train: Interactions, never_negative: Interactions, *, threads: int | None = None
    ) -> None:
        """As `RowTrainer`."""
        super().__init__(model, train, never_negative, threads=threads)
        self.model = model
        sizes = [(inputs + 1) * outputs for inputs, outputs in model.layers]
        layers = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        self._network = (
            train.n_items, np.array(model.widths, np.int64), layers, np.array([NETWORK_GAIN], np.float32), model.dual
        )  # fmt: skip

    def _train_block(self, block: Block) -> int:
        model, update = self.model, block.update
        return network_kernels.train_block(
            block.first, block.last, block.table, block.functions.weights, *self._network,
            block.draws.offsets, block.draws.codes, model.batch_size, model.epochs,
            np.float32(model.score_lr), np.float32(model.item_lr(self.train_set.n_items)),
            update.starts, update.counts, update.rows, update.delta,
            block.scale, block.limit, block.scale > 0, block.integers, update.losses,
        )  # fmt: skip

    def _score_block(
        self, first: int, last: int, table: Table, functions: ScoreFunctions, update: CohortUpdate,
        candidates: NDArray[np.int32], out: NDArray[np.float32],
    ) -> None:  # fmt: skip
        network_kernels.score_block(
            first, last, table, functions.weights, *self._network,
            update.starts, update.counts, update.rows, update.delta, candidates, out,
        )  # fmt: skip
