"""Views, truths and what is public as files: one safetensors file each, or, to bring one from elsewhere, one `.npz`.

A safetensors file carries its header as JSON in the metadata key `header`; an `.npz` as a 0-dimensional string array
of the same name. Arrays are little-endian and exactly as named here; unknown or missing keys and arrays are refused.

    header of a view    {"schema": "upload-view/1", "kind": "unprotected_upload" | "noised_upload" | "opened_sum",
                         "layout": "dense" | "rows" | "sum", "round": 1, "population": 943}
    arrays of any view  table (n_items, dim) float32, popularity (n_items,) int64, clients (n,) int64
      layout dense      delta (n, n_items, dim) float32
      layout rows       offsets (n + 1,) int64, rows (total,) int32, delta (total, dim) float32
      layout sum        total (n_items, dim) float32
    header of a truth   {"schema": "truth/2", "n_items": 1682, "attributes": {"gender": ["F", "M"]}}
    arrays              clients (n,) int64, offsets (n + 1,) int64, items (total,) int32; for each attribute
                        "attribute gender" (n,) int16, the place of a client's class in the list, -1 where unknown
    header of a public  {"schema": "public/1", "genre_names": ["Action", "Comedy"], "min_survivors": 849,
                         "training": null or {"score_lr": 0.1, "item_lr": 1345.6, "batch_size": 256, "negatives": 4,
                         "epochs": 1}}
    arrays              genres (n_items, n_genres) bool; (0, 0) where no genres are known

For example, for two clients whose changes of a (1682, 32) table are in `changes`:

    np.savez("view.npz", header=json.dumps({"schema": "upload-view/1", "kind": "unprotected_upload", "layout": "dense",
             "round": 1, "population": 943}), table=table, popularity=counts, clients=np.arange(2), delta=changes)

The meaning of each array is in `attacks.views`.
"""

import io
import json
import math
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from attacks.case import LocalTraining, Public, Recording
from attacks.errors import ViewError
from attacks.files import write_whole
from attacks.views import KINDS, DenseUploads, Kind, Labels, OpenedSum, RowUploads, Truth, UploadView

MAX_BYTES = 1 << 32
"""A larger file, or an archive that would unpack to more, is refused before it is parsed."""

_MAX_HEADER = 1 << 16
_VIEW, _TRUTH, _PUBLIC = "upload-view/1", "truth/2", "public/1"
_ATTRIBUTE = "attribute "
_LAYOUTS = {"dense": DenseUploads, "rows": RowUploads, "sum": OpenedSum}
_UPLOAD_ARRAYS = {"dense": ("delta",), "rows": ("offsets", "rows", "delta"), "sum": ("total",)}
_Arrays = dict[str, NDArray[Any]]


def to_bytes(what: UploadView | Truth | Public) -> bytes:
    """The safetensors file of a view, a truth or what is public."""
    header: dict[str, Any]
    arrays: _Arrays
    if isinstance(what, Truth):
        names = {name: list(labels.names) for name, labels in what.attributes.items()}
        header = {"schema": _TRUTH, "n_items": what.n_items, "attributes": names}
        arrays = {"clients": what.clients, "offsets": what.offsets, "items": what.items}
        arrays |= {_ATTRIBUTE + name: labels.codes for name, labels in what.attributes.items()}
    elif isinstance(what, Public):
        training = None if what.training is None else asdict(what.training)
        header = {"schema": _PUBLIC, "genre_names": list(what.genre_names), "training": training}
        header |= {"min_survivors": what.min_survivors}
        arrays = {"genres": np.zeros((0, 0), np.bool_) if what.genres is None else what.genres}
    else:
        layout = next(name for name, form in _LAYOUTS.items() if isinstance(what.uploads, form))
        header = {"schema": _VIEW, "kind": what.kind, "layout": layout}
        header |= {"round": what.round_number, "population": what.population}
        arrays = {"table": what.table, "popularity": what.popularity, "clients": what.clients}
        arrays |= {name: getattr(what.uploads, name) for name in _UPLOAD_ARRAYS[layout]}
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return bytes(save_tensors(contiguous, metadata={"header": json.dumps(header)}))


def view_from_bytes(data: bytes) -> UploadView:
    """Read a view from the bytes of a safetensors or `.npz` file. Raises ViewError, naming what was wrong."""
    header, arrays = _parse(data)
    _require("the header", header, {"schema": str, "kind": str, "layout": str, "round": int, "population": int})
    _require_schema(header, _VIEW)
    layout = header["layout"]
    if layout not in _LAYOUTS:
        raise ViewError(f"{layout!r} is not a layout; known are {', '.join(_LAYOUTS)}")
    names = _UPLOAD_ARRAYS[layout]
    _require("the file", arrays, dict.fromkeys(("table", "popularity", "clients", *names), np.ndarray))
    uploads = _LAYOUTS[layout](arrays["clients"], *(arrays[name] for name in names))
    return UploadView(
        kind=header["kind"],
        round_number=header["round"],
        table=arrays["table"],
        popularity=arrays["popularity"],
        population=header["population"],
        uploads=uploads,
    )


def truth_from_bytes(data: bytes) -> Truth:
    """Read a truth from the bytes of a safetensors or `.npz` file. Raises ViewError, naming what was wrong."""
    header, arrays = _parse(data)
    _require("the header", header, {"schema": str, "n_items": int, "attributes": dict})
    _require_schema(header, _TRUTH)
    attributes: dict[str, Any] = header["attributes"]
    for name, classes in attributes.items():
        _require_names(f"the classes of {name}", classes)
    wanted = ("clients", "offsets", "items", *(_ATTRIBUTE + name for name in attributes))
    _require("the file", arrays, dict.fromkeys(wanted, np.ndarray))
    labels = {name: Labels(tuple(classes), arrays[_ATTRIBUTE + name]) for name, classes in attributes.items()}
    return Truth(header["n_items"], arrays["clients"], arrays["offsets"], arrays["items"], labels)


def public_from_bytes(data: bytes) -> Public:
    """Read what is public from the bytes of a safetensors or `.npz` file. Raises ViewError, naming what was wrong."""
    header, arrays = _parse(data)
    wanted = {"schema": str, "genre_names": list, "training": (dict, NoneType), "min_survivors": int}
    _require("the header", header, wanted)
    _require_schema(header, _PUBLIC)
    _require_names("genre_names", header["genre_names"])
    _require("the file", arrays, {"genres": np.ndarray})
    training = header["training"]
    if training is not None:
        _require("training", training, {field.name: field.type for field in fields(LocalTraining)})
        training = LocalTraining(**training)
    genres = arrays["genres"] if arrays["genres"].size or header["genre_names"] else None
    return Public(genres, tuple(header["genre_names"]), training, header["min_survivors"])


def save(path: Path, what: UploadView | Truth | Public) -> None:
    """Write the safetensors file whole or not at all, readable by its owner alone. Raises OSError."""
    write_whole(path, to_bytes(what))


def load_view(path: Path) -> UploadView:
    """Read a view's file. Raises ViewError, naming the file."""
    try:
        return view_from_bytes(_read(path))
    except ViewError as error:
        raise ViewError(f"{path}: {error}") from error


def load_truth(path: Path) -> Truth:
    """Read a truth's file. Raises ViewError, naming the file."""
    try:
        return truth_from_bytes(_read(path))
    except ViewError as error:
        raise ViewError(f"{path}: {error}") from error


def load_public(path: Path) -> Public:
    """Read the file of what is public. Raises ViewError, naming the file."""
    try:
        return public_from_bytes(_read(path))
    except ViewError as error:
        raise ViewError(f"{path}: {error}") from error


def recording(paths: Iterable[Path]) -> Recording:
    """The views in these files, each read again whenever it is asked for. Raises ViewError, naming the file."""
    readers: dict[tuple[Kind, int], Callable[[], UploadView]] = {}
    files: dict[tuple[Kind, int], Path] = {}
    for path in paths:
        key = _kind_and_round(path)
        if key in files:
            raise ViewError(f"{path}: {files[key]} holds the same kind of view of the same round")
        files[key] = path
        readers[key] = partial(load_view, path)
    return Recording(readers)


def _kind_and_round(path: Path) -> tuple[Kind, int]:
    """Of a view's file, from its header alone where the form has one. Raises ViewError, naming the file."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
            if start[:4] == b"PK\x03\x04":
                view = view_from_bytes(_read(path))
                return view.kind, view.round_number
            header = _safetensors_header(start + file.read(_MAX_HEADER), path.stat().st_size)
        _require("the header", header, {"schema": str, "kind": str, "layout": str, "round": int, "population": int})
        _require_schema(header, _VIEW)
        if header["kind"] not in KINDS:
            raise ViewError(f"{header['kind']!r} is not a kind of view; known are {', '.join(KINDS)}")
        return header["kind"], header["round"]
    except OSError as error:
        raise ViewError(f"{path}: cannot be read: {error.strerror}") from error
    except ViewError as error:
        raise ViewError(f"{path}: {error}") from error


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ViewError(f"the file is larger than {MAX_BYTES} bytes: split it by clients")
        return path.read_bytes()
    except OSError as error:
        raise ViewError(f"cannot be read: {error.strerror}") from error


def _parse(data: bytes) -> tuple[dict[str, Any], _Arrays]:
    if len(data) > MAX_BYTES:
        raise ViewError(f"the file is larger than {MAX_BYTES} bytes: split it by clients")
    return _parse_npz(data) if data[:4] == b"PK\x03\x04" else _parse_safetensors(data)


def _parse_safetensors(data: bytes) -> tuple[dict[str, Any], _Arrays]:
    header = _safetensors_header(data, len(data))
    try:
        return header, load_tensors(data)
    except Exception as error:  # the library's own error type is not part of its interface
        raise ViewError(f"not a sound safetensors file: {error}") from error


def _safetensors_header(data: bytes, size: int) -> dict[str, Any]:
    """The JSON header of a file of `size` bytes that begins with `data`.

    The 8-byte length and the header's JSON are checked here, the tensors' places by the library.
    """
    if len(data) < 8 or (length := struct.unpack("<Q", data[:8])[0]) > min(_MAX_HEADER, size - 8):
        raise ViewError("neither a safetensors nor an .npz file, or cut short")
    outer = _json_object(data[8 : 8 + length], "the safetensors header")
    metadata = outer.get("__metadata__")
    if not isinstance(metadata, dict) or set(metadata) != {"header"} or not isinstance(metadata["header"], str):
        raise ViewError('the metadata must hold exactly the key "header"')
    return _json_object(metadata["header"].encode(), "the header")


def _parse_npz(data: bytes) -> tuple[dict[str, Any], _Arrays]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            sizes = [entry.file_size for entry in archive.infolist()]
            if len({entry.filename for entry in archive.infolist()}) != len(sizes):
                raise ViewError("the archive names an array twice")
        if len(sizes) > 16 or sum(sizes) > MAX_BYTES:
            raise ViewError(f"the archive holds more than 16 arrays or {MAX_BYTES} bytes")
        with np.load(io.BytesIO(data), allow_pickle=False) as loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    except ViewError:
        raise
    except Exception as error:  # zip, the decompressors and numpy each have errors of their own for damaged bytes
        raise ViewError(f"not a sound .npz file: {error}") from error
    header = arrays.pop("header", None)
    if header is None or header.ndim != 0 or header.dtype.kind != "U" or header.nbytes > 4 * _MAX_HEADER:
        raise ViewError('the archive needs a string array "header" with the JSON header')
    strays = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if strays:
        raise ViewError(f"the archive holds something that is not an array: {strays[0]}")
    return _json_object(str(header).encode(), "the header"), arrays


def _json_object(data: bytes, what: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ViewError(f"{what} names a key twice")
        return dict(pairs)

    try:
        value = json.loads(data, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise ViewError(f"{what} is not JSON") from error
    if not isinstance(value, dict):
        raise ViewError(f"{what} must be a JSON object")
    return value


def _require_names(what: str, names: Any) -> None:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ViewError(f"{what} must be a list of names")


def _require(what: str, found: dict[str, Any], wanted: Mapping[str, Any]) -> None:
    """Exactly the wanted keys, each of its type or one of its types; numbers finite, whole ones in 31 bits."""
    missing, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing:
        raise ViewError(f"{what} lacks {', '.join(missing)}")
    if unknown:
        raise ViewError(f"{what} holds the unknown {', '.join(unknown)}")
    for key, kind in wanted.items():
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if type(found[key]) not in kinds:
            names = " or ".join(each.__name__ for each in kinds)
            raise ViewError(f"{key} in {what} must be of type {names}, not {type(found[key]).__name__}")
        if kind is int and not 0 <= found[key] < 1 << 31:
            raise ViewError(f"{key} in {what} must lie between 0 and {(1 << 31) - 1}")
        if kind is float and not math.isfinite(found[key]):
            raise ViewError(f"{key} in {what} must be finite")


def _require_schema(header: dict[str, Any], schema: str) -> None:
    if header["schema"] != schema:
        raise ViewError(f"the schema is {header['schema']!r}, this reads {schema!r}")
