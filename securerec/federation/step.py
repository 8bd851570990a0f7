"""The server's step: from an opened sum to the next item table."""

import math

import numpy as np
from numpy.typing import NDArray

from securerec.models.shrinkage import wiener
from securerec.training.cohort import Table

LEFT = 1e-3
"""Share of a round's noise that is never taken away: a table that did not move at all would be no new one, and devices
answer a table once."""

DOUBT = 2.0
"""How sure the server asks to be that a round's mean is more than noise: its share of the budget may be small."""


def stepped(
    table: Table, total: NDArray[np.int64], *, survivors: int, scale: float, server_lr: float, client_sigma: float,
    popularity: NDArray[np.float64] | None,
) -> Table:  # fmt: skip
    """The table (n_rows, width) after a round whose survivors' integers, `scale` of them to a unit, add up to `total`.

    popularity: (n_items,) as the warm start released it; with it the server takes of a round's mean what is more than
    noise. client_sigma: deviation of one client's noise, in its integers.
    """
    mean = total.reshape(table.shape) / (survivors * scale)
    if popularity is not None:
        noise = client_sigma / (math.sqrt(survivors) * scale)
        mean = LEFT * mean + (1 - LEFT) * wiener(mean, noise, popularity, doubt=DOUBT)
    return (table + server_lr * mean).astype(np.float32)
