"""Compiled loops of FedNCF's local training, for one block of clients.

A batch's numbers lie feature by feature, each feature's samples side by side: layers of any width then run in long
loops over samples that the compiler can vectorise. `network` is what `securerec.models.fedncf` says: each layer's
weights (outputs, inputs) row by row, then its biases. The first layer's inputs are the device's vector, which is the
same beside every item, and the item's row.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from securerec.training.kernels import FAST, LEAST_LIKELIHOOD, Counts, Floats, Rows, _sigmoid


@njit(cache=True, nogil=True, fastmath=FAST)
def _layer(network: Floats, at: int, stride: int, inputs: Floats, n_in: int, biases: Floats, outputs: Floats,
           n_out: int, count: int, rectify: bool) -> None:  # fmt: skip
    """outputs (n_out, count) = W inputs + biases, through ReLU where asked; W's row j begins at `at + j stride`."""
    for j in range(n_out):
        out, row = outputs[j], at + j * stride
        bias = biases[j]
        for k in range(count):
            out[k] = bias
        i = 0
        while i + 4 <= n_in:
            a, b, c, d = network[row + i], network[row + i + 1], network[row + i + 2], network[row + i + 3]
            x, y, z, w = inputs[i], inputs[i + 1], inputs[i + 2], inputs[i + 3]
            for k in range(count):
                out[k] += (a * x[k] + b * y[k]) + (c * z[k] + d * w[k])
            i += 4
        while i < n_in:
            a, x = network[row + i], inputs[i]
            for k in range(count):
                out[k] += a * x[k]
            i += 1
        if rectify:
            for k in range(count):
                out[k] = max(out[k], np.float32(0.0))


@njit(cache=True, nogil=True, fastmath=FAST)
def _pull_back(network: Floats, at: int, stride: int, pulls: Floats, n_out: int, out: Floats, n_in: int,
               count: int) -> None:  # fmt: skip
    """out (n_in, count) = W^T pulls."""
    for i in range(n_in):
        row = out[i]
        for k in range(count):
            row[k] = np.float32(0.0)
        j = 0
        while j + 4 <= n_out:
            first = at + j * stride + i
            a, b = network[first], network[first + stride]
            c, d = network[first + 2 * stride], network[first + 3 * stride]
            x, y, z, w = pulls[j], pulls[j + 1], pulls[j + 2], pulls[j + 3]
            for k in range(count):
                row[k] += (a * x[k] + b * y[k]) + (c * z[k] + d * w[k])
            j += 4
        while j < n_out:
            a, x = network[at + j * stride + i], pulls[j]
            for k in range(count):
                row[k] += a * x[k]
            j += 1


@njit(cache=True, nogil=True, fastmath=FAST)
def _product(a: Floats, b: Floats, count: int) -> np.float32:
    total = np.float32(0.0)
    for k in range(count):
        total += a[k] * b[k]
    return total


@njit(cache=True, nogil=True, fastmath=FAST)
def _total(a: Floats, count: int) -> np.float32:
    total = np.float32(0.0)
    for k in range(count):
        total += a[k]
    return total


@njit(cache=True, nogil=True, fastmath=FAST)
def _forward(network: Floats, vector: Floats, items: Floats, dim: int, widths: Counts, starts: Counts, beside: Floats,
             hidden: Floats, offsets: Counts, logits: Floats, count: int) -> None:  # fmt: skip
    """Logits (count,) of item rows `items` (dim, count). hidden: the three layers' outputs, at `offsets`."""
    first = widths[0]
    for j in range(first):
        row = starts[0] + j * 2 * dim
        total = network[starts[0] + first * 2 * dim + j]
        for i in range(dim):
            total += network[row + i] * vector[i]
        beside[j] = total
    _layer(network, starts[0] + dim, 2 * dim, items, dim, beside, hidden, first, count, True)
    for layer in range(1, 4):
        n_in = widths[layer - 1]
        n_out = widths[layer] if layer < 3 else 1
        biases = network[starts[layer] + n_in * n_out :]
        inputs = hidden[offsets[layer - 1] :]
        if layer < 3:
            _layer(network, starts[layer], n_in, inputs, n_in, biases, hidden[offsets[layer] :], n_out, count, True)
        else:
            _layer(network, starts[3], n_in, inputs, n_in, biases, logits.reshape(1, -1), 1, count, False)


@njit(cache=True, nogil=True, fastmath=FAST)
def _backward(network: Floats, dim: int, widths: Counts, starts: Counts, hidden: Floats, offsets: Counts, pull: Floats,
              pulls: Floats, count: int) -> None:  # fmt: skip
    """pulls: the loss's gradient at each hidden layer's outputs before ReLU, at `offsets`, from that at the logits."""
    for layer in range(2, -1, -1):
        n_in = widths[layer]
        out = pulls[offsets[layer] :]
        if layer == 2:
            _pull_back(network, starts[3], n_in, pull.reshape(1, -1), 1, out, n_in, count)
        else:
            _pull_back(
                network, starts[layer + 1], n_in, pulls[offsets[layer + 1] :], widths[layer + 1], out, n_in, count
            )
        for i in range(n_in):
            value, row = hidden[offsets[layer] + i], out[i]
            for k in range(count):
                row[k] = row[k] if value[k] > np.float32(0.0) else np.float32(0.0)


@njit(cache=True, nogil=True, fastmath=FAST)
def _score_step(network: Floats, vector: Floats, items: Floats, dim: int, widths: Counts, starts: Counts,
                hidden: Floats, offsets: Counts, pull: Floats, pulls: Floats, count: int, step: np.float32,
                beside: Floats) -> None:  # fmt: skip
    """One step of the network and the vector, in place, by gradients that `_backward` took at their old values."""
    first = widths[0]
    for i in range(dim):
        beside[i] = np.float32(0.0)
    for j in range(first):
        row, pulled = starts[0] + j * 2 * dim, pulls[j]
        whole = _total(pulled, count)
        for i in range(dim):
            # the vector's gradient reads the weights before they step
            beside[i] += whole * network[row + i]
            network[row + i] -= step * whole * vector[i]
            network[row + dim + i] -= step * _product(pulled, items[i], count)
        network[starts[0] + first * 2 * dim + j] -= step * whole
    for i in range(dim):
        vector[i] -= step * beside[i]
    for layer in range(1, 4):
        n_in = widths[layer - 1]
        n_out = widths[layer] if layer < 3 else 1
        for j in range(n_out):
            pulled = pulls[offsets[layer] + j] if layer < 3 else pull
            row = starts[layer] + j * n_in
            for i in range(n_in):
                network[row + i] -= step * _product(pulled, hidden[offsets[layer - 1] + i], count)
            network[starts[layer] + n_in * n_out + j] -= step * _total(pulled, count)


@njit(cache=True, nogil=True, fastmath=FAST)
def _item_step(network: Floats, dim: int, widths: Counts, starts: Counts, pulls: Floats, moves: Floats, mine: Floats,
               places: Rows, count: int, step: np.float32) -> None:  # fmt: skip
    """One step of the item rows `mine`, whose samples' gradients all stand at the same values."""
    _pull_back(network, starts[0] + dim, 2 * dim, pulls, widths[0], moves, dim, count)
    for i in range(dim):
        move = moves[i]
        for k in range(count):
            mine[places[k], i] -= step * move[k]


@njit(cache=True, nogil=True)
def add_rounded(
    begins: int, count: int, rows: Rows, local: Floats, scale: float, limit: float, use_sum: bool, accumulator: Counts,
    losses: NDArray[np.float64], client: int,
) -> int:  # fmt: skip
    """Add a client's change, in integers at `scale` and held within +-limit, to `accumulator` where there is a sum.

    A client whose change is not finite gets NaN as its loss, and adds nothing. Returns how many met the limit.
    """
    for r in range(begins, begins + count):
        for d in range(local.shape[1]):
            if not np.isfinite(local[r, d]):
                losses[client] = np.nan
    met = 0
    if use_sum and np.isfinite(losses[client]):
        for r in range(begins, begins + count):
            for d in range(local.shape[1]):
                value = np.rint(np.float64(local[r, d]) * scale)
                if value < -limit or value > limit:
                    met += 1
                    value = min(max(value, -limit), limit)
                accumulator[rows[r], d] += np.int64(value)
    return met


@njit(cache=True, nogil=True)
def train_block(
    first: int, last: int, table: Floats, weights: Floats, n_items: int, widths: Counts, starts: Counts, gain: Floats,
    dual: bool, sample_offsets: Counts, codes: Rows, batch_size: int, epochs: int, score_lr: np.float32,
    item_lr: np.float32, row_starts: Counts, row_counts: Counts, rows: Rows, local: Floats, scale: float, limit: float,
    use_sum: bool, accumulator: Counts, losses: NDArray[np.float64],
) -> int:  # fmt: skip
    """Train clients first..last-1 in place of `weights` (n_users, private_width); leave their touched rows of the
    shared `table` (n_rows, dim) and changes in `rows`, `local`.

    widths: of the hidden layers; starts: where each layer begins in the network. gain: () how many times the network
    the rows after n_items hold. dual: the network is in `weights`, and steps before the item rows; else it is in the
    table, and all step at once. losses: each client's mean binary cross-entropy in nats, before each batch's step. The
    returned number, and what is not said here, as in `securerec.training.kernels.train_block`.
    """
    dim = table.shape[1]
    size = starts[4]
    network_rows = table.shape[0] - n_items
    offsets = np.array([0, widths[0], widths[0] + widths[1]])
    slot = np.full(n_items, -1, np.int32)
    network, vector = np.empty(size, np.float32), np.empty(dim, np.float32)
    beside = np.empty(max(dim, widths[0]), np.float32)
    items, moves = np.empty((dim, batch_size), np.float32), np.empty((dim, batch_size), np.float32)
    hidden = np.empty((widths.sum(), batch_size), np.float32)
    pulls = np.empty((widths.sum(), batch_size), np.float32)
    logits, pull = np.empty(batch_size, np.float32), np.empty(batch_size, np.float32)
    exponents = np.empty(batch_size, np.int32)
    powers = exponents.view(np.float32)
    longest = 0
    for client in range(first, last):
        longest = max(longest, sample_offsets[client + 1] - sample_offsets[client])
    places = np.empty(longest, np.int32)
    saturated = 0

    for client in range(first, last):
        start, stop = sample_offsets[client], sample_offsets[client + 1]
        begins = row_starts[client]
        touched = 0
        for s in range(start, stop):
            item = codes[s] >> 1
            if slot[item] < 0:
                slot[item] = touched
                rows[begins + touched] = item
                for d in range(dim):
                    local[begins + touched, d] = table[item, d]
                touched += 1
            places[s - start] = slot[item]
        mine = local[begins : begins + touched]
        for d in range(dim):
            vector[d] = weights[client, d]
        for n in range(size):
            network[n] = weights[client, dim + n] if dual else table[n_items + n // dim, n % dim] / gain[0]
        loss = 0.0

        for _ in range(epochs):
            for begin in range(start, stop, batch_size):
                count = min(batch_size, stop - begin)
                here = places[begin - start : begin - start + count]
                for k in range(count):
                    for d in range(dim):
                        items[d, k] = mine[here[k], d]
                for stage in range(2 if dual else 1):
                    _forward(network, vector, items, dim, widths, starts, beside, hidden, offsets, logits, count)
                    _sigmoid(logits, pull, exponents, powers, count)
                    for k in range(count):
                        label = np.float32(codes[begin + k] & 1)
                        if stage == 0:
                            chance = pull[k] if label else np.float32(1.0) - pull[k]
                            loss -= np.log(max(chance, LEAST_LIKELIHOOD))
                        pull[k] = (pull[k] - label) / np.float32(count)
                    _backward(network, dim, widths, starts, hidden, offsets, pull, pulls, count)
                    if stage == 1 or not dual:
                        _item_step(network, dim, widths, starts, pulls, moves, mine, here, count, item_lr)
                    if stage == 0:
                        _score_step(
                            network, vector, items, dim, widths, starts, hidden, offsets, pull, pulls, count, score_lr,
                            beside,
                        )  # fmt: skip

        for d in range(dim):
            weights[client, d] = vector[d]
        for n in range(size):
            if dual:
                weights[client, dim + n] = network[n]
            if not np.isfinite(network[n]):
                loss = np.nan
        for r in range(network_rows):
            rows[begins + touched + r] = n_items + r
            for d in range(dim):
                n = r * dim + d
                value = network[n] * gain[0] if n < size else table[n_items + r, d]
                local[begins + touched + r, d] = value - table[n_items + r, d]
        for r in range(touched):
            item = rows[begins + r]
            slot[item] = -1
            for d in range(dim):
                mine[r, d] -= table[item, d]
        row_counts[client] = touched + network_rows
        losses[client] = loss / max((stop - start) * epochs, 1)
        saturated += add_rounded(
            begins, row_counts[client], rows, local, scale, limit, use_sum, accumulator, losses, client
        )
    return saturated


@njit(cache=True, nogil=True)
def score_block(
    first: int, last: int, table: Floats, weights: Floats, n_items: int, widths: Counts, starts: Counts, gain: Floats,
    dual: bool, row_starts: Counts, row_counts: Counts, rows: Rows, local: Floats, candidates: Rows, out: Floats,
) -> None:  # fmt: skip
    """out[c, j] = logit of candidate j of client c under the shared `table` with the client's own change of its rows
    added; no change where `row_counts` is zero. Candidates below 0 score 0.
    """
    dim, size, n_candidates = table.shape[1], starts[4], candidates.shape[1]
    offsets = np.array([0, widths[0], widths[0] + widths[1]])
    slot = np.full(table.shape[0], -1, np.int64)
    network = np.empty(size, np.float32)
    beside = np.empty(max(dim, widths[0]), np.float32)
    items = np.zeros((dim, n_candidates), np.float32)
    hidden = np.empty((widths.sum(), n_candidates), np.float32)
    for client in range(first, last):
        begins = row_starts[client]
        for r in range(begins, begins + row_counts[client]):
            slot[rows[r]] = r
        for n in range(size):
            if dual:
                network[n] = weights[client, dim + n]
            else:
                row, d = n_items + n // dim, n % dim
                value = table[row, d] + local[slot[row], d] if slot[row] >= 0 else table[row, d]
                network[n] = value / gain[0]
        for j in range(n_candidates):
            item = candidates[client, j]
            for d in range(dim):
                if item < 0:
                    items[d, j] = np.float32(0.0)
                elif slot[item] >= 0:
                    items[d, j] = table[item, d] + local[slot[item], d]
                else:
                    items[d, j] = table[item, d]
        vector = weights[client, :dim]
        _forward(network, vector, items, dim, widths, starts, beside, hidden, offsets, out[client], n_candidates)
        for j in range(n_candidates):
            if candidates[client, j] < 0:
                out[client, j] = np.float32(0.0)
        for r in range(begins, begins + row_counts[client]):
            slot[rows[r]] = -1
