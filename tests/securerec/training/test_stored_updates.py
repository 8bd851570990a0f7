import gc
import pickle
from pathlib import Path

import numpy as np
import pytest

from securerec.errors import RunError
from securerec.models.scorers import ScoreFunctions
from securerec.training.stored_updates import StoredUpdates, UpdateStore
from securerec.training.updates import CohortUpdate, RowUpdates

DIM = 3


def some_updates(counts: list[int], seed: int = 0) -> CohortUpdate:
    rng, n = np.random.default_rng(seed), sum(counts)
    functions = ScoreFunctions(np.zeros((len(counts), DIM), np.float32), np.zeros(len(counts), np.float32))
    starts = np.cumsum([0, *counts])[:-1]
    return CohortUpdate(
        starts, np.array(counts), rng.permutation(100)[:n].astype(np.int32),
        rng.normal(size=(n, DIM)).astype(np.float32), np.zeros(len(counts)), functions,
    )  # fmt: skip


def stored_in_two_pieces(folder: Path, first: CohortUpdate, second: CohortUpdate) -> StoredUpdates:
    store = UpdateStore(folder, 2 + len(first.counts) + len(second.counts), DIM)
    store(len(first.counts), second)
    store(0, first)
    return store.stored()


def test_what_is_stored_in_any_order_is_read_as_it_was(tmp_path: Path) -> None:
    first, second = some_updates([4, 0, 2]), some_updates([1, 7], seed=1)
    stored = stored_in_two_pieces(tmp_path, first, second)
    nothing = np.zeros(0, np.int32), np.zeros((0, DIM), np.float32)
    wanted = [*(first.of(c) for c in range(3)), *(second.of(c) for c in range(2)), nothing, nothing]
    for client, (rows, delta) in enumerate(wanted):
        got = stored.of(client)
        np.testing.assert_array_equal(got[0], rows)
        np.testing.assert_array_equal(got[1], delta)
        assert got[1].shape == delta.shape
    with pytest.raises(KeyError):
        stored.of(7)
    in_memory = RowUpdates.gathered(stored, np.arange(7))
    assert stored.digest() == in_memory.digest()
    # what goes to another process is where its clients' changes lie, and not the changes
    sent = pickle.loads(pickle.dumps(stored.part(np.array([1, 4]))))
    np.testing.assert_array_equal(sent.of(4)[1], second.of(1)[1])
    assert sent.digest() == in_memory.part(np.array([1, 4])).digest()
    with pytest.raises(KeyError):
        sent.of(0)


def test_the_file_is_its_owners_alone_and_goes_with_the_last_that_reads_it(tmp_path: Path) -> None:
    stored = stored_in_two_pieces(tmp_path, some_updates([2]), some_updates([3]))
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.match(".*.tmp"), "a run that is resumed clears away what a killed one has left under such a name"
    part = stored.part(np.array([0]))
    del stored
    gc.collect()
    assert not list(tmp_path.iterdir())
    with pytest.raises(RunError, match="cannot be read"):
        part.of(0)


def test_a_file_that_is_cut_short_is_an_error_and_not_a_change(tmp_path: Path) -> None:
    stored = stored_in_two_pieces(tmp_path, some_updates([2]), some_updates([3]))
    with open(stored.path, "r+b") as file:
        file.truncate(stored.path.stat().st_size - 1)
    stored.of(1)
    with pytest.raises(RunError, match="is cut short"):
        stored.of(0)


def test_a_folder_that_takes_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be kept in .*nowhere.* choose another folder"):
        UpdateStore(tmp_path / "nowhere", 1, DIM)
    with pytest.raises(RunError, match="make room there"):
        store = UpdateStore(tmp_path, 1, DIM)
        store._file.close()
        store._file = open("/dev/full", "wb")  # noqa: SIM115
        store(0, some_updates([3]))
