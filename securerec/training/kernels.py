"""Compiled loops of PFedRec's local training, for one block of clients.

A client touches few item rows in a round, so it works on a copy of just those, in a slice of one buffer that stays in
cache while the client trains. The kernels run without the interpreter's lock, one block of clients a thread. Sums and
exponentials are written so that the compiler can use vector instructions; the order of float additions is fixed on one
machine, but may differ between machines with other vector widths.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]
Counts = NDArray[np.int64]

# Reordering and contraction are allowed, assumptions about infinities and NaN are not: a score that is not finite must
# stay visible.
FAST = {"reassoc", "contract", "nsz", "arcp", "afn"}
LOGIT_LIMIT = np.float32(60.0)
LEAST_LIKELIHOOD = np.float32(1e-7)


@njit(cache=True, nogil=True, fastmath=FAST)
def _sigmoid(logits: Floats, out: Floats, exponents: Rows, powers: Floats, count: int) -> None:
    """out = 1 / (1 + exp(-logits)), within 1e-6 relative; logits beyond +-60 count as +-60.

    exp(x) = 2^n exp(r) with |r| <= ln(2) / 2 and a polynomial of degree 6 for exp(r); `powers` views the bits in
    `exponents` as float32.
    """
    for k in range(count):
        x = min(max(-logits[k], -LOGIT_LIMIT), LOGIT_LIMIT)
        n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
        exponents[k] = (np.int32(n) + np.int32(127)) << np.int32(23)
        r = (x - n * np.float32(0.693359375)) + n * np.float32(2.12194440e-4)
        p = np.float32(1.0 / 720.0)
        p = p * r + np.float32(1.0 / 120.0)
        p = p * r + np.float32(1.0 / 24.0)
        p = p * r + np.float32(1.0 / 6.0)
        p = p * r + np.float32(0.5)
        p = p * r + np.float32(1.0)
        p = p * r + np.float32(1.0)
        out[k] = p
    for k in range(count):
        out[k] = np.float32(1.0) / (np.float32(1.0) + out[k] * powers[k])


@njit(cache=True, nogil=True, fastmath=FAST, inline="always")
def _dot(a: Floats, b: Floats, dim: int) -> np.float32:
    total = np.float32(0.0)
    for d in range(dim):
        total += a[d] * b[d]
    return total


@njit(cache=True, nogil=True, fastmath=FAST)
def train_block(
    first: int, last: int, table: Floats, weights: Floats, biases: Floats, base: Floats, directions: Floats,
    tastes: Floats, sample_offsets: Counts, codes: Rows, batch_size: int, epochs: int, score_lr: np.float32,
    item_lr: np.float32, row_starts: Counts, row_counts: Counts, rows: Rows, local: Floats, scale: float, limit: float,
    use_sum: bool, accumulator: Counts, losses: NDArray[np.float64],
) -> int:  # fmt: skip
    """Train clients first..last-1 in place of `weights`, `biases`; leave their touched rows and changes in `rows`,
    `local`.

    A score is the table's part and the head's, `base + directions . tastes`, which training leaves alone. With
    `use_sum` the changes, rounded to integers at `scale` and held within +-limit, are also added to
    `accumulator` (n_items, dim) int64. `losses` gets each client's summed binary cross-entropy in nats, before each
    batch's step; a sample counts at most 16 nats there (it is shown to people, nothing is computed from it). A client
    whose rows are no longer finite gets NaN. Returns how many coordinates met the limit.
    """
    n_items, dim = table.shape
    slot = np.full(n_items, -1, np.int32)
    w = np.empty(dim, np.float32)
    gradient = np.empty(dim, np.float32)
    logits = np.empty(batch_size, np.float32)
    pull = np.empty(batch_size, np.float32)
    exponents = np.empty(batch_size, np.int32)
    powers = exponents.view(np.float32)
    longest = 0
    for client in range(first, last):
        longest = max(longest, sample_offsets[client + 1] - sample_offsets[client])
    places = np.empty(longest, np.int32)
    head = np.empty(min(longest, n_items), np.float32)
    width = directions.shape[1]
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
                head[touched] = base[item] + _dot(directions[item], tastes[client], width)
                touched += 1
            places[s - start] = slot[item]
        row_counts[client] = touched
        mine = local[begins : begins + touched]
        for d in range(dim):
            w[d] = weights[client, d]
        bias = biases[client]
        loss = 0.0

        for _ in range(epochs):
            for begin in range(start, stop, batch_size):
                count = min(batch_size, stop - begin)
                offset = begin - start
                # Score function first ...
                for k in range(count):
                    place = places[offset + k]
                    logits[k] = _dot(mine[place], w, dim) + bias + head[place]
                _sigmoid(logits, pull, exponents, powers, count)
                likelihood = 1.0
                for k in range(count):
                    label = np.float32(codes[begin + k] & 1)
                    right = pull[k] if label > 0 else np.float32(1.0) - pull[k]
                    likelihood *= max(right, LEAST_LIKELIHOOD)
                    pull[k] -= label
                    if k % 8 == 7:
                        loss -= np.log(likelihood)
                        likelihood = 1.0
                loss -= np.log(likelihood)
                for d in range(dim):
                    gradient[d] = np.float32(0.0)
                bias_gradient = np.float32(0.0)
                for k in range(count):
                    row = mine[places[offset + k]]
                    for d in range(dim):
                        gradient[d] += pull[k] * row[d]
                    bias_gradient += pull[k]
                step = score_lr / np.float32(count)
                for d in range(dim):
                    w[d] -= step * gradient[d]
                bias -= step * bias_gradient
                # ... then the item rows, by the new score function (post-tuning).
                for k in range(count):
                    place = places[offset + k]
                    logits[k] = _dot(mine[place], w, dim) + bias + head[place]
                _sigmoid(logits, pull, exponents, powers, count)
                step = item_lr / np.float32(count)
                for k in range(count):
                    amount = -step * (pull[k] - np.float32(codes[begin + k] & 1))
                    row = mine[places[offset + k]]
                    for d in range(dim):
                        row[d] += amount * w[d]

        for d in range(dim):
            weights[client, d] = w[d]
        biases[client] = bias
        losses[client] = loss
        for r in range(touched):
            item = rows[begins + r]
            slot[item] = -1
            for d in range(dim):
                mine[r, d] -= table[item, d]
                if not np.isfinite(mine[r, d]):
                    losses[client] = np.nan
            if use_sum and np.isfinite(losses[client]):
                for d in range(dim):
                    value = np.rint(np.float64(mine[r, d]) * scale)
                    if value < -limit or value > limit:
                        saturated += 1
                        value = min(max(value, -limit), limit)
                    accumulator[item, d] += np.int64(value)
    return saturated


@njit(cache=True, nogil=True, fastmath=FAST)
def score_block(
    first: int, last: int, table: Floats, weights: Floats, biases: Floats, base: Floats, directions: Floats,
    tastes: Floats, candidates: Rows, out: Floats,
) -> None:  # fmt: skip
    """out[c, j] = logit of candidate j of client c under the given item table; candidates below 0 score 0."""
    dim, width = table.shape[1], directions.shape[1]
    for client in range(first, last):
        for j in range(candidates.shape[1]):
            item = candidates[client, j]
            out[client, j] = np.float32(0.0)
            if item >= 0:
                head = base[item] + _dot(directions[item], tastes[client], width)
                out[client, j] = _dot(table[item], weights[client], dim) + biases[client] + head


@njit(cache=True, nogil=True, fastmath=FAST)
def change_block(
    first: int, last: int, weights: Floats, row_starts: Counts, row_counts: Counts, rows: Rows, local: Floats,
    n_items: int, candidates: Rows, out: Floats,
) -> None:  # fmt: skip
    """Add to out[c, j] what client c's own change of candidate j's row adds to its logit."""
    dim = local.shape[1]
    slot = np.full(n_items, -1, np.int64)
    for client in range(first, last):
        base = row_starts[client]
        for r in range(row_counts[client]):
            slot[rows[base + r]] = base + r
        for j in range(candidates.shape[1]):
            item = candidates[client, j]
            if item >= 0 and slot[item] >= 0:
                out[client, j] += _dot(local[slot[item]], weights[client], dim)
        for r in range(row_counts[client]):
            slot[rows[base + r]] = -1
