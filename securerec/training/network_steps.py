"""Compiled steps of FedNCF's network over one batch of samples: forward, backward, and a step of each part.

A sample is a row of every matrix here, and a layer is one matrix product for the whole batch, by the machine's BLAS:
whoever calls this from several threads keeps BLAS itself to one.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from securerec.training.kernels import FAST, Counts, Floats, Rows


class Network(NamedTuple):
    """The numbers of `securerec.models.fedncf`'s network, a matrix (outputs, inputs) and biases for each layer.

    The first layer's inputs are the device's vector, which is the same beside every item, and the item's row: `beside`
    and `first`. flat: where all of it is read from and written to, in the order of `FedNCF.network_size`.
    turned_*: room for transposes, by which BLAS multiplies such narrow matrices at almost twice the speed.
    """

    flat: Floats
    beside: Floats
    first: Floats
    first_bias: Floats
    second: Floats
    second_bias: Floats
    third: Floats
    third_bias: Floats
    last: Floats
    last_bias: Floats
    turned_first: Floats
    turned_second: Floats
    turned_third: Floats


class Batch(NamedTuple):
    """What the network makes of `count` samples. items: (count, dim) item rows; moves: the loss's gradients at them.
    first, second, third: the hidden layers' outputs, (count, width); *_pulls: the loss's gradients at them before ReLU.
    logits, pull: (count,), scores and the loss's gradients at them.
    """

    items: Floats
    moves: Floats
    first: Floats
    second: Floats
    third: Floats
    first_pulls: Floats
    second_pulls: Floats
    third_pulls: Floats
    logits: Floats
    pull: Floats


class Scratch(NamedTuple):
    """Room for gradients: one matrix as large as each layer's, and a vector as long as any bias and as `dim`."""

    first: Floats
    second: Floats
    third: Floats
    last: Floats
    sums: Floats


@njit(cache=True, nogil=True)
def make_network(dim: int, widths: Counts) -> Network:
    """An empty one. The first layer is split in two, the others are views of `flat`."""
    one, two, three = widths
    flat = np.empty((2 * dim + 1) * one + (one + 1) * two + (two + 1) * three + three + 1, np.float32)
    at = 2 * dim * one
    first_bias, at = flat[at : at + one], at + one
    second, at = flat[at : at + one * two].reshape(two, one), at + one * two
    second_bias, at = flat[at : at + two], at + two
    third, at = flat[at : at + two * three].reshape(three, two), at + two * three
    third_bias, at = flat[at : at + three], at + three
    last, last_bias = flat[at : at + three], flat[at + three :]
    beside, first = np.empty((one, dim), np.float32), np.empty((one, dim), np.float32)
    return Network(
        flat, beside, first, first_bias, second, second_bias, third, third_bias, last, last_bias,
        np.empty((dim, one), np.float32), np.empty((one, two), np.float32), np.empty((two, three), np.float32),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def make_batch(count: int, dim: int, widths: Counts) -> Batch:
    """Room for so many samples."""
    one, two, three = widths
    return Batch(
        np.empty((count, dim), np.float32), np.empty((count, dim), np.float32), np.empty((count, one), np.float32),
        np.empty((count, two), np.float32), np.empty((count, three), np.float32), np.empty((count, one), np.float32),
        np.empty((count, two), np.float32), np.empty((count, three), np.float32), np.empty(count, np.float32),
        np.empty(count, np.float32),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def make_scratch(dim: int, widths: Counts) -> Scratch:
    """Empty room for gradients."""
    one, two, three = widths
    return Scratch(
        np.empty((one, dim), np.float32), np.empty((two, one), np.float32), np.empty((three, two), np.float32),
        np.empty(three, np.float32), np.empty(max(dim, one, two, three), np.float32),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def of_batch(batch: Batch, count: int) -> Batch:
    """Its first samples, in the same memory."""
    return Batch(
        batch.items[:count], batch.moves[:count], batch.first[:count], batch.second[:count], batch.third[:count],
        batch.first_pulls[:count], batch.second_pulls[:count], batch.third_pulls[:count], batch.logits[:count],
        batch.pull[:count],
    )  # fmt: skip


@njit(cache=True, nogil=True)
def spread(network: Network) -> None:
    """Fill the first layer from `flat`; the other layers lie in it."""
    outputs, dim = network.first.shape
    for j in range(outputs):
        row = network.flat[2 * dim * j : 2 * dim * (j + 1)]
        network.beside[j] = row[:dim]
        network.first[j] = row[dim:]


@njit(cache=True, nogil=True)
def gather(network: Network) -> None:
    """Write the first layer back to `flat`."""
    outputs, dim = network.first.shape
    for j in range(outputs):
        row = network.flat[2 * dim * j : 2 * dim * (j + 1)]
        row[:dim] = network.beside[j]
        row[dim:] = network.first[j]


@njit(cache=True, nogil=True)
def _layer(inputs: Floats, weights: Floats, biases: Floats, turned: Floats, outputs: Floats) -> None:
    """outputs (count, n_out) = ReLU(inputs weights^T + biases)."""
    for j in range(weights.shape[0]):
        for i in range(weights.shape[1]):
            turned[i, j] = weights[j, i]
    np.dot(inputs, turned, outputs)
    _rectify(outputs, biases)


@njit(cache=True, nogil=True, fastmath=FAST)
def _rectify(outputs: Floats, biases: Floats) -> None:
    """Add the biases to each sample's outputs (count, width), in place, then ReLU."""
    count, width = outputs.shape
    for k in range(count):
        for j in range(width):
            outputs[k, j] = max(outputs[k, j] + biases[j], np.float32(0.0))


@njit(cache=True, nogil=True, fastmath=FAST)
def _hold_back(pulls: Floats, outputs: Floats) -> None:
    """Zero the gradients where ReLU let nothing through."""
    flat, values = pulls.reshape(-1), outputs.reshape(-1)
    for n in range(flat.size):
        flat[n] = flat[n] if values[n] > np.float32(0.0) else np.float32(0.0)


@njit(cache=True, nogil=True, fastmath=FAST)
def _step(weights: Floats, gradient: Floats, step: np.float32) -> None:
    flat, by = weights.reshape(-1), gradient.reshape(-1)
    for n in range(flat.size):
        flat[n] -= step * by[n]


@njit(cache=True, nogil=True, fastmath=FAST)
def _column_sums(pulls: Floats, sums: Floats) -> None:
    """sums (width,) of each column of `pulls` (count, width)."""
    count, width = pulls.shape
    for j in range(width):
        sums[j] = np.float32(0.0)
    for k in range(count):
        for j in range(width):
            sums[j] += pulls[k, j]


@njit(cache=True, nogil=True, fastmath=FAST)
def forward(network: Network, vector: Floats, batch: Batch, sums: Floats) -> None:
    """The logits of `batch.items`. sums: room for `first_bias`."""
    outputs, dim = network.beside.shape
    for j in range(outputs):
        total = network.first_bias[j]
        for i in range(dim):
            total += network.beside[j, i] * vector[i]
        sums[j] = total
    _layer(batch.items, network.first, sums, network.turned_first, batch.first)
    _layer(batch.first, network.second, network.second_bias, network.turned_second, batch.second)
    _layer(batch.second, network.third, network.third_bias, network.turned_third, batch.third)
    np.dot(batch.third, network.last, batch.logits)
    bias = network.last_bias[0]
    for k in range(batch.logits.size):
        batch.logits[k] += bias


@njit(cache=True, nogil=True, fastmath=FAST)
def backward(network: Network, batch: Batch) -> None:
    """The gradients at the hidden layers from `batch.pull`, which is that at the logits."""
    count, width = batch.third.shape
    for k in range(count):
        for j in range(width):
            batch.third_pulls[k, j] = batch.pull[k] * network.last[j]
    _hold_back(batch.third_pulls, batch.third)
    np.dot(batch.third_pulls, network.third, batch.second_pulls)
    _hold_back(batch.second_pulls, batch.second)
    np.dot(batch.second_pulls, network.second, batch.first_pulls)
    _hold_back(batch.first_pulls, batch.first)


@njit(cache=True, nogil=True, fastmath=FAST)
def score_step(network: Network, vector: Floats, batch: Batch, scratch: Scratch, step: np.float32) -> None:
    """One step of the network and the vector, in place, by gradients that `backward` took at their old values."""
    outputs, dim = network.beside.shape
    _column_sums(batch.first_pulls, scratch.sums)
    # by the network's old weights, all of the vector's gradient first
    moves = scratch.first[0]
    for i in range(dim):
        moves[i] = np.float32(0.0)
    for j in range(outputs):
        whole = scratch.sums[j]
        for i in range(dim):
            moves[i] += whole * network.beside[j, i]
            network.beside[j, i] -= step * whole * vector[i]
    for i in range(dim):
        vector[i] -= step * moves[i]
    _step(network.first_bias, scratch.sums[:outputs], step)
    np.dot(batch.first_pulls.T, batch.items, scratch.first)
    _step(network.first, scratch.first, step)

    np.dot(batch.second_pulls.T, batch.first, scratch.second)
    _step(network.second, scratch.second, step)
    _column_sums(batch.second_pulls, scratch.sums)
    _step(network.second_bias, scratch.sums[: network.second_bias.size], step)

    np.dot(batch.third_pulls.T, batch.second, scratch.third)
    _step(network.third, scratch.third, step)
    _column_sums(batch.third_pulls, scratch.sums)
    _step(network.third_bias, scratch.sums[: network.third_bias.size], step)

    np.dot(batch.third.T, batch.pull, scratch.last)
    _step(network.last, scratch.last, step)
    network.last_bias[0] -= step * batch.pull.sum()


@njit(cache=True, nogil=True, fastmath=FAST)
def item_step(network: Network, batch: Batch, mine: Floats, places: Rows, step: np.float32) -> None:
    """One step of the item rows `mine`, whose samples' gradients all stand at the same values; `batch.items` stays as
    it is.
    """
    moves = batch.moves
    np.dot(batch.first_pulls, network.first, moves)
    count, dim = moves.shape
    for k in range(count):
        row, move = mine[places[k]], moves[k]
        for d in range(dim):
            row[d] -= step * move[d]
