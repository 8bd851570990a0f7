"""What lies in a device's store: its interactions, and where it stands in a run."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from securerec.data.interactions import Interactions
from securerec.device.store import Store, StoreError
from securerec.models.scorers import ScoreFunctions

INTERACTIONS, STATE = "interactions", "state"


@dataclass(frozen=True, slots=True, eq=False)
class OwnInteractions:
    """The lists of the devices here. numbers: their client numbers, (n,) int64, rising; lists: in that order."""

    numbers: NDArray[np.int64]
    lists: Interactions


@dataclass(frozen=True, slots=True, eq=False)
class PrivateState:
    """Where the devices stand after a round that they have answered.

    table: (n_rows, dim) as it was broadcast. before, after: what they score with, either side of local training.
    cuts, rows, change: what each changed of the rows, as of `RowUpdates`.
    """

    round_number: int
    table: NDArray[np.float32]
    before: ScoreFunctions
    after: ScoreFunctions
    cuts: NDArray[np.int64]
    rows: NDArray[np.int32] = field(repr=False)
    change: NDArray[np.float32] = field(repr=False)


def write_interactions(store: Store, own: OwnInteractions) -> None:
    """Keep the lists in the store, in place of what was there."""
    lists = own.lists
    arrays: dict[str, NDArray[Any]] = {"numbers": own.numbers, "offsets": lists.offsets, "items": lists.items}
    store.write(INTERACTIONS, save(arrays | {"n_items": np.array([lists.n_items], np.int64)}))


def read_interactions(store: Store) -> OwnInteractions:
    """Raises StoreError where there are none, or they cannot be understood."""
    arrays = _arrays(store, INTERACTIONS)
    if arrays is None:
        raise StoreError(f"{store.path} holds no interactions: `securerec device import` puts them there")
    try:
        lists = Interactions(arrays["offsets"], arrays["items"], int(arrays["n_items"][0]))
        numbers = arrays["numbers"].astype(np.int64)
    except (KeyError, ValueError, IndexError):
        raise StoreError(f"{store.path}: the entry {INTERACTIONS} is damaged") from None
    if len(numbers) != lists.n_users or (np.diff(numbers) <= 0).any():
        raise StoreError(f"{store.path}: the entry {INTERACTIONS} does not say whose its lists are")
    return OwnInteractions(numbers, lists)


def write_state(store: Store, state: PrivateState) -> None:
    """Keep it, in place of what was there."""
    arrays: dict[str, NDArray[Any]] = {
        "round": np.array([state.round_number], np.int64), "table": state.table,
        "before.weights": state.before.weights, "before.biases": state.before.biases,
        "after.weights": state.after.weights, "after.biases": state.after.biases,
        "cuts": state.cuts, "rows": state.rows, "change": state.change,
    }  # fmt: skip
    store.write(STATE, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def read_state(store: Store) -> PrivateState | None:
    """None before the first round. Raises StoreError for what cannot be understood."""
    arrays = _arrays(store, STATE)
    if arrays is None:
        return None
    try:
        before = ScoreFunctions(arrays["before.weights"], arrays["before.biases"])
        after = ScoreFunctions(arrays["after.weights"], arrays["after.biases"])
        return PrivateState(
            int(arrays["round"][0]), arrays["table"], before, after, arrays["cuts"], arrays["rows"], arrays["change"]
        )
    except KeyError as error:
        raise StoreError(f"{store.path}: the entry {STATE} lacks {error}") from None


def _arrays(store: Store, name: str) -> dict[str, NDArray[Any]] | None:
    data = store.read(name)
    if data is None:
        return None
    try:
        arrays: dict[str, NDArray[Any]] = load(data)
    except (SafetensorError, ValueError):
        raise StoreError(f"{store.path}: the entry {name} is damaged") from None
    return arrays
