"""What each learner is to the batched torch trainer: what its score function holds, how it scores, what steps when.

Clients are the first dimension of every tensor. c: clients, b: samples of each, dim: numbers of an item row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn.functional import relu

from securerec.models.fedncf import NETWORK_GAIN, FedNCF
from securerec.models.fedrecon import FedRecon
from securerec.models.pfedrec import PFedRec
from securerec.models.scorers import Learner

Stage = Literal["function", "items", "both"]
"""What takes a step: the score function, the item rows, or both at once, by gradients taken at the same values."""


@dataclass(frozen=True, slots=True)
class Part:
    """Passes over a span of each client's samples. `span`: where it begins and ends, in halves of the samples, rounded
    down. In each batch the stages follow each other, each by a loss computed anew. counted: a client's loss is of this
    part, before each batch's step.
    """

    span: tuple[int, int]
    epochs: int
    stages: tuple[Stage, ...]
    counted: bool = True


class ScoreModel(Protocol):
    """How a learner trains. batch_size: samples a step. rates: learning rates of what `opened` returns; item_lr: of the
    item rows. forgets: weights start a round at zero. numbers: of memory for one sample in a step, about.
    """

    parts: tuple[Part, ...]
    batch_size: int
    rates: tuple[float, ...]
    item_lr: float
    forgets: bool
    numbers: int

    def opened(self, weights: Tensor, biases: Tensor, shared: Tensor) -> list[Tensor]:
        """What the score functions of c clients consist of, in tensors of their own, from their weights (c,
        private_width), biases (c,) and the rows that follow the items' in their view, shared (c, shared_rows, dim).
        """
        ...

    def logits(self, own: Sequence[Tensor], items: Tensor) -> Tensor:
        """(c, b) of item rows (c, b, dim)."""
        ...

    def closed(self, own: Sequence[Tensor], shared: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weights, biases and shared rows again; `shared` as it was, for what in it is no part of a score function."""
        ...


class LinearScores:
    """PFedRec's and FedRecon's: `e_i . w_u + b_u`."""

    def __init__(self, model: PFedRec | FedRecon, n_items: int) -> None:
        self.batch_size, self.item_lr = model.batch_size, model.item_lr_factor * n_items
        self.numbers = 4 * model.dim + 10
        if isinstance(model, FedRecon):
            self.parts: tuple[Part, ...] = (
                Part((0, 1), model.rebuilding_epochs, ("function",), counted=False),
                Part((0 if model.dual else 1, 2), model.epochs, ("items",)),
            )
            self.rates: tuple[float, ...] = (model.score_lr, 0.0)
            self.forgets = not model.dual
        else:
            self.parts = (_simple(model),)
            self.rates, self.forgets = (model.score_lr, model.score_lr * model.bias), False

    def opened(self, weights: Tensor, biases: Tensor, shared: Tensor) -> list[Tensor]:
        return [weights.clone(), biases.clone()]

    def logits(self, own: Sequence[Tensor], items: Tensor) -> Tensor:
        weights, biases = own
        return torch.bmm(items, weights[:, :, None])[:, :, 0] + biases[:, None]

    def closed(self, own: Sequence[Tensor], shared: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weights, biases = own
        return weights, biases, shared


class NetworkScores:
    """FedNCF's: the device's vector, then each layer's weights (outputs, inputs) and biases, of each client."""

    forgets = False

    def __init__(self, model: FedNCF, n_items: int) -> None:
        self._model = model
        self.batch_size, self.item_lr = model.batch_size, model.item_lr(n_items)
        self.numbers = 6 * model.dim + 4 * sum(model.widths)
        self.parts: tuple[Part, ...] = (_simple(model),)
        self.rates: tuple[float, ...] = (model.score_lr,) * (1 + 2 * len(model.layers))

    def opened(self, weights: Tensor, biases: Tensor, shared: Tensor) -> list[Tensor]:
        model, c = self._model, len(weights)
        travelled = shared.flatten(1)[:, : model.network_size] / NETWORK_GAIN
        network = weights[:, model.dim :] if model.dual else travelled
        own, at = [weights[:, : model.dim].clone()], 0
        for inputs, outputs in model.layers:
            middle, end = at + inputs * outputs, at + (inputs + 1) * outputs
            own += [network[:, at:middle].reshape(c, outputs, inputs).clone(), network[:, middle:end].clone()]
            at = end
        return own

    def logits(self, own: Sequence[Tensor], items: Tensor) -> Tensor:
        vector, first, bias = own[:3]
        dim = vector.shape[1]
        # The vector is the same beside every item.
        beside = bias + torch.bmm(first[:, :, :dim], vector[:, :, None])[:, :, 0]
        hidden = torch.bmm(items, first[:, :, dim:].transpose(1, 2)) + beside[:, None]
        for matrix, bias in zip(own[3::2], own[4::2], strict=True):
            hidden = torch.bmm(relu(hidden), matrix.transpose(1, 2)) + bias[:, None]
        return hidden[:, :, 0]

    def closed(self, own: Sequence[Tensor], shared: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        model, c, vector = self._model, len(shared), own[0]
        network = torch.cat([part.flatten(1) for part in own[1:]], dim=1)
        biases = vector.new_zeros(c)
        if model.dual:
            return torch.cat([vector, network], dim=1), biases, shared
        flat = shared.flatten(1).clone()
        flat[:, : model.network_size] = network * NETWORK_GAIN
        return vector, biases, flat.reshape(shared.shape)


def _simple(model: PFedRec | FedNCF) -> Part:
    """All samples; with dual personalisation item rows step after the score function."""
    return Part((0, 2), model.epochs, ("function", "items") if model.dual else ("both",))


def score_model(model: Learner, n_items: int) -> ScoreModel:
    """How a learner trains on a catalogue. Raises ValueError for one that is not known here."""
    match model:
        case PFedRec() | FedRecon():
            return LinearScores(model, n_items)
        case FedNCF():
            return NetworkScores(model, n_items)
    raise ValueError(f"there is no torch trainer for {model}")
