"""Leave-one-out by time, and the candidates that a held-out item is ranked against."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from securerec.data.interactions import Interactions
from securerec.errors import DataError

ABSENT = -1
_CELLS_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Training interactions, and one held-out item a user for validation and test: `(n_users,) int32`, -1 for none."""

    train: Interactions
    validation: NDArray[np.int32]
    test: NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The items each held-out item is ranked against.

    `validation` and `test` are `(n_users, 1 + negatives) int32`: the held-out item in column 0, items the user never
    touched in the others. Rows of users without a held-out item are -1 throughout.
    """

    validation: NDArray[np.int32]
    test: NDArray[np.int32]

    @property
    def negatives(self) -> int:
        return self.test.shape[1] - 1


def leave_one_out(interactions: Interactions) -> Split:
    """Hold out each user's newest item for test and the second newest for validation.

    Users with fewer than 3 interactions keep all of them in training and have no held-out item.
    """
    counts = interactions.counts()
    eligible = counts >= 3
    ends = interactions.offsets[1:][eligible]
    held_out = np.full((2, interactions.n_users), ABSENT, dtype=np.int32)
    held_out[0, eligible] = interactions.items[ends - 2]
    held_out[1, eligible] = interactions.items[ends - 1]
    stays = np.ones(interactions.n_interactions, dtype=bool)
    stays[ends - 1] = False
    stays[ends - 2] = False
    offsets = np.zeros(interactions.n_users + 1, dtype=np.int64)
    offsets[1:] = np.cumsum(counts - 2 * eligible)
    return Split(Interactions(offsets, interactions.items[stays], interactions.n_items), held_out[0], held_out[1])


def draw_candidates(
    interactions: Interactions, split: Split, rng: np.random.Generator, negatives: int = 99
) -> Candidates:
    """Draw each user's negatives for validation and for test.

    Both lists are uniform without replacement over the items the user never touched (training, validation and test all
    count as touched), and disjoint when the user has at least `2 * negatives` such items; otherwise they overlap in as
    few items as possible. When some user with a held-out item has fewer than `negatives` such items, everybody gets
    that fewer number, so that all rows stay comparable; the width of the result tells. Raises DataError when that
    number is zero, ValueError when `negatives` is below 1.
    """
    if negatives < 1:
        raise ValueError(f"negatives must be at least 1, not {negatives}")
    users = np.flatnonzero(split.test != ABSENT)
    touched = np.bincount(interactions.pairs() // max(interactions.n_items, 1), minlength=interactions.n_users)
    untouched = interactions.n_items - touched[users]
    width = min(negatives, int(untouched.min(initial=negatives)))
    if width < 1:
        raise DataError(
            f"user number {users[np.argmin(untouched)]} has touched all {interactions.n_items} items, so nothing is "
            "left to rank a held-out item against: remove that user or add items"
        )
    wanted = np.minimum(2 * width, untouched)
    drawn = _draw_untouched(users, wanted, 2 * width, interactions, rng)
    result = np.full((2, interactions.n_users, 1 + width), ABSENT, dtype=np.int32)
    result[0, users, 0], result[1, users, 0] = split.validation[users], split.test[users]
    columns = np.arange(width)
    result[0, users, 1:] = drawn[:, :width]
    result[1, users, 1:] = np.take_along_axis(drawn, (wanted - width)[:, None] + columns, axis=1)
    return Candidates(result[0], result[1])


def _draw_untouched(
    users: NDArray[np.int64],
    wanted: NDArray[np.int64],
    most: int,
    interactions: Interactions,
    rng: np.random.Generator,
) -> NDArray[np.int32]:
    """For each user, `wanted` items that it never touched in uniformly random order, -1 beyond: `(users, most)`.

    A stream of uniform items, stripped of touched items and of repeats, is a draw without replacement. Users whose
    stream runs dry get a fresh permutation of their untouched items instead: whether it ran dry depends only on how
    many items survived, never on which, so both ways are uniform.
    """
    drawn = np.full((users.size, most), ABSENT, dtype=np.int32)
    length = 2 * most
    at_once = max(1, _CELLS_AT_ONCE // length)
    for start in range(0, users.size, at_once):
        chunk, wish = users[start : start + at_once], wanted[start : start + at_once]
        block = drawn[start : start + at_once]
        stream = rng.integers(interactions.n_items, size=(chunk.size, length))
        complete = _strip(stream, chunk, wish, interactions.offsets, interactions.items, interactions.n_items, block)
        for row in np.flatnonzero(~complete):
            free = np.ones(interactions.n_items, dtype=bool)
            free[interactions.of(int(chunk[row]))] = False
            block[row] = ABSENT
            block[row, : wish[row]] = rng.permutation(np.flatnonzero(free))[: wish[row]]
    return drawn


@njit(cache=True, nogil=True)
def _strip(
    stream: NDArray[np.int64], users: NDArray[np.int64], wanted: NDArray[np.int64], offsets: NDArray[np.int64],
    items: NDArray[np.int32], n_items: int, drawn: NDArray[np.int32],
) -> NDArray[np.bool_]:  # fmt: skip
    """Write the first `wanted` items of each user's stream that it neither touched nor met before; which got all."""
    complete = np.zeros(users.size, np.bool_)
    barred_for = np.full(n_items, -1, np.int64)
    for row in range(users.size):
        for place in range(offsets[users[row]], offsets[users[row] + 1]):
            barred_for[items[place]] = row
        found = 0
        for item in stream[row]:
            if found < wanted[row] and barred_for[item] != row:
                barred_for[item] = row
                drawn[row, found] = item
                found += 1
        complete[row] = found == wanted[row]
    return complete
