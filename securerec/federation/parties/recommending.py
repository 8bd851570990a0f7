"""What a device recommends to its owner, from its own disk and the public files alone: nothing is sent for it."""

import numpy as np
from numpy.typing import NDArray

from securerec.device.records import OwnInteractions, PrivateState, read_interactions, read_state
from securerec.device.store import Store
from securerec.errors import DataError, RunError
from securerec.federation.guards import TableRefused
from securerec.federation.parties.progress import read_opened
from securerec.federation.parties.public import Federation
from securerec.federation.parties.silo import Silo
from securerec.training.updates import place_of


def own_scores(federation: Federation, store: Store, client: int) -> tuple[NDArray[np.int32], NDArray[np.float32], int]:
    """A device's list, oldest first; the scores (n_items,) of all items by the last table that it was sent and what it
    made of it; and the round of that table, 0 before the first.

    Raises DataError for a client that does not live here, RunError where too little has been released, StoreError.
    """
    own, state = read_interactions(store), read_state(store)
    try:
        place = place_of(own.numbers, client)
    except KeyError:
        raise DataError(f"client {client} does not live here: {own.numbers.tolist()} do") from None
    scores = _scores(federation, own, store, state, place)
    return own.lists.of(place), scores, 0 if state is None else state.round_number


def _scores(
    federation: Federation, own: OwnInteractions, store: Store, state: PrivateState | None, place: int
) -> NDArray[np.float32]:  # fmt: skip
    try:
        start = Silo(federation, own, 0).start(read_opened(store))
    except TableRefused:
        start = None
    if start is None or (state is None and not federation.config.start.head):
        raise RunError("nothing has been released yet that this device could recommend from: join first, then ask")
    functions, table = (start.functions, start.table) if state is None else (state.after, state.table)
    scores = federation.config.training.learner().logits(table, functions.of([place]))[0]
    return np.asarray(scores + start.heads.logits(np.array([place]))[0], np.float32)
