"""Compiled loops of FedRecon's local training, for one block of clients; see `securerec.models.fedrecon`."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from securerec.training.kernels import FAST, LEAST_LIKELIHOOD, Counts, Floats, Rows, _dot, _sigmoid
from securerec.training.network_kernels import add_rounded


@njit(cache=True, nogil=True, fastmath=FAST)
def _pull(
    mine: Floats, places: Rows, labels: Floats, w: Floats, dim: int, logits: Floats, pull: Floats, exponents: Rows,
) -> float:  # fmt: skip
    """pull = the derivative of each sample's binary cross-entropy in its logit; returns their sum, nats."""
    count = len(places)
    for k in range(count):
        logits[k] = _dot(mine[places[k]], w, dim)
    _sigmoid(logits, pull, exponents, exponents.view(np.float32), count)
    loss = 0.0
    for k in range(count):
        chance = pull[k] if labels[k] else np.float32(1.0) - pull[k]
        loss -= np.log(max(np.float64(chance), LEAST_LIKELIHOOD))
        pull[k] -= labels[k]
    return loss


@njit(cache=True, nogil=True)
def train_block(
    first: int, last: int, table: Floats, weights: Floats, dual: bool, sample_offsets: Counts, codes: Rows,
    batch_size: int, rebuilding_epochs: int, epochs: int, score_lr: np.float32, item_lr: np.float32,
    row_starts: Counts, row_counts: Counts, rows: Rows, local: Floats, scale: float, limit: float, use_sum: bool,
    accumulator: Counts, losses: NDArray[np.float64],
) -> int:  # fmt: skip
    """Train clients first..last-1 in place of `weights` (n_users, dim); leave their touched rows of `table` (n_items,
    dim) and changes in `rows`, `local`.

    Rebuilds the weights on the first half of each client's samples, then steps the item rows on the other half, with
    `dual` on all. `losses` gets each client's mean binary cross-entropy of the second part, in nats. The returned
    number, and what is not said here, as in `securerec.training.kernels.train_block`.
    """
    n_items, dim = table.shape
    slot = np.full(n_items, -1, np.int32)
    w, gradient = np.empty(dim, np.float32), np.empty(dim, np.float32)
    logits, pull = np.empty(batch_size, np.float32), np.empty(batch_size, np.float32)
    exponents = np.empty(batch_size, np.int32)
    longest = 0
    for client in range(first, last):
        longest = max(longest, sample_offsets[client + 1] - sample_offsets[client])
    places, labels = np.empty(longest, np.int32), np.empty(longest, np.float32)
    saturated = 0

    for client in range(first, last):
        start, total = sample_offsets[client], sample_offsets[client + 1] - sample_offsets[client]
        half = total // 2
        tuned_from = 0 if dual else half
        begins = row_starts[client]
        touched = 0
        # Rows that only the support half reads are kept behind those that change.
        for turn in range(2):
            for s in range(tuned_from if turn == 0 else 0, total if turn == 0 else tuned_from):
                item = codes[start + s] >> 1
                if slot[item] < 0:
                    slot[item] = touched
                    rows[begins + touched] = item
                    for d in range(dim):
                        local[begins + touched, d] = table[item, d]
                    touched += 1
                places[s], labels[s] = slot[item], np.float32(codes[start + s] & 1)
            if turn == 0:
                row_counts[client] = touched
        mine = local[begins : begins + touched]
        for d in range(dim):
            w[d] = weights[client, d] if dual else np.float32(0.0)

        for _ in range(rebuilding_epochs):
            for begin in range(0, half, batch_size):
                end = min(begin + batch_size, half)
                _pull(mine, places[begin:end], labels[begin:end], w, dim, logits, pull, exponents)
                for d in range(dim):
                    gradient[d] = np.float32(0.0)
                for k in range(end - begin):
                    row = mine[places[begin + k]]
                    for d in range(dim):
                        gradient[d] += pull[k] * row[d]
                for d in range(dim):
                    w[d] -= score_lr / np.float32(end - begin) * gradient[d]
        loss = 0.0
        for _ in range(epochs):
            for begin in range(tuned_from, total, batch_size):
                end = min(begin + batch_size, total)
                loss += _pull(mine, places[begin:end], labels[begin:end], w, dim, logits, pull, exponents)
                for k in range(end - begin):
                    amount = item_lr / np.float32(end - begin) * pull[k]
                    row = mine[places[begin + k]]
                    for d in range(dim):
                        row[d] -= amount * w[d]

        for d in range(dim):
            weights[client, d] = w[d]
        for r in range(touched):
            item = rows[begins + r]
            slot[item] = -1
            for d in range(dim):
                mine[r, d] -= table[item, d]
        losses[client] = loss / max((total - tuned_from) * epochs, 1)
        saturated += add_rounded(
            begins, row_counts[client], rows, local, scale, limit, use_sum, accumulator, losses, client
        )
    return saturated


@njit(cache=True, nogil=True, fastmath=FAST)
def score_block(
    first: int, last: int, table: Floats, weights: Floats, row_starts: Counts, row_counts: Counts, rows: Rows,
    local: Floats, candidates: Rows, out: Floats,
) -> None:  # fmt: skip
    """out[c, j] = logit of candidate j of client c under `table` with the client's own change of its rows added."""
    dim = table.shape[1]
    slot = np.full(table.shape[0], -1, np.int64)
    for client in range(first, last):
        begins = row_starts[client]
        for r in range(begins, begins + row_counts[client]):
            slot[rows[r]] = r
        for j in range(candidates.shape[1]):
            item = candidates[client, j]
            out[client, j] = np.float32(0.0)
            if item >= 0:
                out[client, j] = _dot(table[item], weights[client], dim)
                if slot[item] >= 0:
                    out[client, j] += _dot(local[slot[item]], weights[client], dim)
        for r in range(begins, begins + row_counts[client]):
            slot[rows[r]] = -1
