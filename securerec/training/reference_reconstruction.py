"""One FedRecon client in plain torch with autograd, as the oracle of the reconstruction's cohort trainer."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from securerec.models.fedrecon import FedRecon
from securerec.training.reference import TrainedClient


def train_reconstructing_client(
    model: FedRecon, table: NDArray[np.float32], weights: NDArray[np.float32], items: NDArray[np.int32],
    labels: NDArray[np.int32],
) -> TrainedClient:  # fmt: skip
    """Run one client's round over its samples `items`, `labels` (n_samples,), the first half of which is the support.

    weights: (dim,) where the device's vector stood; without dual personalisation it is rebuilt from zero. The item rows
    are tuned on the query half, with dual personalisation on all samples.
    """
    half = len(items) // 2
    vector = torch.tensor(weights if model.dual else np.zeros_like(weights), requires_grad=True)
    rows = torch.tensor(table, requires_grad=True)
    all_items, all_labels = torch.tensor(items, dtype=torch.long), torch.tensor(labels, dtype=torch.float32)
    first = 0 if model.dual else half
    parts = (
        (vector, model.score_lr, model.rebuilding_epochs, all_items[:half], all_labels[:half]),
        (rows, model.item_lr_factor * len(table), model.epochs, all_items[first:], all_labels[first:]),
    )
    for moved, rate, epochs, part_items, part_labels in parts:
        for _ in range(epochs):
            for start in range(0, len(part_items), model.batch_size):
                batch = slice(start, start + model.batch_size)
                loss = binary_cross_entropy_with_logits(rows[part_items[batch]] @ vector, part_labels[batch])
                (gradient,) = torch.autograd.grad(loss, moved)
                with torch.no_grad():
                    moved -= rate * gradient
    return TrainedClient(vector.detach().numpy().copy(), np.float32(0), rows.detach().numpy().copy())
