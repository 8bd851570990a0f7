"""One FedNCF client in plain torch with autograd, as the oracle of the network's cohort trainer."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits, linear, relu

from securerec.models.fedncf import NETWORK_GAIN, FedNCF


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """A client after one round: its `weights` (private_width,) and its view of the shared matrix, `table` (n_rows,
    dim), both float32.
    """

    weights: NDArray[np.float32] = field(repr=False)
    table: NDArray[np.float32] = field(repr=False)


def train_network_client(
    model: FedNCF, table: NDArray[np.float32], weights: NDArray[np.float32], items: NDArray[np.int32],
    labels: NDArray[np.int32],
) -> TrainedNetwork:  # fmt: skip
    """Run one client's round over its samples `items`, `labels` (n_samples,), in the order given, batch by batch.

    With dual personalisation a batch steps vector and network first, then the item rows on the loss computed anew;
    without it all three at once.
    """
    n_items = len(table) - model.shared_rows
    vector = torch.tensor(weights[: model.dim], requires_grad=True)
    rows = torch.tensor(table[:n_items], requires_grad=True)
    if model.dual:
        flat = weights[model.dim :]
    else:
        flat = table[n_items:].ravel()[: model.network_size] / np.float32(NETWORK_GAIN)
    network: list[torch.Tensor] = []
    at = 0
    for inputs, outputs in model.layers:
        network.append(torch.tensor(flat[at : at + inputs * outputs].reshape(outputs, inputs), requires_grad=True))
        network.append(torch.tensor(flat[at + inputs * outputs : at + (inputs + 1) * outputs], requires_grad=True))
        at += (inputs + 1) * outputs
    score_step = torch.optim.SGD([vector, *network], lr=model.score_lr)
    item_step = torch.optim.SGD([rows], lr=model.item_lr(n_items))
    all_items = torch.tensor(items, dtype=torch.long)
    all_labels = torch.tensor(labels, dtype=torch.float32)
    for _ in range(model.epochs):
        batches = zip(all_items.split(model.batch_size), all_labels.split(model.batch_size), strict=True)
        for batch_items, batch_labels in batches:
            for steps in ((score_step,), (item_step,)) if model.dual else ((score_step, item_step),):
                score_step.zero_grad()
                item_step.zero_grad()
                hidden = torch.cat([vector.expand(len(batch_items), -1), rows[batch_items]], dim=1)
                for layer in range(4):
                    hidden = linear(relu(hidden) if layer else hidden, network[2 * layer], network[2 * layer + 1])
                binary_cross_entropy_with_logits(hidden.squeeze(1), batch_labels).backward()
                for step in steps:
                    step.step()
    with torch.no_grad():
        trained = torch.cat([each.ravel() for each in network]).numpy()
        own = rows.numpy().copy()
        if model.dual:
            return TrainedNetwork(np.concatenate([vector.numpy(), trained]), own)
        return TrainedNetwork(vector.numpy().copy(), np.concatenate([own, model.as_rows(trained)]))
