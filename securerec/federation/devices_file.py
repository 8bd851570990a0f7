"""The file that a finished run's devices leave, written and read without holding everybody's changes.

It is a safetensors file, as `safetensors.numpy.save` would write it of the same arrays: `cuts`, `rows` and `change` are
those of `securerec.training.updates.RowUpdates`.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from securerec.errors import RunError
from securerec.training.stored_updates import StoredUpdates
from securerec.training.updates import Updates

_TYPES: dict[str, np.dtype[Any]] = {"I64": np.dtype("<i8"), "F32": np.dtype("<f4"), "I32": np.dtype("<i4")}
"""In the order in which arrays of each type lie in the file."""


def dump_devices(arrays: Mapping[str, NDArray[Any]], changes: Updates, width: int) -> Iterator[bytes]:
    """The file's bytes, in pieces. arrays: float32 or int64; changes: of clients 0 to n - 1, `width` numbers a row,
    where n is the length of the array "biases".
    """
    clients = range(len(arrays["biases"]))
    # item numbers are few beside the rows that they number
    touched = [changes.of(client)[0] for client in clients]
    cuts = np.concatenate(([0], np.cumsum([len(rows) for rows in touched]))).astype(np.int64)
    rows = np.concatenate([np.zeros(0, np.int32), *touched])
    known = {**arrays, "cuts": cuts, "rows": rows}
    kinds: dict[str, tuple[str, tuple[int, ...]]] = {name: (_kind(array), array.shape) for name, array in known.items()}
    kinds["change"] = "F32", (len(rows), width)
    order, at, header = list(_TYPES), 0, {}
    names = sorted(kinds, key=lambda name: (order.index(kinds[name][0]), name))
    for name in names:
        kind, shape = kinds[name]
        size = int(np.prod(shape, dtype=np.int64)) * _TYPES[kind].itemsize
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in names:
        if name == "change":
            yield from (changes.of(client)[1].tobytes() for client in clients)
        else:
            yield np.ascontiguousarray(known[name], _TYPES[kinds[name][0]]).tobytes()


def read_devices(path: Path) -> tuple[dict[str, NDArray[Any]], StoredUpdates]:
    """The arrays of a file, and the changes, which stay in it. Raises RunError when it is missing or damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            names = set(file.keys())
            if missing := {"cuts", "rows", "change"} - names:
                raise RunError(f"{path} lacks the array {min(missing)!r}: the run's files are damaged")
            arrays = {name: np.array(file.get_tensor(name)) for name in names - {"rows", "change"}}
        with open(path, "rb") as raw:
            header_size = int.from_bytes(raw.read(8), "little")
            header = json.loads(raw.read(header_size))
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} cannot be read: {error}") from None
    cuts, rows, change = arrays.pop("cuts"), header["rows"], header["change"]
    total, width = rows["shape"][0], change["shape"][-1]
    if (
        cuts.dtype != np.int64 or cuts.ndim != 1 or not len(cuts) or cuts[0] != 0 or (np.diff(cuts) < 0).any()
        or cuts[-1] != total or change["shape"] != [total, width] or (rows["dtype"], change["dtype"]) != ("I32", "F32")
    ):  # fmt: skip
        raise RunError(f"{path} does not say which device changed which rows: the run's files are damaged")
    start, number = 8 + header_size, 4
    updates = StoredUpdates(
        path, np.arange(len(cuts) - 1), np.diff(cuts), start + rows["data_offsets"][0] + cuts[:-1] * number,
        start + change["data_offsets"][0] + cuts[:-1] * width * number, width,
    )  # fmt: skip
    return arrays, updates


def _kind(array: NDArray[Any]) -> str:
    return next(kind for kind, dtype in _TYPES.items() if dtype == array.dtype)
