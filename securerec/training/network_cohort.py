"""The cohort trainer of FedNCF. `securerec.training.reference_network` is the same in plain torch, as the oracle."""

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  what kernels multiply by: it must be loaded for its threads to be limited
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from securerec.data.interactions import Interactions
from securerec.models.fedncf import NETWORK_GAIN, FedNCF
from securerec.models.scorers import ScoreFunctions
from securerec.training import network_kernels
from securerec.training.draws import Draws
from securerec.training.row_trainer import SAMPLES_AT_ONCE, Block, Keep, RowTrainer, StreamedRound
from securerec.training.updates import CohortUpdate, IntegerSum, Table


class NetworkTrainer(RowTrainer):
    """Trains every client of a data set, one round a call; holds the buffers, not the model.

    The kernels multiply by BLAS, which must not start threads of its own beside ours: it would be slower, and sums of
    floats, and so the uploads, would depend on how many.
    """

    def __init__(
        self, model: FedNCF, train: Interactions, never_negative: Interactions, *, threads: int | None = None
    ) -> None:
        """As `RowTrainer`."""
        super().__init__(model, train, never_negative, threads=threads)
        self.model = model
        self._network = (
            train.n_items, np.array(model.widths, np.int64), np.array([NETWORK_GAIN], np.float32), model.dual
        )  # fmt: skip

    def train(
        self, table: Table, functions: ScoreFunctions, draws: Draws, *, scale: float = 0.0, limit: int = 0
    ) -> tuple[ScoreFunctions, CohortUpdate, IntegerSum | None]:
        """As `RowTrainer.train`."""
        with threadpool_limits(1, "blas"):
            return super().train(table, functions, draws, scale=scale, limit=limit)

    def stream(
        self, table: Table, functions: ScoreFunctions, rng: np.random.Generator, *, scale: float = 0.0, limit: int = 0,
        candidates: NDArray[np.int32] | None = None, into: ScoreFunctions | None = None, keep: Keep | None = None,
        samples_at_once: int = SAMPLES_AT_ONCE,
    ) -> StreamedRound:  # fmt: skip
        """As `RowTrainer.stream`."""
        with threadpool_limits(1, "blas"):
            return super().stream(
                table, functions, rng, scale=scale, limit=limit, candidates=candidates, into=into, keep=keep,
                samples_at_once=samples_at_once,
            )  # fmt: skip

    def score_own(
        self, table: Table, functions: ScoreFunctions, update: CohortUpdate, candidates: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """As `RowTrainer.score_own`."""
        with threadpool_limits(1, "blas"):
            return super().score_own(table, functions, update, candidates)

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
