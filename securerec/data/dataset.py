"""A data set: interactions, and the names and attributes that go with their numbers."""

import difflib
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from securerec.data.interactions import Interactions
from securerec.errors import DataError

BY_TIMESTAMP = "by timestamp; equal timestamps keep the source's row order"
BY_TIMESTAMP_THEN_IDENTIFIER = (
    "by timestamp; of equal timestamps the higher item identifier counts as older, as in the published split"
)
BY_ROW = "by the source's row order, which has no timestamps"
_MOST_IDS_FOR_A_HINT = 50_000


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Interactions with user and item identifiers, item titles, years and genres, and user attributes.

    `years` is `(n_items,) int16`, 0 where unknown. `genres` is `(n_items, n_genres) bool`. Each entry of
    `user_attributes` holds one string a user. `timestamps` is `(n_interactions,) float64`, beside
    `interactions.items`, in the source's unit (seconds since 1970 for dates), or None when it only has an order.
    `tie_rule` says how a user's interactions are ordered. Raises ValueError when the parts differ in length.
    """

    name: str
    interactions: Interactions
    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    titles: tuple[str, ...]
    years: NDArray[np.int16]
    genres: NDArray[np.bool_]
    genre_names: tuple[str, ...]
    user_attributes: dict[str, tuple[str, ...]]
    licence: str
    source: str
    tie_rule: str
    timestamps: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        n_users, n_items = self.interactions.n_users, self.interactions.n_items
        lengths = {
            "user_ids": (len(self.user_ids), n_users),
            "item_ids": (len(self.item_ids), n_items),
            "titles": (len(self.titles), n_items),
            "years": (self.years.shape, (n_items,)),
            "genres": (self.genres.shape, (n_items, len(self.genre_names))),
            "distinct user_ids": (len(set(self.user_ids)), n_users),
            "distinct item_ids": (len(set(self.item_ids)), n_items),
        }
        for attribute, values in self.user_attributes.items():
            lengths[f"user attribute {attribute}"] = (len(values), n_users)
        if self.timestamps is not None:
            lengths["timestamps"] = (self.timestamps.shape, (self.interactions.n_interactions,))
        for part, (found, expected) in lengths.items():
            if found != expected:
                raise ValueError(f"{part}: {found} where the interactions need {expected}")
        if self.years.dtype != np.int16 or self.genres.dtype != np.bool_:
            raise ValueError(f"years must be int16 and genres bool, not {self.years.dtype} and {self.genres.dtype}")
        if self.timestamps is not None and self.timestamps.dtype != np.float64:
            raise ValueError(f"timestamps must be float64, not {self.timestamps.dtype}")

    def __repr__(self) -> str:
        return f"Dataset(name={self.name!r}, {self.interactions!r})"

    @cached_property
    def has_repeats(self) -> bool:
        """Whether some user has the same item more than once, so that a held-out pair may be in training too."""
        return self.interactions.pairs().size != self.interactions.n_interactions

    @cached_property
    def _index_of_user(self) -> dict[str, int]:
        return {user_id: index for index, user_id in enumerate(self.user_ids)}

    def user_index(self, user_id: str) -> int:
        """The number of the user with this identifier. Raises DataError that names the nearest identifiers."""
        index = self._index_of_user.get(user_id)
        if index is not None:
            return index
        near = []
        if len(self.user_ids) <= _MOST_IDS_FOR_A_HINT:
            near = difflib.get_close_matches(user_id, self.user_ids, n=3, cutoff=0.5)
        hint = f"the nearest are {', '.join(near)}" if near else f"identifiers look like {self.user_ids[0]}"
        raise DataError(f"{self.name} has no user {user_id!r} among its {len(self.user_ids)}: {hint}")

    def digest(self) -> str:
        """sha256 (hex) of identifiers and interactions: equal for two runs that train and evaluate on the same data."""
        return self._digest(
            [self.user_ids, self.item_ids, self.interactions.n_items],
            [self.interactions.offsets, self.interactions.items],
        )

    def content_digest(self) -> str:
        """sha256 (hex) of all data, attributes and timestamps included, but not of the words about it (licence, source,
        tie rule): pins what a fetched data set must be."""
        words = [self.name, self.interactions.n_items, self.user_ids, self.item_ids, self.titles, self.genre_names]
        arrays: list[NDArray] = [self.interactions.offsets, self.interactions.items, self.years, self.genres]
        if self.timestamps is not None:
            arrays.append(self.timestamps)
        return self._digest([*words, self.user_attributes], arrays)

    def unordered_digest(self) -> str:
        """sha256 (hex) of all data but the order of a user's interactions and their timestamps: equal for two sources
        of the same data that order it differently."""
        words = [self.name, self.interactions.n_items, self.user_ids, self.item_ids, self.titles, self.genre_names]
        by_user = np.lexsort((self.interactions.items, self.interactions.users()))
        arrays: list[NDArray] = [self.interactions.offsets, self.interactions.items[by_user], self.years, self.genres]
        return self._digest([*words, self.user_attributes], arrays)

    @staticmethod
    def _digest(words: object, arrays: list[NDArray]) -> str:
        hasher = hashlib.sha256()
        text = json.dumps(words, sort_keys=True, separators=(",", ":")).encode()
        hasher.update(len(text).to_bytes(8, "little") + text)
        for array in arrays:
            little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            hasher.update(f"{little.dtype.str}{little.shape}".encode())
            hasher.update(little.tobytes())
        return hasher.hexdigest()
