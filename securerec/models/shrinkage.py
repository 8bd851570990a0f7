"""What of a noisy sum is more than noise: an estimate that needs no further look at anybody's data."""

import numpy as np
from numpy.typing import NDArray

GROUPS = 12
"""Items are shrunk in so many groups of like popularity: what is known of an item grows with it."""


def wiener(
    values: NDArray[np.float64], noise: float, popularity: NDArray[np.float64], *, doubt: float
) -> NDArray[np.float64]:
    """Shrink (n_items, width) towards zero, by group of like popularity (n_items,) and by column.

    Of a group's mean square what goes beyond noise^2 is signal; its values are multiplied by signal over mean square,
    Wiener's factor, the linear estimate of least squared error where signal and noise are independent. noise: each
    value's standard deviation of noise; without any, values are left alone. doubt: the mean square of n values of noise
    alone is off by sqrt(2 / n), relatively, and as many times that counts as noise; with 0 a group without signal keeps
    a tenth of its noise or so, with 2 hardly any.
    """
    if noise == 0.0:
        return values
    shrunk = np.empty_like(values)
    for group in np.array_split(np.argsort(-popularity, kind="stable"), GROUPS):
        if len(group) == 0:
            continue
        square = np.square(values[group]).mean(axis=0)
        by_noise = noise**2 * (1 + doubt * np.sqrt(2 / len(group)))
        shrunk[group] = values[group] * (np.maximum(square - by_noise, 0.0) / np.maximum(square, 1e-300))
    return shrunk
