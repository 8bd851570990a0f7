"""Compiled loops of PFedRec's local training, for one block of clients.

A client touches few item rows in a round, so it works on a copy of just those, in a slice of one buffer that stays in
cache while the client trains. The kernels run without the interpreter's lock, one block of clients a thread. Sums and
exponentials are written so that the compiler can use vector instructions; the order of float additions is fixed on one
machine, but may differ between machines with other vector widths. `shape` is a tuple as long as an item row, see
`securerec.training.rows`.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from securerec.training import rows as row_of

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]
Counts = NDArray[np.int64]
Shape = tuple[int, ...]

# Reordering and contraction are allowed, assumptions about infinities and NaN are not: a score that is not finite must
# stay visible.
FAST = {"reassoc", "contract", "nsz", "arcp", "afn"}
LOGIT_LIMIT = np.float32(60.0)
LEAST_LIKELIHOOD = 1e-7

_FACTORS = 32
"""Likelihoods multiplied before a logarithm is taken: 1e-7 to this power is still a float64."""


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
def _loss(probabilities: Floats, codes: Rows, count: int) -> float:
    """Binary cross-entropy of `count` samples, summed, in nats."""
    loss = 0.0
    for start in range(0, count, _FACTORS):
        likelihood = 1.0
        for k in range(start, min(start + _FACTORS, count)):
            right = probabilities[k] if codes[k] & 1 else np.float32(1.0) - probabilities[k]
            likelihood *= max(np.float64(right), LEAST_LIKELIHOOD)
        loss -= np.log(likelihood)
    return loss


@njit(cache=True, nogil=True, fastmath=FAST)
def train_block(
    shape: Shape, first: int, last: int, table: Floats, weights: Floats, biases: Floats, base: Floats,
    directions: Floats, tastes: Floats, sample_offsets: Counts, codes: Rows, batch_size: int, epochs: int,
    score_lr: np.float32, bias_lr: np.float32, item_lr: np.float32, post_tuning: bool, row_starts: Counts,
    row_counts: Counts, rows: Rows, local: Floats, use_sum: bool, scale: float, limit: float, accumulator: Counts,
    losses: NDArray[np.float64], candidates: Rows, scores: Floats,
) -> int:  # fmt: skip
    """Train clients first..last-1 in place of `weights`, `biases`; leave their touched rows and changes in `rows`,
    `local`, where `row_starts` says (the same place for all, when nobody needs them later).

    A score is the table's part and the head's, `base + directions . tastes`, which training leaves alone. With
    `use_sum` the changes, rounded to integers at `scale` and held within +-limit, are also added to
    `accumulator` (n_items, dim) int64. `losses` gets each client's summed binary cross-entropy in nats, before each
    batch's step; a sample counts at most 16 nats there (it is shown to people, nothing is computed from it). A client
    whose rows are no longer finite gets NaN. `scores` gets the logits of `candidates` (n_clients, n) by each client's
    own view after training. Returns how many coordinates met the limit.
    """
    n_items, dim = table.shape
    slot = np.full(n_items, -1, np.int64)
    gradient, zeros = np.zeros((1, dim), np.float32), np.zeros((1, dim), np.float32)
    pull = np.empty(batch_size, np.float32)
    logits = np.empty(batch_size, np.float32)
    exponents = np.empty(batch_size, np.int32)
    powers = exponents.view(np.float32)
    longest = 0
    for client in range(first, last):
        longest = max(longest, sample_offsets[client + 1] - sample_offsets[client])
    places = np.empty(longest, np.int64)
    head = np.empty(min(longest, n_items), np.float32)
    added = np.empty(longest, np.float32)
    width = directions.shape[1]
    saturated = 0

    for client in range(first, last):
        start, stop = sample_offsets[client], sample_offsets[client + 1]
        begins = row_starts[client]
        ends = begins
        for s in range(start, stop):
            item = codes[s] >> 1
            if slot[item] < 0:
                slot[item] = ends
                rows[ends] = item
                row_of.copy(shape, local, ends, table, item)
                head[ends - begins] = base[item] + _dot(directions[item], tastes[client], width)
                ends += 1
            places[s - start] = slot[item]
            added[s - start] = head[slot[item] - begins]
        row_counts[client] = ends - begins
        loss = 0.0

        for _ in range(epochs):
            for begin in range(start, stop, batch_size):
                batch = codes[begin : min(begin + batch_size, stop)]
                count = len(batch)
                mine, given = places[begin - start :], added[begin - start :]
                for k in range(count):
                    logits[k] = row_of.dot(shape, local, mine[k], weights, client) + biases[client] + given[k]
                _sigmoid(logits, pull, exponents, powers, count)
                loss += _loss(pull, batch, count)
                row_of.copy(shape, gradient, 0, zeros, 0)
                bias_gradient = np.float32(0.0)
                for k in range(count):
                    pull[k] -= np.float32(batch[k] & 1)
                    row_of.add(shape, gradient, 0, pull[k], local, mine[k])
                    bias_gradient += pull[k]
                share = np.float32(1.0) / np.float32(count)
                if post_tuning:
                    # Score function first, then the item rows by the new one.
                    row_of.add(shape, weights, client, -score_lr * share, gradient, 0)
                    biases[client] -= bias_lr * share * bias_gradient
                    for k in range(count):
                        logits[k] = row_of.dot(shape, local, mine[k], weights, client) + biases[client] + given[k]
                    _sigmoid(logits, pull, exponents, powers, count)
                    for k in range(count):
                        pull[k] -= np.float32(batch[k] & 1)
                for k in range(count):
                    row_of.add(shape, local, mine[k], -item_lr * share * pull[k], weights, client)
                if not post_tuning:
                    row_of.add(shape, weights, client, -score_lr * share, gradient, 0)
                    biases[client] -= bias_lr * share * bias_gradient

        losses[client] = loss
        for r in range(begins, ends):
            row_of.add(shape, local, r, np.float32(-1.0), table, rows[r])
            # 0 times what is not finite is NaN.
            if row_of.dot(shape, local, r, zeros, 0) != 0:
                losses[client] = np.nan
            elif use_sum:
                saturated += row_of.add_rounded(shape, accumulator, rows[r], scale, limit, local, r)
        _score_client(shape, client, table, weights, biases, base, directions, tastes, slot, local, candidates, scores)
        for r in range(begins, ends):
            slot[rows[r]] = -1
    return saturated


# Without the freedom to reorder, so that a score has the same bits wherever it is computed.
@njit(cache=True, nogil=True)
def _score_client(
    shape: Shape, client: int, table: Floats, weights: Floats, biases: Floats, base: Floats, directions: Floats,
    tastes: Floats, slot: Counts, local: Floats, candidates: Rows, out: Floats,
) -> None:  # fmt: skip
    """out[client] = a client's logits for its candidates by `table` and its own change of it, which is
    `local[slot[item]]`, or nothing where that is below 0; 0 for a candidate below 0.
    """
    for j in range(candidates.shape[1]):
        item = candidates[client, j]
        logit = np.float32(0.0)
        if item >= 0:
            logit = biases[client] + base[item]
            for f in range(directions.shape[1]):
                logit += directions[item, f] * tastes[client, f]
            logit += row_of.dot(shape, table, item, weights, client)
            if slot[item] >= 0:
                logit += row_of.dot(shape, local, slot[item], weights, client)
        out[client, j] = logit


@njit(cache=True, nogil=True)
def score_block(
    shape: Shape, first: int, last: int, table: Floats, weights: Floats, biases: Floats, base: Floats,
    directions: Floats, tastes: Floats, row_starts: Counts, row_counts: Counts, rows: Rows, local: Floats,
    candidates: Rows, out: Floats,
) -> None:  # fmt: skip
    """out[c, j] = logit of candidate j of client c by the item table and the client's own change of it; candidates
    below 0 score 0.
    """
    slot = np.full(len(table), -1, np.int64)
    for client in range(first, last):
        begins, ends = row_starts[client], row_starts[client] + row_counts[client]
        for r in range(begins, ends):
            slot[rows[r]] = r
        _score_client(shape, client, table, weights, biases, base, directions, tastes, slot, local, candidates, out)
        for r in range(begins, ends):
            slot[rows[r]] = -1
