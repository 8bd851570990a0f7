"""FedNCF: a network scores an item from the device's own vector and the item's row.

Source: Perifanis, Efraimidis, "Federated Neural Collaborative Filtering", Knowledge-Based Systems 2022; the network is
that of neural collaborative filtering (He et al., WWW 2017): layers of 2 dim, dim, dim / 2, dim / 4 and 1 numbers
(the hidden ones of LEAST_WIDTH at least), with ReLU between. The device's vector never leaves it.

Without dual personalisation the network is shared, and travels as further rows of the shared matrix, through the same
clipping, noise and secure sum as the item rows. With it (the scheme of "Dual Personalization on Federated
Recommendation", IJCAI 2023) the network is the device's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from securerec.models.scorers import Rows, ScoreFunctions

Floats = NDArray[np.float32]

LEAST_WIDTH = 8
"""Of a hidden layer: of one or two rectified units all may be zero for every item, and then nothing is learnt."""

NETWORK_GAIN = 32.0
"""A shared row holds so many times the network's numbers: they are some tenths, item rows about 1, and one grid and
one clip norm serve both. A power of two, so that it costs no precision.
"""


@dataclass(frozen=True, slots=True)
class FedNCF:
    """Hyper-parameters of local training.

    dim: length of an item row and of a device's vector. score_lr: learning rate of the device's vector and of the
    network. item_lr_factor: of the item rows, over n_items. batch_size: samples a step. negatives: drawn anew for every
    positive in every round. epochs: passes over the round's samples. table_scale: deviation of the initial item rows.
    function_scale: half-width of the initial vector and of each layer's initial numbers, times the root of its inputs.
    dual: the network is private and item rows step after it, by its new values.
    """

    dim: int = 32
    score_lr: float = 0.1
    item_lr_factor: float = 8.0
    batch_size: int = 256
    negatives: int = 4
    epochs: int = 1
    table_scale: float = 1.0
    function_scale: float = 1.0
    dual: bool = True

    @property
    def widths(self) -> tuple[int, int, int]:
        """Of the hidden layers."""
        first, second, third = (max(LEAST_WIDTH, self.dim // part) for part in (1, 2, 4))
        return first, second, third

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """Inputs and outputs of each layer."""
        first, second, third = self.widths
        return (2 * self.dim, first), (first, second), (second, third), (third, 1)

    @property
    def network_size(self) -> int:
        """Numbers of the network: each layer's weights (outputs, inputs) row by row, then its biases."""
        return sum((inputs + 1) * outputs for inputs, outputs in self.layers)

    @property
    def shared_rows(self) -> int:
        """Rows that the network fills, zeros at its end; none where it is private."""
        return 0 if self.dual else -(-self.network_size // self.dim)

    @property
    def private_width(self) -> int:
        """The device's vector, then the network where it is private."""
        return self.dim + (self.network_size if self.dual else 0)

    def item_lr(self, n_items: int) -> float:
        """Learning rate of the item rows."""
        return self.item_lr_factor * n_items

    def with_frozen_items(self) -> "FedNCF":
        """The same with item rows that do not move."""
        return replace(self, item_lr_factor=0.0)

    def initial_table(self, n_items: int, rng: np.random.Generator) -> Floats:
        """Normal item rows of deviation `table_scale`, then the shared network, if it is."""
        table = (self.table_scale * rng.standard_normal((n_items, self.dim))).astype(np.float32)
        if self.dual:
            return table
        return np.concatenate([table, self.as_rows(self._initial_network(rng))])

    def initial_functions(self, n_users: int, rng: np.random.Generator) -> ScoreFunctions:
        """The same for every user; biases are the network's, and the functions' own stay zero."""
        width = self.function_scale / np.sqrt(self.dim)
        drawn = rng.uniform(-width, width, self.dim).astype(np.float32)
        if self.dual:
            drawn = np.concatenate([drawn, self._initial_network(rng)])
        return ScoreFunctions(np.repeat(drawn[None], n_users, axis=0), np.zeros(n_users, np.float32))

    def _initial_network(self, rng: np.random.Generator) -> Floats:
        """As torch has Linear layers at a `function_scale` of 1."""
        parts = [
            rng.uniform(-1, 1, (inputs + 1) * outputs) * self.function_scale / np.sqrt(inputs)
            for inputs, outputs in self.layers
        ]
        return np.concatenate(parts).astype(np.float32)

    def as_rows(self, network: Floats) -> Floats:
        """A network (network_size,) as rows of the shared matrix, (shared_rows, dim)."""
        rows = np.zeros(self.shared_rows * self.dim, np.float32)
        rows[: self.network_size] = network * np.float32(NETWORK_GAIN)
        return rows.reshape(-1, self.dim)

    def network_of(self, table: Floats, weights: Floats) -> Floats:
        """The network (network_size,) that a device with these weights (private_width,) scores by."""
        if self.dual:
            return weights[self.dim :]
        return np.asarray(table[-self.shared_rows :].ravel()[: self.network_size] / np.float32(NETWORK_GAIN))

    def logits(self, table: Floats, functions: ScoreFunctions) -> Floats:
        """Scores (m, n_items) of m devices under one shared matrix (n_items + shared_rows, dim)."""
        items = table[: len(table) - self.shared_rows]
        scores = np.empty((len(functions.biases), len(items)), np.float32)
        of_items: Floats | None = None
        for place, weights in enumerate(functions.weights):
            network = self.network_of(table, weights)
            if self.dual or of_items is None:
                # a shared network makes the same of an item for everybody, up to the device's vector
                of_items = self._of_items(network, items)
            scores[place] = self._forward(network, weights[: self.dim], of_items)
        return scores

    def _of_items(self, network: Floats, items: Floats) -> Floats:
        """What item rows (n, dim) add to the first layer's outputs, (n, outputs)."""
        inputs, outputs = self.layers[0]
        return items @ network[: inputs * outputs].reshape(outputs, inputs)[:, self.dim :].T

    def _forward(self, network: Floats, vector: Floats, of_items: Floats) -> Floats:
        at, hidden = 0, of_items
        for number, (inputs, outputs) in enumerate(self.layers):
            matrix = network[at : at + inputs * outputs].reshape(outputs, inputs)
            bias = network[at + inputs * outputs : at + (inputs + 1) * outputs]
            at += (inputs + 1) * outputs
            if number == 0:
                # the device's vector is the same beside every item
                hidden = hidden + (bias + matrix[:, : self.dim] @ vector)
            else:
                np.maximum(hidden, 0, out=hidden)
                hidden = hidden @ matrix.T
                hidden += bias
        return hidden[:, 0]

    def own_logits(self, table: Floats, functions: ScoreFunctions, changes: Sequence[Rows]) -> Floats:
        """The same, each device by its own view: the shared matrix with its own change of some rows added."""
        scores = np.empty((len(functions.biases), len(table) - self.shared_rows), np.float32)
        for place, (rows, change) in enumerate(changes):
            view = table.copy()
            view[rows] += change
            scores[place] = self.logits(view, functions.of([place]))[0]
        return scores
