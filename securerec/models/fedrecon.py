"""FedRecon: each round a device rebuilds its private vector before it tunes item rows by it.

Source: Singhal, Sidahmed, Garrett, Wu, Rush, Prakash, "Federated Reconstruction: Partially Local Federated Learning",
NeurIPS 2021, algorithm 1, with matrix factorisation as the learner. The score of item i is `e_i . w_u`. A round's
samples are halved: on the support half `w_u` is rebuilt from zero with the item rows frozen, on the query half the item
rows step with `w_u` frozen. Nothing private outlives a round.

With dual personalisation ("Dual Personalization on Federated Recommendation", IJCAI 2023) the vector is the device's
lasting score function: it goes on from where the last round left it, on the support half. The item rows are tuned by
it on the whole round's samples, as post-tuning does, and the device scores by its own view of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from securerec.models.scorers import Rows, ScoreFunctions


@dataclass(frozen=True, slots=True)
class FedRecon:
    """Hyper-parameters, as of `PFedRec`. score_lr: of the vector. epochs: passes over the samples that tune item rows.
    rebuilding_epochs: passes over the support half.
    """

    dim: int = 32
    score_lr: float = 0.1
    item_lr_factor: float = 8.0
    batch_size: int = 256
    negatives: int = 4
    epochs: int = 1
    rebuilding_epochs: int = 10
    table_scale: float = 1.0
    dual: bool = True

    @property
    def shared_rows(self) -> int:
        """None: only item rows are shared."""
        return 0

    @property
    def private_width(self) -> int:
        return self.dim

    def with_frozen_items(self) -> "FedRecon":
        """The same with item rows that do not move."""
        return replace(self, item_lr_factor=0.0)

    def initial_table(self, n_items: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """(n_items, dim) normal entries of deviation `table_scale`."""
        return (self.table_scale * rng.standard_normal((n_items, self.dim))).astype(np.float32)

    def initial_functions(self, n_users: int, rng: np.random.Generator) -> ScoreFunctions:
        """Zero."""
        return ScoreFunctions(np.zeros((n_users, self.dim), np.float32), np.zeros(n_users, np.float32))

    def logits(self, table: NDArray[np.float32], functions: ScoreFunctions) -> NDArray[np.float32]:
        """`e_i . w_u` (m, n_items) of m devices under one table (n_items, dim)."""
        return np.asarray(functions.weights @ table.T, np.float32)

    def own_logits(
        self, table: NDArray[np.float32], functions: ScoreFunctions, changes: Sequence[Rows]
    ) -> NDArray[np.float32]:
        """The same, each device by its own view: `table` with its own change of some rows added."""
        scores = self.logits(table, functions)
        for place, (rows, change) in enumerate(changes):
            scores[place, rows] += change @ functions.weights[place]
        return scores
