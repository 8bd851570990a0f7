"""Every user's items in time order, as two arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Interactions:
    """Every user's items, oldest first.

    User `u` holds `items[offsets[u]:offsets[u + 1]]`. `offsets` is `(n_users + 1,) int64`, `items` is
    `(n_interactions,) int32` with values in `0 .. n_items - 1`. Raises ValueError when they disagree.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    n_items: int

    def __post_init__(self) -> None:
        if self.offsets.dtype != np.int64 or self.items.dtype != np.int32:
            raise ValueError(f"offsets must be int64 and items int32, not {self.offsets.dtype} and {self.items.dtype}")
        if self.offsets.ndim != 1 or self.items.ndim != 1 or self.offsets.size == 0:
            raise ValueError("offsets and items must be one-dimensional, and offsets must start with 0")
        if self.offsets[0] != 0 or self.offsets[-1] != self.items.size or np.any(np.diff(self.offsets) < 0):
            raise ValueError(f"offsets must rise from 0 to the number of items, {self.items.size}")
        if self.items.size and not 0 <= int(self.items.min()) <= int(self.items.max()) < self.n_items:
            raise ValueError(f"items must lie between 0 and {self.n_items - 1}")

    def __repr__(self) -> str:
        return f"Interactions(n_users={self.n_users}, n_items={self.n_items}, n_interactions={self.n_interactions})"

    @property
    def n_users(self) -> int:
        return self.offsets.size - 1

    @property
    def n_interactions(self) -> int:
        return self.items.size

    def counts(self) -> NDArray[np.int64]:
        """Interactions of each user, `(n_users,) int64`."""
        return np.diff(self.offsets)

    def of(self, user: int) -> NDArray[np.int32]:
        """The user's items, oldest first: a view, `(count,) int32`. Raises IndexError for a user that is not there."""
        if not 0 <= user < self.n_users:
            raise IndexError(f"user {user} is not among 0 .. {self.n_users - 1}")
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def users(self) -> NDArray[np.int32]:
        """The user of each interaction, `(n_interactions,) int32`."""
        return np.repeat(np.arange(self.n_users, dtype=np.int32), self.counts())

    def pairs(self) -> NDArray[np.int64]:
        """The distinct pairs, sorted, each as `user * n_items + item`, `(n_pairs,) int64`."""
        keys = self.users().astype(np.int64) * self.n_items + self.items
        keys.sort()  # Sorting and comparing neighbours: of 10 million, np.unique takes some twenty times as long.
        return keys[np.concatenate((np.ones(min(keys.size, 1), dtype=bool), keys[1:] != keys[:-1]))]

    def popularity(self) -> NDArray[np.int64]:
        """Distinct users of each item, `(n_items,) int64`."""
        return np.bincount(self.pairs() % max(self.n_items, 1), minlength=self.n_items).astype(np.int64)

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[int]], n_items: int) -> Self:
        """One list of items, oldest first, for each user."""
        offsets = np.zeros(len(lists) + 1, dtype=np.int64)
        offsets[1:] = np.cumsum([len(items) for items in lists])
        items = np.array([item for items in lists for item in items], dtype=np.int32)
        return cls(offsets, items, n_items)

    @classmethod
    def from_sorted(cls, users: NDArray[np.integer], items: NDArray[np.integer], n_users: int, n_items: int) -> Self:
        """From parallel arrays whose rows are already grouped by user and oldest first within a user."""
        offsets = np.zeros(n_users + 1, dtype=np.int64)
        offsets[1:] = np.cumsum(np.bincount(users, minlength=n_users))
        return cls(offsets, items.astype(np.int32), n_items)


def chronological(users: NDArray[np.integer], times: NDArray[np.floating] | None) -> NDArray[np.int64]:
    """The row order that groups by user and puts each user's rows oldest first, `(n_rows,) int64`.

    Equal timestamps keep the order of the rows; so do all of a user's rows when `times` is None.
    """
    if times is None:
        return np.argsort(users, kind="stable").astype(np.int64)
    return np.lexsort((times, users)).astype(np.int64)
