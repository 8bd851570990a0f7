"""How long after the training list ends the test item came: the same session, or another day.

A method that weighs recent items more gains within a session. Users who come back after days are a group of their own,
and a table says what such a method is worth for them.
"""

import numpy as np
from numpy.typing import NDArray

from securerec.data.dataset import Dataset
from securerec.evaluation.protocols import Ranks

GAPS = ("same second", "up to a day", "over a day")
_SECONDS_A_DAY = 86_400


def gaps_before_test(dataset: Dataset) -> NDArray[np.float64] | None:
    """Time from each user's newest training interaction to the test interaction, `(n_users,) float64` in the data
    set's unit, NaN for users without a held-out item.

    Training ends two places before the test item: between them stands the validation item (`leave_one_out`). None
    without timestamps.
    """
    if dataset.timestamps is None:
        return None
    eligible = dataset.interactions.counts() >= 3
    ends = dataset.interactions.offsets[1:][eligible]
    gaps = np.full(dataset.interactions.n_users, np.nan)
    gaps[eligible] = dataset.timestamps[ends - 1] - dataset.timestamps[ends - 3]
    return gaps


def ranks_by_gap(ranks: Ranks, dataset: Dataset, *, day: float = _SECONDS_A_DAY) -> dict[str, Ranks] | None:
    """The ranks of the users whose test item came less than a second, at most a day, and more than a day after the
    training list, by the names in GAPS; groups without users are left out. Each group's `intervals` are its row.

    `day` is a day in the unit of the data set's timestamps. None without timestamps. Raises ValueError for users whom
    the data set does not know, or knows without a test item, and for a `day` that is not positive.
    """
    if not 0 < day < np.inf:
        raise ValueError(f"a day must be positive, not {day}")
    gaps = gaps_before_test(dataset)
    if gaps is None:
        return None
    if np.any(ranks.users >= len(gaps)) or np.any(np.isnan(gaps[ranks.users])):
        raise ValueError(f"the ranks are of users that {dataset.name} has no test item for")
    found = gaps[ranks.users]
    group = np.where(found < day / _SECONDS_A_DAY, 0, np.where(found <= day, 1, 2))
    return {
        name: Ranks(ranks.users[group == k], ranks.better[group == k], ranks.tied[group == k])
        for k, name in enumerate(GAPS)
        if np.any(group == k)
    }
