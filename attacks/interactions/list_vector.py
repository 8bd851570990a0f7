"""Reading a client's list from one noisy vector: its items as 0 and 1, over the root of their number.

Such a vector (the popularity release of a warm start) has one column, so there is no axis to find, as in a change of
the item table. Each value is either noise or 1 / sqrt(n) and noise, n being the list's length. The noise's deviation
is read from the vector itself, most of which is noise alone; n is averaged over, each as likely as it makes the vector.
"""

import numpy as np
from numpy.typing import NDArray

LENGTHS = np.array([2.0**k for k in range(1, 12)])
"""Lengths of a list that are thought of."""
_NORMAL_MAD = 1.4826
"""Standard deviation over median absolute deviation, of a normal variable."""


def list_log_odds(
    values: NDArray[np.float64], prior: NDArray[np.float64], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Log-odds (b, n_items) that each client has each item.

    values: (b, n_items), each client's vector, of norm 1 before noise; prior: (n_items,) log-odds of popularity, which
    `counts` (n_items,) say how many have the items. Of a vector without noise the values themselves decide.
    """
    noise = _NORMAL_MAD * np.median(np.abs(values), axis=1, keepdims=True)
    heights = 1 / np.sqrt(LENGTHS)
    shares = counts / max(float(counts.sum()), 1.0)
    found = np.empty(values.shape)
    for row, deviation in enumerate(noise[:, 0]):
        if deviation < 1e-9:
            found[row] = prior + np.where(values[row] > 0, 20.0, -20.0)
            continue
        # (lengths, n_items): how much likelier a value is with the item than without
        ratio = (heights[:, None] * values[row] - heights[:, None] ** 2 / 2) / deviation**2
        has = np.minimum(LENGTHS[:, None] * shares, 0.9)
        evidence = np.logaddexp(np.log1p(-has), np.log(has + 1e-300) + ratio).sum(axis=1)
        likely = np.exp(evidence - evidence.max())
        found[row] = prior + (likely / likely.sum()) @ ratio
    return found
