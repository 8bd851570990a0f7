"""One PFedRec client in plain torch with autograd: what the paper describes, as the oracle of the cohort trainer.

Source: "Dual Personalization on Federated Recommendation", IJCAI 2023, algorithm 1 (ClientUpdate).
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from securerec.models.pfedrec import PFedRec


@dataclass(frozen=True, slots=True)
class TrainedClient:
    """A client after one round: `weights` (dim,), `bias` (), its own item `table` (n_items, dim), all float32."""

    weights: NDArray[np.float32] = field(repr=False)
    bias: np.float32
    table: NDArray[np.float32] = field(repr=False)


def train_client(
    model: PFedRec,
    table: NDArray[np.float32],
    weights: NDArray[np.float32],
    bias: float,
    items: NDArray[np.int32],
    labels: NDArray[np.int32],
    head: NDArray[np.float32] | None = None,
) -> TrainedClient:
    """Run one client's round over its samples `items`, `labels` (n_samples,), in the order given, batch by batch.

    head: (n_items,) what its private head adds to every score, which is not trained here.
    In each batch the score function takes a step of SGD on the mean binary cross-entropy of its logits; then the loss
    is computed anew with the new score function, and the item rows take theirs (post-tuning; without it both step at
    once, on one loss).
    """
    score = torch.nn.Linear(model.dim, 1)
    rows = torch.nn.Embedding.from_pretrained(torch.tensor(table), freeze=False)
    with torch.no_grad():
        score.weight.copy_(torch.tensor(weights)[None])
        score.bias.fill_(float(bias))
    score.bias.requires_grad_(model.bias)
    score_step = torch.optim.SGD([p for p in score.parameters() if p.requires_grad], lr=model.score_lr)
    item_step = torch.optim.SGD(rows.parameters(), lr=model.item_lr(table.shape[0]))
    all_items = torch.tensor(items, dtype=torch.long)
    all_labels = torch.tensor(labels, dtype=torch.float32)
    added = torch.zeros(len(table)) if head is None else torch.tensor(head)
    for _ in range(model.epochs):
        batches = zip(all_items.split(model.batch_size), all_labels.split(model.batch_size), strict=True)
        for batch_items, batch_labels in batches:
            for steps in ([score_step], [item_step]) if model.post_tuning else ([score_step, item_step],):
                score_step.zero_grad()
                item_step.zero_grad()
                logits = score(rows(batch_items)).squeeze(1) + added[batch_items]
                binary_cross_entropy_with_logits(logits, batch_labels).backward()
                for step in steps:
                    step.step()
    with torch.no_grad():
        return TrainedClient(score.weight.numpy()[0].copy(), np.float32(score.bias.item()), rows.weight.numpy().copy())
