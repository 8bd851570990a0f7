"""A made-up world of any size: power-law items, log-normal users, and tastes of low rank to be learnt.

User u takes item i with a probability of `sum_k mixture_uk p_ki`, where `p_k` is proportional to `popularity_i
affinity_ik`: people and items have a few kinds in common, most people mainly one, and each kind has its popular items.
All of it is drawn from one generator.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from securerec.data.cache import canonical_name
from securerec.data.dataset import BY_ROW, Dataset
from securerec.data.interactions import Interactions
from securerec.errors import DataError

LEAST_ITEMS = 3
"""Distinct items of each user: one to train on beside the two that leave-one-out holds back."""

KINDS = 16
ACTIVITY_DEVIATION = 1.0
"""Of the logarithm of a user's number of items; MovieLens 1M has .99."""

_USER_CONCENTRATION, _ITEM_CONCENTRATION = 0.05, 0.1
_FLATTENED = 100
"""Popularity falls as 1 / (rank + items / 100): else every user's list is filled by the same few items."""
_MOST_SHARE = 5
_REPEATS = 256


def synthesize(
    users: int, items: int, interactions: int, rng: np.random.Generator, *, name: str = "synthetic"
) -> Dataset:
    """A data set of exactly this many users, items and interactions, each user's items distinct and in random order.

    The items' popularity is a power law of their rank; a user has at least 3 items and at most a fifth of the
    catalogue (3, in a smaller one). No attributes, genres, years or timestamps; titles are "Item 1", ... Memory: 4
    bytes an interaction and some hundred a user and an item. Raises DataError when no such world exists: too few users
    or items, or a number of interactions that the users cannot hold.
    """
    name = canonical_name(name)
    most = max(LEAST_ITEMS, items // _MOST_SHARE)
    if users < 1 or items < 10:
        raise DataError(f"a world of {users} users and {items} items is too small: take at least 1 user and 10 items")
    if not users * LEAST_ITEMS <= interactions <= users * most:
        raise DataError(
            f"{users} users over {items} items have between {users * LEAST_ITEMS} and {users * most} interactions "
            f"({LEAST_ITEMS} to {most} each), not {interactions}"
        )
    offsets = np.zeros(users + 1, np.int64)
    offsets[1:] = np.cumsum(_activity(users, interactions, most, rng))
    cumulative = _tastes(items, rng)
    mixtures = rng.dirichlet(np.full(KINDS, _USER_CONCENTRATION), users).cumsum(axis=1)
    taken = np.empty(interactions, np.int32)
    _take(offsets, mixtures, cumulative, rng, taken)
    return Dataset(
        name=name,
        interactions=Interactions(offsets, taken, items),
        user_ids=tuple(str(number) for number in range(1, users + 1)),
        item_ids=tuple(str(number) for number in range(1, items + 1)),
        titles=tuple(f"Item {number}" for number in range(1, items + 1)),
        years=np.zeros(items, np.int16),
        genres=np.zeros((items, 0), np.bool_),
        genre_names=(),
        user_attributes={},
        licence="made up",
        source=f"synthesized: {users} users, {items} items, {interactions} interactions",
        tie_rule=BY_ROW,
    )


def _activity(users: int, interactions: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Items of each user, (users,): log-normal, held between the least and the most, exactly `interactions` in all."""
    drawn = np.exp(ACTIVITY_DEVIATION * rng.standard_normal(users))
    low, high = 0.0, float(most) / drawn.min()
    for _ in range(100):  # The total rises with the factor, so halving finds it.
        factor = (low + high) / 2
        total = np.clip(drawn * factor, LEAST_ITEMS, most).sum()
        low, high = (factor, high) if total < interactions else (low, factor)
    counts = np.floor(np.clip(drawn * low, LEAST_ITEMS, most)).astype(np.int64)
    while short := interactions - int(counts.sum()):
        open_ = np.flatnonzero(counts < most if short > 0 else counts > LEAST_ITEMS)
        counts[rng.permutation(open_)[: abs(short)]] += np.sign(short)
    return counts


def _tastes(items: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """For each kind, the cumulative probability of the items, (KINDS, items)."""
    popularity = 1.0 / (np.arange(1, items + 1) + items / _FLATTENED)
    rng.shuffle(popularity)
    affinity = rng.gamma(_ITEM_CONCENTRATION, size=(KINDS, items))
    affinity /= np.maximum(affinity.sum(axis=0), np.finfo(np.float64).tiny)
    cumulative = np.cumsum(popularity * affinity, axis=1)
    return cumulative / cumulative[:, -1:]


@njit(cache=True)
def _take(
    offsets: NDArray[np.int64], mixtures: NDArray[np.float64], cumulative: NDArray[np.float64],
    rng: np.random.Generator, taken: NDArray[np.int32],
) -> None:  # fmt: skip
    """Fill in each user's distinct items. Who has met only known items for long takes any other one."""
    n_items = cumulative.shape[1]
    have = np.zeros(n_items, np.bool_)
    for user in range(len(mixtures)):
        mine = taken[offsets[user] : offsets[user + 1]]
        for place in range(len(mine)):
            item, repeats = np.int64(0), 0
            while repeats == 0 or have[item]:
                if repeats < _REPEATS:
                    kind = np.searchsorted(mixtures[user, :-1], rng.random(), side="right")
                    item = np.searchsorted(cumulative[kind, :-1], rng.random(), side="right")
                else:
                    item = rng.integers(0, n_items)
                repeats += 1
            have[item] = True
            mine[place] = item
        # In random order, else the newest item would be a less popular one than the others.
        rng.shuffle(mine)
        have[mine] = False
