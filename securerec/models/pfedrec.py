"""PFedRec: a private score function over a shared, mildly personalised item table.

Source: "Dual Personalization on Federated Recommendation", IJCAI 2023. User u scores item i by the logit
`e_i . w_u + b_u`; `w_u`, `b_u` never leave the device, and the item rows `e_i` are tuned after the score function in
each batch (post-tuning), so that every device has a view of the items that is its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from securerec.models.scorers import Rows, ScoreFunctions

__all__ = ["PFedRec", "ScoreFunctions"]


@dataclass(frozen=True, slots=True)
class PFedRec:
    """Hyper-parameters of local training; the defaults are the paper's code's.

    dim: length of an item row. score_lr: learning rate of the score function. item_lr_factor: the item rows' learning
    rate over n_items, see `item_lr`. batch_size: samples a step. negatives: drawn
    anew for every positive in every round. epochs: passes over the round's samples. table_scale, function_scale:
    deviation of the initial item table, and half-width of the initial score functions times sqrt(dim).
    post_tuning: in each batch the item rows step after the score function, by its new values; without it both step at
    once, by gradients taken at the same values. bias: score functions have a bias; without it biases are zero and stay.
    """

    dim: int = 32
    score_lr: float = 0.1
    item_lr_factor: float = 8.0
    batch_size: int = 256
    negatives: int = 4
    epochs: int = 1
    table_scale: float = 1.0
    function_scale: float = 1.0
    post_tuning: bool = True
    bias: bool = True

    @property
    def dual(self) -> bool:
        """Post-tuning is what this learner has of dual personalisation; without it the score function stays private all
        the same, since of a shared one nothing would be personal.
        """
        return self.post_tuning

    @property
    def shared_rows(self) -> int:
        """None: only item rows are shared."""
        return 0

    @property
    def private_width(self) -> int:
        return self.dim

    def item_lr(self, n_items: int) -> float:
        """Learning rate of the item rows, `item_lr_factor * n_items`.

        The paper's code has 0.1 x 80 x n_items: large, since the loss is a mean over a batch of which a row sees one
        sample.
        """
        return self.item_lr_factor * n_items

    def with_frozen_items(self) -> "PFedRec":
        """The same with item rows that do not move."""
        return replace(self, item_lr_factor=0.0)

    def initial_table(self, n_items: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """(n_items, dim) normal entries of deviation `table_scale`, as torch's Embedding has them at 1."""
        return (self.table_scale * rng.standard_normal((n_items, self.dim))).astype(np.float32)

    def initial_functions(self, n_users: int, rng: np.random.Generator) -> ScoreFunctions:
        """The same for every user: uniform in +-function_scale / sqrt(dim), as torch has a Linear layer at 1. Without
        `bias` that is zero.
        """
        width = self.function_scale / np.sqrt(self.dim)
        drawn = rng.uniform(-width, width, (1, self.dim + 1)).astype(np.float32)
        if not self.bias:
            drawn[0, -1] = 0
        return ScoreFunctions(np.repeat(drawn[:, :-1], n_users, axis=0), np.repeat(drawn[0, -1:], n_users))

    def logits(self, table: NDArray[np.float32], functions: ScoreFunctions) -> NDArray[np.float32]:
        """`e_i . w_u + b_u` (m, n_items) of m devices under one table (n_items, dim)."""
        return np.asarray(functions.weights @ table.T + functions.biases[:, None], np.float32)

    def own_logits(
        self, table: NDArray[np.float32], functions: ScoreFunctions, changes: Sequence[Rows]
    ) -> NDArray[np.float32]:
        """The same, each device by its own view: `table` with its own change of some rows added."""
        scores = self.logits(table, functions)
        for place, (rows, change) in enumerate(changes):
            scores[place, rows] += change @ functions.weights[place]
        return scores
