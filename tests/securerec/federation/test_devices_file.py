from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from securerec.errors import RunError
from securerec.federation.devices_file import dump_devices, read_devices
from securerec.training.updates import RowUpdates

DIM = 3


def some_devices() -> tuple[dict[str, np.ndarray], RowUpdates]:
    rng = np.random.default_rng(0)
    arrays = {
        "tastes": rng.normal(size=(4, 0)), "weights": rng.normal(size=(4, DIM)), "biases": rng.normal(size=4),
        "broadcast": rng.normal(size=(9, DIM)), "own_share": np.zeros(4),
    }  # fmt: skip
    cuts = np.array([0, 2, 2, 5, 6])
    changes = RowUpdates(
        np.arange(4), cuts, rng.permutation(9)[:6].astype(np.int32), rng.normal(size=(6, DIM)).astype(np.float32)
    )
    return {name: array.astype(np.float32) for name, array in arrays.items()}, changes


def written(path: Path, arrays: dict[str, np.ndarray], changes: RowUpdates) -> Path:
    path.write_bytes(b"".join(dump_devices(arrays, changes, DIM)))
    return path


def test_the_file_is_the_one_that_safetensors_writes_and_is_read_back(tmp_path: Path) -> None:
    arrays, changes = some_devices()
    path = written(tmp_path / "state", arrays, changes)
    whole = arrays | {"cuts": changes.cuts, "rows": changes.rows, "change": changes.delta}
    assert path.read_bytes() == save(whole)
    read, stored = read_devices(path)
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
    for client in range(4):
        for got, want in zip(stored.of(client), changes.of(client), strict=True):
            np.testing.assert_array_equal(got, want)
    assert stored.digest() == changes.digest()


def test_a_damaged_file_is_named_and_refused(tmp_path: Path) -> None:
    arrays, changes = some_devices()
    path = written(tmp_path / "state", arrays, changes)
    good = path.read_bytes()
    for bad in (good[:-1], good[:20], b"", good + b"0"):
        path.write_bytes(bad)
        with pytest.raises(RunError, match="state cannot be read"):
            read_devices(path)
    with pytest.raises(RunError, match="cannot be read"):
        read_devices(tmp_path / "nowhere")
    whole = arrays | {"cuts": changes.cuts, "rows": changes.rows, "change": changes.delta}
    for name in ("cuts", "rows", "change"):
        path.write_bytes(save({key: array for key, array in whole.items() if key != name}))
        with pytest.raises(RunError, match=f"lacks the array '{name}'"):
            read_devices(path)
    for change in (
        {"cuts": changes.cuts[:-1]}, {"cuts": changes.cuts[::-1].copy()}, {"cuts": changes.cuts + 1},
        {"cuts": changes.cuts.astype(np.int32)}, {"cuts": np.zeros(0, np.int64)}, {"cuts": np.zeros((2, 2), np.int64)},
        {"rows": changes.rows[:-1]}, {"rows": changes.rows.astype(np.int64)}, {"change": changes.delta[:, 0].copy()},
        {"change": changes.delta.astype(np.float64)}, {"change": changes.delta[:5]},
    ):  # fmt: skip
        path.write_bytes(save(whole | change))
        with pytest.raises(RunError, match="which device changed which rows"):
            read_devices(path)


def test_no_device_is_a_file_too(tmp_path: Path) -> None:
    nobody = RowUpdates(np.arange(0), np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros((0, DIM), np.float32))
    path = written(tmp_path / "state", {"biases": np.zeros(0, np.float32)}, nobody)
    assert path.read_bytes() == save(
        {"biases": np.zeros(0, np.float32), "cuts": nobody.cuts, "rows": nobody.rows, "change": nobody.delta}
    )
    assert len(read_devices(path)[1].counts) == 0
