"""One device's round through opacus: its per-example gradients, its optimizer's order of work.

Slower than `trainer.train_client` and equal to it given the same stream: what a device may run, and the independent
reference of the compiled path. Per-example gradients come from opacus' GradSampleModule by back-propagation, in the
full basis; only what DPOptimizer does in floating point (clipping, summing, noise) is done on integers instead.

opacus' own noise cannot serve in deployment: it is drawn by torch's generator, which is not cryptographic (its
`secure_mode` wants torchcsprng, which is no longer published for current torch), and floating point noise added to
floating point sums leaves traces in the low bits (Mironov 2012, "On significance of the least significant bits for
differential privacy"). Here sums are whole numbers and the noise is an exact discrete Gaussian from an AES keystream.
"""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch.nn.functional import binary_cross_entropy_with_logits

from securerec.privacy.randomness import KeyStream
from securerec.training.cohort import Table
from securerec.training.interaction.examples import draw_words, taken
from securerec.training.interaction.settings import InteractionSettings
from securerec.training.interaction.trainer import TrainedInteractions


class ItemScorer(torch.nn.Module):
    """PFedRec's scorer in float64: items (batch, samples) to logits of the same shape."""

    def __init__(self, table: Table, weights: NDArray[np.float32], bias: float) -> None:
        super().__init__()
        self.rows = torch.nn.Embedding.from_pretrained(torch.tensor(table, dtype=torch.float64), freeze=False)
        self.score = torch.nn.Linear(table.shape[1], 1, dtype=torch.float64)
        with torch.no_grad():
            self.score.weight.copy_(torch.tensor(weights)[None])
            self.score.bias.fill_(float(bias))

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.score(self.rows(items)).squeeze(-1)
        return logits


class IntegerDPOptimizer(DPOptimizer):
    """opacus' DP-SGD with contributions, sum and noise on `InteractionSettings`' grid of integers."""

    def __init__(
        self,
        scorer: ItemScorer,
        settings: InteractionSettings,
        *,
        samples: int,
        noise: Callable[[int], NDArray[np.int64]],
    ) -> None:
        """samples: of an example, 1 + negatives. noise: n to n draws of the settings' noise, grid units."""
        groups = [
            {"params": list(scorer.score.parameters()), "lr": settings.score_lr},
            {"params": [scorer.rows.weight], "lr": settings.item_lr},
        ]
        super().__init__(
            torch.optim.SGD(groups), noise_multiplier=settings.noise_multiplier, max_grad_norm=settings.clip_norm,
            expected_batch_size=None, loss_reduction="sum",
        )  # fmt: skip
        self._scorer, self._settings, self._samples, self._noise = scorer, settings, samples, noise
        self._total = np.zeros(0, np.int64)

    def clip_and_accumulate(self) -> None:
        """Sum each example's gradient, clipped and rounded: `settings.InteractionSettings`, `kernels.sum_clipped`."""
        by_weights, by_bias, by_rows = (samples.flatten(1).numpy() for samples in self.grad_samples)
        direction = self._direction()
        dim = len(direction)
        by_item = by_rows.reshape(len(by_rows), by_rows.shape[1] // dim, dim) @ direction
        norms = np.sqrt(sum((part**2).sum(axis=1) for part in (by_weights, by_bias, by_rows)))
        limit = self._settings.clip_units
        room = limit - 0.5 * np.sqrt(dim + 1 + self._samples) - 1e-6 * limit
        factors = room / np.maximum(self._settings.clip_norm, norms)
        whole = np.rint(factors[:, None] * np.concatenate([by_weights, by_bias, by_item], axis=1)).astype(np.int64)
        whole[(whole**2).sum(axis=1) > limit**2] = 0
        self._total = whole.sum(axis=0)
        for p in self.params:
            p.summed_grad = torch.zeros_like(p)  # opacus marks these as used; the sum itself is in whole numbers

    def add_noise(self) -> None:
        """Noise on every coordinate, and back to the basis of the parameters."""
        noised = (self._total + self._noise(len(self._total))) * self._settings.unit
        direction = self._direction()
        weight, bias, rows = self.params
        dim = len(direction)
        weight.grad = torch.tensor(noised[:dim]).view_as(weight)
        bias.grad = torch.tensor(noised[dim : dim + 1])
        rows.grad = torch.tensor(np.outer(noised[dim + 1 :], direction))

    def _direction(self) -> NDArray[np.float64]:
        weights: NDArray[np.float64] = self._scorer.score.weight.detach().numpy()[0].copy()
        length = np.sqrt((weights**2).sum())
        return weights / length if length > 0 else weights


def train_client(
    items: NDArray[np.int32],
    table: Table,
    weights: NDArray[np.float32],
    bias: float,
    negatives: int,
    settings: InteractionSettings,
    stream: KeyStream,
) -> TrainedInteractions:
    """As `trainer.train_client`."""
    scorer, noise = ItemScorer(table, weights, bias), settings.noise
    optimizer = IntegerDPOptimizer(
        scorer, settings, samples=1 + negatives, noise=lambda n: noise.sample(stream, n)
    )  # fmt: skip
    sampled = GradSampleModule(scorer, loss_reduction="sum")
    count, cost = 0, 0.0
    for _ in range(settings.steps):
        batch = taken(items, draw_words(stream, len(table), negatives), settings.sample_rate)
        optimizer.zero_grad()
        if len(batch):
            labels = torch.zeros(batch.shape, dtype=torch.float64)
            labels[:, 0] = 1.0
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # item numbers need no gradient, which torch's hooks remark on
                logits = sampled(torch.tensor(batch, dtype=torch.long))
                loss = binary_cross_entropy_with_logits(logits, labels, reduction="sum")
                loss.backward()
            count, cost = count + len(batch), cost + float(loss.detach())
        else:
            for p in optimizer.params:
                p.grad_sample = p.new_zeros((0, *p.shape))
        optimizer.step()
    with torch.no_grad():
        delta = (scorer.rows.weight - torch.tensor(table)).to(torch.float32).numpy()
        return TrainedInteractions(
            scorer.score.weight.to(torch.float32).numpy()[0], np.float32(scorer.score.bias.item()), delta, count, cost
        )
