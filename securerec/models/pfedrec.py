"""PFedRec: a private score function over a shared, mildly personalised item table.

Source: "Dual Personalization on Federated Recommendation", IJCAI 2023. User u scores item i by the logit
`e_i . w_u + b_u`; `w_u`, `b_u` never leave the device, and the item rows `e_i` are tuned after the score function in
each batch (post-tuning), so that every device has a view of the items that is its own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ScoreFunctions:
    """The private part of every client: `weights` (n_users, dim) float32, `biases` (n_users,) float32."""

    weights: NDArray[np.float32]
    biases: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PFedRec:
    """Hyper-parameters of local training; the defaults are the paper's code's.

    dim: length of an item row. score_lr: learning rate of the score function. item_lr_factor: the item rows' learning
    rate over n_items, see `item_lr`. batch_size: samples a step. negatives: drawn
    anew for every positive in every round. epochs: passes over the round's samples. table_scale, function_scale:
    deviation of the initial item table, and half-width of the initial score functions times sqrt(dim).
    """

    dim: int = 32
    score_lr: float = 0.1
    item_lr_factor: float = 8.0
    batch_size: int = 256
    negatives: int = 4
    epochs: int = 1
    table_scale: float = 1.0
    function_scale: float = 1.0

    def item_lr(self, n_items: int) -> float:
        """Learning rate of the item rows, `item_lr_factor * n_items`.

        The paper's code has 0.1 x 80 x n_items: large, since the loss is a mean over a batch of which a row sees one
        sample.
        """
        return self.item_lr_factor * n_items

    def initial_table(self, n_items: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """(n_items, dim) normal entries of deviation `table_scale`, as torch's Embedding has them at 1."""
        return (self.table_scale * rng.standard_normal((n_items, self.dim))).astype(np.float32)

    def initial_functions(self, n_users: int, rng: np.random.Generator) -> ScoreFunctions:
        """The same for every user: uniform in +-function_scale / sqrt(dim), as torch has a Linear layer at 1."""
        width = self.function_scale / np.sqrt(self.dim)
        drawn = rng.uniform(-width, width, (1, self.dim + 1)).astype(np.float32)
        return ScoreFunctions(np.repeat(drawn[:, :-1], n_users, axis=0), np.repeat(drawn[0, -1:], n_users))
