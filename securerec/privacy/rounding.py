"""From a real vector to integers that keep a bound on its norm: clip, scale to a grid, round at random until it holds.

Conditional stochastic rounding is from Kairouz, Liu, Steinke 2021, "The Distributed Discrete Gaussian Mechanism for
Federated Learning with Secure Aggregation", Algorithm 1 (L2). Each coordinate goes up with the probability of its
fraction, else down, all independently; a result beyond the bound is drawn again, whatever the vector.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from securerec.errors import PrivacyError
from securerec.privacy.randomness import KeyStream

_FINE, _NOT_FINITE, _NEGATIVE = 0, 1, 2
NOT_FINITE_MESSAGE = "the update holds a value that is not finite and must not be uploaded; lower the learning rate"


def rounded_norm_squared(grid_units: float, dimension: int) -> int:
    """The largest squared L2 norm, in grid units, that rounding lets through for a vector of norm `grid_units`.

    Floor of min(c + sqrt d, sqrt(c^2 + d/4 + sqrt(2 ln(1/beta)) (c + sqrt d / 2)))^2 with c = grid_units, d =
    dimension and beta = exp(-1/2) (Kairouz, Liu, Steinke 2021, Algorithm 1): a rounding passes with probability at
    least 1 - beta = 0.39.
    """
    root = math.sqrt(dimension)
    return math.floor(min((grid_units + root) ** 2, grid_units**2 + dimension / 4 + grid_units + root / 2))


def rounded_sensitivity(grid_units: float, dimension: int) -> float:
    """L2 sensitivity of an upload in grid units, zero-out relation: the root of `rounded_norm_squared`, rounded up."""
    return math.nextafter(math.sqrt(rounded_norm_squared(grid_units, dimension)), math.inf)


def l1_of_l2(norm_squared: int, dimension: int) -> int:
    """The largest L1 norm of a vector of `dimension` integers whose squared L2 norm is at most `norm_squared`, or more.

    ||y||_1 <= sqrt(d) ||y||_2 (Cauchy, Schwarz), and ||y||_1 <= ||y||_2^2, since |n| <= n^2 for a whole number n
    (Agarwal, Kairouz, Liu 2021, "The Skellam Mechanism for Differentially Private Federated Learning"). ||y||_1 is
    whole, so the root is rounded down.
    """
    return min(norm_squared, math.isqrt(dimension * norm_squared))


def rounded_norm_l1(grid_units: int, dimension: int) -> int:
    """The largest L1 norm, in grid units, that rounding lets through for a vector x of L1 norm `grid_units`.

    Floor of c + sqrt(v), c = grid_units, v = min(d / 4, c), or of c + d where that is less, which it never exceeds.
    Rounding x to Y keeps each sign, so |Y_i| has mean |x_i| and variance f (1 - f), f being the fraction of |x_i|,
    which is at most 1/4 and at most f <= |x_i|. So ||Y||_1 has a mean of at most c and a variance of at most v, and
    by Cantelli's inequality P(||Y||_1 > c + sqrt v) <= v / (v + v): a rounding passes with probability at least 1/2.
    """
    return grid_units + math.floor(min(math.sqrt(min(dimension / 4, grid_units)), dimension))


def round_to_norm(scaled: NDArray[np.float64], *, order: int, limit: int, stream: KeyStream) -> NDArray[np.int64]:
    """`scaled` (t, dim) rounded, all again until its norm is at most `limit`: squared L2 for order 2, L1 for order 1.

    Takes one word of the stream for each value and try.
    """
    whole = np.empty(scaled.shape, dtype=np.int64)
    while _round(scaled, stream.uint64(scaled.size).reshape(scaled.shape), order, whole) > limit:
        pass  # each try passes with probability at least 0.39, whatever the update is
    return whole


def spread(whole: NDArray[np.int64], rows: NDArray[np.int32], dimension: int) -> NDArray[np.int64]:
    """(dimension,) int64: whole (t, dim) in these rows, which were checked, of a table that is zero elsewhere."""
    values = np.zeros((dimension // whole.shape[1], whole.shape[1]), dtype=np.int64)
    _spread(whole, rows, values)
    return values.reshape(dimension)


def scale_to_grid(
    delta: NDArray[np.float32],
    *,
    order: int,
    clip_norm: float,
    grid_units: int,
    coordinate_cap: float,
    nonnegative: bool,
) -> NDArray[np.float64]:
    """delta (t, dim) capped at coordinate_cap clip_norm, clipped to the L1 or L2 norm clip_norm, in grid units.

    Raises PrivacyError for a value that is not finite, or, where asked, negative.
    """
    scaled = np.empty(delta.shape, dtype=np.float64)
    found = _scale(delta, order, clip_norm, float(grid_units), coordinate_cap, nonnegative, scaled)
    if found == _NOT_FINITE:
        raise PrivacyError(NOT_FINITE_MESSAGE)
    if found == _NEGATIVE:
        raise PrivacyError("the update holds a negative value, but its mechanism promises none: say nonnegative=False")
    return scaled


def check_rows(rows: NDArray[np.int32], delta: NDArray[np.float32], dimension: int) -> None:
    """Raises ValueError unless rows (t,) are distinct rows of a table of `dimension` values and delta is (t, dim)."""
    if delta.ndim != 2 or rows.shape != delta.shape[:1] or delta.shape[1] < 1 or dimension % delta.shape[1]:
        raise ValueError(f"rows {rows.shape} and delta {delta.shape} do not fit a table of {dimension} values")
    if not np.issubdtype(rows.dtype, np.integer) or not _distinct(rows, dimension // delta.shape[1]):
        raise ValueError("rows must be distinct whole numbers from 0 to n_items - 1")


@njit(cache=True, nogil=True)
def _distinct(rows: NDArray[np.int32], n_rows: int) -> bool:
    seen = np.zeros(n_rows, dtype=np.bool_)
    for row in rows:
        if row < 0 or row >= n_rows or seen[row]:
            return False
        seen[row] = True
    return True


@njit(cache=True, nogil=True)
def _scale(
    delta: NDArray[np.float32],
    order: int,
    clip_norm: float,
    grid_units: float,
    coordinate_cap: float,
    nonnegative: bool,
    scaled: NDArray[np.float64],
) -> int:
    """Cap, clip to the norm and scale to the grid. Anything but _FINE says what is wrong with a value."""
    cap, scaled_cap = coordinate_cap * clip_norm, coordinate_cap * grid_units
    total = 0.0
    for t in range(delta.shape[0]):
        for k in range(delta.shape[1]):
            if not np.isfinite(delta[t, k]):
                return _NOT_FINITE
            if nonnegative and delta[t, k] < 0:
                return _NEGATIVE
            value = min(max(np.float64(delta[t, k]), -cap), cap)
            scaled[t, k] = value
            total += value * value if order == 2 else abs(value)
    factor = grid_units / max(clip_norm, np.sqrt(total) if order == 2 else total)
    for t in range(delta.shape[0]):
        for k in range(delta.shape[1]):
            # the second cap undoes what the multiplication may have rounded up
            scaled[t, k] = min(max(scaled[t, k] * factor, -scaled_cap), scaled_cap)
    return _FINE


@njit(cache=True, nogil=True)
def _round(scaled: NDArray[np.float64], words: NDArray[np.uint64], order: int, whole: NDArray[np.int64]) -> int:
    """Round each value up with its fraction as probability (53 bits of its word); returns the L1 or squared L2 norm."""
    total = np.int64(0)
    for t in range(scaled.shape[0]):
        for k in range(scaled.shape[1]):
            value = scaled[t, k]
            floor = np.floor(value)
            up = np.float64(words[t, k] >> np.uint64(11)) * 2.0**-53 < value - floor
            rounded = np.int64(floor) + np.int64(up)
            whole[t, k] = rounded
            total += rounded * rounded if order == 2 else abs(rounded)
    return int(total)


@njit(cache=True, nogil=True)
def _spread(whole: NDArray[np.int64], rows: NDArray[np.int32], values: NDArray[np.int64]) -> None:
    for t in range(rows.size):
        for k in range(whole.shape[1]):
            values[rows[t], k] = whole[t, k]
