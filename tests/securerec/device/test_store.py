import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securerec.data.interactions import Interactions
from securerec.device.records import (
    OwnInteractions,
    PrivateState,
    read_interactions,
    read_state,
    write_interactions,
    write_state,
)
from securerec.device.store import KeyFile, Passphrase, Store, StoreError, held
from securerec.models.scorers import ScoreFunctions


@pytest.fixture
def key(tmp_path: Path) -> KeyFile:
    return KeyFile.make(tmp_path / "store.key")


@pytest.fixture
def store(tmp_path: Path, key: KeyFile) -> Store:
    return Store.create(tmp_path / "store", key)


def test_what_is_written_is_read_again_and_lies_encrypted(store: Store, key: KeyFile) -> None:
    store.write("interactions", b"seen: film 7" * 10)
    assert Store.open(store.path, key).read("interactions") == b"seen: film 7" * 10
    assert all(b"film" not in file.read_bytes() for file in store.path.iterdir())
    assert all(file.stat().st_mode & 0o077 == 0 for file in [store.path, *store.path.iterdir()])
    assert store.read("nothing") is None and store.names() == ["interactions"]
    store.remove("interactions"), store.remove("interactions")
    assert store.read("interactions") is None


@given(st.binary(max_size=80), st.data())
def test_no_changed_byte_goes_unseen(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, draw: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("device")
    store = Store.create(folder / "store", KeyFile.make(folder / "key"))
    store.write("state", data)
    file = store.path / "state.box"
    sealed = bytearray(file.read_bytes())
    place, bit = draw.draw(st.integers(0, len(sealed) - 1)), draw.draw(st.integers(0, 7))
    sealed[place] ^= 1 << bit
    file.write_bytes(bytes(sealed))
    with pytest.raises(StoreError, match="was changed"):
        store.read("state")


def test_an_entry_that_was_cut_or_swapped_with_another_does_not_open(store: Store, tmp_path: Path) -> None:
    store.write("state", b"one"), store.write("interactions", b"two")
    other = Store.create(tmp_path / "other", KeyFile.make(tmp_path / "other.key"))
    other.write("state", b"three")
    state, own = store.path / "state.box", (store.path / "state.box").read_bytes()
    stranger, sibling = (other.path / "state.box").read_bytes(), (store.path / "interactions.box").read_bytes()
    for content in (own[:-1], own[:5], b"", own + b"x", stranger, sibling):
        state.write_bytes(content)
        with pytest.raises(StoreError, match="was changed"):
            store.read("state")
    state.write_bytes(own)
    assert store.read("state") == b"one"


def test_a_passphrase_opens_its_store_and_no_other_does(tmp_path: Path, key: KeyFile) -> None:
    Store.create(tmp_path / "store", Passphrase("correct horse")).write("state", b"one")
    assert Store.open(tmp_path / "store", Passphrase("correct horse")).read("state") == b"one"
    with pytest.raises(StoreError, match="does not open"):
        Store.open(tmp_path / "store", Passphrase("battery staple"))
    with pytest.raises(StoreError, match="is opened with a passphrase"):
        Store.open(tmp_path / "store", key)
    with pytest.raises(StoreError, match="must not be empty"):
        Store.create(tmp_path / "empty", Passphrase(""))
    assert "horse" not in repr(Passphrase("correct horse"))


def test_a_passphrase_can_be_changed_and_entries_stay(tmp_path: Path, store: Store, key: KeyFile) -> None:
    store.write("state", b"one")
    Store.rewrap(store.path, key, Passphrase("correct horse"))
    assert Store.open(store.path, Passphrase("correct horse")).read("state") == b"one"
    with pytest.raises(StoreError):
        Store.open(store.path, key)


def test_a_key_file_is_its_owner_s_alone(tmp_path: Path, store: Store, key: KeyFile) -> None:
    key.path.chmod(0o640)
    with pytest.raises(StoreError, match="chmod 600"):
        Store.open(store.path, key)
    key.path.chmod(0o600)
    with pytest.raises(StoreError, match="exists"):
        KeyFile.make(key.path)
    key.path.write_bytes(bytes(31))
    with pytest.raises(StoreError, match="31 bytes"):
        Store.open(store.path, key)
    with pytest.raises(StoreError, match="cannot be read"):
        Store.open(store.path, KeyFile(tmp_path / "none"))


def test_a_damaged_lock_is_refused(store: Store, key: KeyFile) -> None:
    lock, whole = store.path / "lock", (store.path / "lock").read_bytes()
    for content in (whole[:-1], whole + b"x", b"", b"x" + whole[1:], whole[:-1] + bytes([whole[-1] ^ 1])):
        lock.write_bytes(content)
        with pytest.raises(StoreError):
            Store.open(store.path, key)
    lock.unlink()
    with pytest.raises(StoreError, match="holds no store"):
        Store.open(store.path, key)


def test_a_crash_while_writing_leaves_the_old_entry(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write("state", b"one")

    def crash(handle: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched, pytest.raises(OSError):
        patched.setattr(os, "fsync", crash)
        store.write("state", b"two")
    assert store.read("state") == b"one" and store.names() == ["state"]


def test_names_that_lead_out_of_the_store_are_refused(store: Store) -> None:
    for name in ("../state", "State", "", "a/b", ".hidden", "x" * 200):
        with pytest.raises(StoreError, match="no name of an entry"):
            store.write(name, b"")


def test_a_folder_is_one_process_s(tmp_path: Path) -> None:
    with (
        held(tmp_path / "store"),
        pytest.raises(StoreError, match="in use by another process"),
        held(tmp_path / "store"),
    ):
        pass
    with held(tmp_path / "store"):
        pass


def test_secrets_hide_themselves(store: Store) -> None:
    assert "key hidden" in repr(store)


def test_interactions_and_state_come_back_as_they_were(store: Store) -> None:
    own = OwnInteractions(np.array([3, 9]), Interactions.from_lists([[4, 1], [0]], 6))
    write_interactions(store, own)
    back = read_interactions(store)
    assert back.numbers.tolist() == [3, 9] and back.lists.of(0).tolist() == [4, 1] and back.lists.n_items == 6
    functions = ScoreFunctions(np.ones((2, 3), np.float32), np.zeros(2, np.float32))
    state = PrivateState(
        2, np.ones((6, 3), np.float32), functions, functions, np.array([0, 1, 1]), np.array([4], np.int32),
        np.ones((1, 3), np.float32),
    )  # fmt: skip
    assert read_state(store) is None
    write_state(store, state)
    found = read_state(store)
    assert found is not None and found.round_number == 2 and np.array_equal(found.change, state.change)
    assert "1." not in repr(state.before) and "[4" not in repr(state)


def test_entries_of_another_kind_are_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="securerec device import"):
        read_interactions(store)
    write_interactions(store, OwnInteractions(np.array([3]), Interactions.from_lists([[4, 1]], 6)))
    data = store.read("interactions")
    assert data is not None
    store.write("state", data)
    with pytest.raises(StoreError, match="lacks"):
        read_state(store)
    store.write("interactions", b"nonsense")
    with pytest.raises(StoreError, match="is damaged"):
        read_interactions(store)
