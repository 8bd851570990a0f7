"""Compiled loops of FedNCF's local training, for one block of clients; see `network_steps` for its network.

A client touches few item rows in a round, so it works on a copy of just those, as `securerec.training.kernels` does.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from securerec.training import network_steps as steps
from securerec.training.kernels import FAST, Counts, Floats, Rows, _loss, _sigmoid


@njit(cache=True, nogil=True, fastmath=FAST)
def _are_finite(values: Floats) -> bool:
    """Of a row: 0 times what is not finite is NaN."""
    total = np.float32(0.0)
    for d in range(values.size):
        total += np.float32(0.0) * values[d]
    return total == np.float32(0.0)


@njit(cache=True, nogil=True)
def _add_row(values: Floats, scale: float, limit: float, out: Counts) -> int:
    met = 0
    for d in range(values.size):
        whole = np.rint(np.float64(values[d]) * scale)
        held = min(max(whole, -limit), limit)
        if whole != held:
            met += 1
        out[d] += np.int64(held)
    return met


@njit(cache=True, nogil=True)
def add_rounded(
    begins: int, count: int, rows: Rows, local: Floats, scale: float, limit: float, use_sum: bool, accumulator: Counts,
    losses: NDArray[np.float64], client: int,
) -> int:  # fmt: skip
    """Add a client's change, in integers at `scale` and held within +-limit, to `accumulator` where there is a sum.

    A client whose change is not finite gets NaN as its loss, and adds nothing. Returns how many met the limit.
    """
    for r in range(begins, begins + count):
        if not _are_finite(local[r]):
            losses[client] = np.nan
    met = 0
    if use_sum and np.isfinite(losses[client]):
        for r in range(begins, begins + count):
            met += _add_row(local[r], scale, limit, accumulator[rows[r]])
    return met


@njit(cache=True, nogil=True)
def train_block(
    first: int, last: int, table: Floats, weights: Floats, n_items: int, widths: Counts, gain: Floats, dual: bool,
    sample_offsets: Counts, codes: Rows, batch_size: int, epochs: int, score_lr: np.float32, item_lr: np.float32,
    row_starts: Counts, row_counts: Counts, rows: Rows, local: Floats, scale: float, limit: float, use_sum: bool,
    accumulator: Counts, losses: NDArray[np.float64],
) -> int:  # fmt: skip
    """Train clients first..last-1 in place of `weights` (n_users, private_width); leave their touched rows of the
    shared `table` (n_rows, dim) and changes in `rows`, `local`.

    widths: of the hidden layers. gain: () how many times the network the rows after n_items hold. dual: the network is
    in `weights`, and steps before the item rows; else it is in the table, and all step at once. losses: each client's
    mean binary cross-entropy in nats, before each batch's step. The returned number, and what is not said here, as in
    `securerec.training.kernels.train_block`.
    """
    dim = table.shape[1]
    network = steps.make_network(dim, widths)
    flat, vector = network.flat, np.empty(dim, np.float32)
    size = flat.size
    network_rows = table.shape[0] - n_items
    slot = np.full(n_items, -1, np.int32)
    longest = 0
    for client in range(first, last):
        longest = max(longest, sample_offsets[client + 1] - sample_offsets[client])
    room, scratch = steps.make_batch(min(batch_size, longest), dim, widths), steps.make_scratch(dim, widths)
    exponents = np.empty(batch_size, np.int32)
    powers = exponents.view(np.float32)
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
        vector[:] = weights[client, :dim]
        for n in range(size):
            flat[n] = weights[client, dim + n] if dual else table[n_items + n // dim, n % dim] / gain[0]
        steps.spread(network)
        loss = 0.0

        for _ in range(epochs):
            for begin in range(start, stop, batch_size):
                count = min(batch_size, stop - begin)
                here, labelled = places[begin - start : begin - start + count], codes[begin : begin + count]
                batch = steps.of_batch(room, count)
                logits, pull = batch.logits, batch.pull
                for k in range(count):
                    for d in range(dim):
                        batch.items[k, d] = mine[here[k], d]
                for stage in range(2 if dual else 1):
                    steps.forward(network, vector, batch, scratch.sums)
                    _sigmoid(logits, pull, exponents, powers, count)
                    if stage == 0:
                        loss += _loss(pull, labelled, count)
                    for k in range(count):
                        pull[k] = (pull[k] - np.float32(labelled[k] & 1)) / np.float32(count)
                    steps.backward(network, batch)
                    if stage == 1 or not dual:
                        steps.item_step(network, batch, mine, here, item_lr)
                    if stage == 0:
                        steps.score_step(network, vector, batch, scratch, score_lr)

        steps.gather(network)
        weights[client, :dim] = vector
        for n in range(size):
            if dual:
                weights[client, dim + n] = flat[n]
            if not np.isfinite(flat[n]):
                loss = np.nan
        for r in range(network_rows):
            rows[begins + touched + r] = n_items + r
            for d in range(dim):
                n = r * dim + d
                value = flat[n] * gain[0] if n < size else table[n_items + r, d]
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
    first: int, last: int, table: Floats, weights: Floats, n_items: int, widths: Counts, gain: Floats, dual: bool,
    row_starts: Counts, row_counts: Counts, rows: Rows, local: Floats, candidates: Rows, out: Floats,
) -> None:  # fmt: skip
    """out[c, j] = logit of candidate j of client c under the shared `table` with the client's own change of its rows
    added; no change where `row_counts` is zero. Candidates below 0 score 0.
    """
    dim, n_candidates = table.shape[1], candidates.shape[1]
    slot = np.full(table.shape[0], -1, np.int64)
    network = steps.make_network(dim, widths)
    flat = network.flat
    batch, scratch = steps.make_batch(n_candidates, dim, widths), steps.make_scratch(dim, widths)
    for client in range(first, last):
        begins = row_starts[client]
        for r in range(begins, begins + row_counts[client]):
            slot[rows[r]] = r
        for n in range(flat.size):
            if dual:
                flat[n] = weights[client, dim + n]
            else:
                row, d = n_items + n // dim, n % dim
                value = table[row, d] + local[slot[row], d] if slot[row] >= 0 else table[row, d]
                flat[n] = value / gain[0]
        steps.spread(network)
        for j in range(n_candidates):
            item = candidates[client, j]
            for d in range(dim):
                if item < 0:
                    batch.items[j, d] = np.float32(0.0)
                elif slot[item] >= 0:
                    batch.items[j, d] = table[item, d] + local[slot[item], d]
                else:
                    batch.items[j, d] = table[item, d]
        steps.forward(network, weights[client, :dim], batch, scratch.sums)
        for j in range(n_candidates):
            out[client, j] = batch.logits[j] if candidates[client, j] >= 0 else np.float32(0.0)
        for r in range(begins, begins + row_counts[client]):
            slot[rows[r]] = -1
