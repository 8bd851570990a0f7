"""The mathematics of one step for one client, compiled. States are float64, sums are whole numbers.

Let w be the score function's weights, b its bias, e_i the item rows; an example has items i_0 (the positive), ..., i_k
and residuals r_j = sigmoid(e_{i_j} . w + b) - [j = 0], the derivatives of its binary cross-entropy by its logits. Its
gradient is rank one:

    by w: sum_j r_j e_{i_j};   by b: sum_j r_j;   by e_i: (sum_{j: i_j = i} r_j) w.

All item gradients lie along the unit vector a = w / |w|, whoever's data they are, and w is known to whoever might look
(it is itself a result of noised steps). So they are written in that basis, by one number |w| sum_j r_j an item: norms
and inner products are the same, and Gaussian noise there is, in law, Gaussian noise on every coordinate of every row,
projected on a afterwards. What the projection leaves out holds noise and no gradient.

A vector of a step has the coordinates [by w (dim), by b (1), by item along a (n_items)].
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Whole = NDArray[np.int64]
Words = NDArray[np.uint64]


@njit(cache=True, nogil=True)
def sum_clipped(
    items: NDArray[np.int32], words: Words, coin_limit: np.uint64, local: Reals, weights: Reals, bias: float,
    clip_norm: float, clip_units: int, total: Whole,
) -> tuple[int, float]:  # fmt: skip
    """Add every taken example's clipped and rounded gradient to `total` (dim + 1 + n_items,) int64, grid units.

    items: (n,) distinct, the client's. words: (n_items, 1 + negatives), see `examples.draw_words`. local: (n_items,
    dim). Returns how many examples were taken, and their summed binary cross-entropy in nats. An
    example whose gradient is not finite contributes nothing; none contributes more than `clip_units` (L2).
    """
    n_items, dim = local.shape
    samples = words.shape[1]
    places, residuals = np.empty(samples, np.int64), np.empty(samples, np.float64)
    by_weights = np.empty(dim, np.float64)
    whole = np.empty(dim + 1 + samples, np.int64)
    square = 0.0
    for d in range(dim):
        square += weights[d] * weights[d]
    length = math.sqrt(square)
    room = clip_units - 0.5 * math.sqrt(dim + 1 + samples) - 1e-6 * clip_units
    taken, loss = 0, 0.0
    for item in items:
        if words[item, 0] >> np.uint64(1) >= coin_limit:
            continue
        taken += 1
        by_bias = 0.0
        for d in range(dim):
            by_weights[d] = 0.0
        for j in range(samples):
            place = np.int64(item)
            if j > 0:
                place = np.int64(((words[item, j] >> np.uint64(32)) * np.uint64(n_items)) >> np.uint64(32))
            logit = bias
            for d in range(dim):
                logit += local[place, d] * weights[d]
            chance = 1.0 / (1.0 + math.exp(-max(logit, -700.0)))
            residual = chance - 1.0 if j == 0 else chance
            loss += max(logit, 0.0) - (logit if j == 0 else 0.0) + math.log1p(math.exp(-abs(logit)))
            by_bias += residual
            for d in range(dim):
                by_weights[d] += residual * local[place, d]
            places[j], residuals[j] = place, residual
            for earlier in range(j):  # an item drawn twice, or the positive itself, is one row
                if places[earlier] == place:
                    residuals[earlier] += residual
                    residuals[j] = 0.0
                    break
        square = by_bias * by_bias
        for d in range(dim):
            square += by_weights[d] * by_weights[d]
        for j in range(samples):
            square += (length * residuals[j]) ** 2
        if not math.isfinite(square):
            continue
        factor = room / max(clip_norm, math.sqrt(square))
        norm = 0
        for d in range(dim):
            whole[d] = np.int64(np.rint(by_weights[d] * factor))
            norm += int(whole[d] * whole[d])
        whole[dim] = np.int64(np.rint(by_bias * factor))
        norm += int(whole[dim] * whole[dim])
        for j in range(samples):
            whole[dim + 1 + j] = np.int64(np.rint(length * residuals[j] * factor))
            norm += int(whole[dim + 1 + j] * whole[dim + 1 + j])
        if norm > clip_units * clip_units:
            continue  # cannot be, as rounding adds at most sqrt(coordinates) / 2; holds whatever floats do
        for d in range(dim + 1):
            total[d] += whole[d]
        for j in range(samples):
            total[dim + 1 + places[j]] += whole[dim + 1 + j]
    return taken, loss


@njit(cache=True, nogil=True)
def descend(
    noised: Whole, unit: float, score_lr: float, item_lr: float, local: Reals, weights: Reals, bias: float
) -> float:
    """Step `local` (n_items, dim) and `weights` (dim,) down the noised sum, in place; returns the new bias.

    noised: (dim + 1 + n_items,) int64 grid units of `unit`. Where weights are zero no row moves, whatever the data.
    """
    n_items, dim = local.shape
    square = 0.0
    for d in range(dim):
        square += weights[d] * weights[d]
    length = math.sqrt(square)
    if length > 0.0:
        for i in range(n_items):
            amount = item_lr * unit * noised[dim + 1 + i] / length
            for d in range(dim):
                local[i, d] -= amount * weights[d]
    for d in range(dim):
        weights[d] -= score_lr * unit * noised[d]
    return float(bias - score_lr * unit * noised[dim])


@njit(cache=True, nogil=True)
def add_rounded(delta: NDArray[np.float32], scale: float, limit: float, total: Whole) -> int:
    """Add delta (n_items, dim), rounded at `scale` and held within +-limit, to `total`; how many met the limit."""
    saturated = 0
    for i in range(delta.shape[0]):
        for d in range(delta.shape[1]):
            value = np.rint(np.float64(delta[i, d]) * scale)
            if value < -limit or value > limit:
                saturated += 1
                value = min(max(value, -limit), limit)
            total[i, d] += np.int64(value)
    return saturated
