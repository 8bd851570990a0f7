"""Data sets on disk: one whole file each, with a digest that is checked at every load."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.errors import DataError
from securerec.files import write_atomic

HOME_VARIABLE = "SECUREREC_HOME"
MOST_FILE_BYTES = 4 << 30
_FORMAT = "securerec-dataset-1"
_WORDS = (
    "name", "user_ids", "item_ids", "titles", "genre_names", "user_attributes", "licence", "source", "tie_rule",
)  # fmt: skip
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def home() -> Path:
    """The folder for everything cached: `$SECUREREC_HOME`, else the platform's cache folder for securerec."""
    chosen = os.environ.get(HOME_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("securerec", appauthor=False))


def canonical_name(name: str) -> str:
    """The name in lower case. Raises DataError unless it is 1 to 64 letters, digits, dots, dashes or underscores."""
    lower = name.lower()
    if not _NAME.fullmatch(lower):
        raise DataError(
            f"{name!r} cannot name a data set: use up to 64 letters, digits, '.', '-', '_', first a letter or digit"
        )
    return lower


def path_of(name: str) -> Path:
    """Where the data set of this name is or would be kept."""
    return home() / "datasets" / f"{canonical_name(name)}.safetensors"


def stored_names() -> list[str]:
    """Names of all data sets on disk, sorted."""
    return sorted(path.stem for path in (home() / "datasets").glob("*.safetensors") if _NAME.fullmatch(path.stem))


def save_dataset(dataset: Dataset) -> Path:
    """Write the data set whole or not at all, and return where. Raises DataError when the folder cannot be written."""
    tensors: dict[str, np.ndarray] = {
        "offsets": dataset.interactions.offsets,
        "items": dataset.interactions.items,
        "years": dataset.years,
        "genres": dataset.genres,
    }
    if dataset.timestamps is not None:
        tensors["timestamps"] = dataset.timestamps
    head = {"format": _FORMAT, "digest": _file_digest(dataset)} | {key: getattr(dataset, key) for key in _WORDS}
    path = path_of(dataset.name)
    try:
        write_atomic(path, save(tensors, metadata={"securerec": json.dumps(head)}))
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}): set {HOME_VARIABLE} to another folder") from None
    return path


def load_dataset(name: str, *, remedy: str) -> Dataset:
    """Read a stored data set and check its digest.

    Raises DataError, ending with `remedy`, when the file is damaged, altered, of another format or of another name.
    """
    path = path_of(name)
    try:
        if path.stat().st_size > MOST_FILE_BYTES:
            raise DataError(f"{path} is larger than {MOST_FILE_BYTES} bytes: {remedy}")
        with safe_open(path, framework="numpy") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            dataset, digest = _assemble(json.loads((file.metadata() or {})["securerec"]), tensors)
    except FileNotFoundError:
        raise DataError(f"{path} is missing: {remedy}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): {remedy}") from None
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DataError(f"{path} is damaged: {remedy}") from None
    if _file_digest(dataset) != digest or dataset.name != canonical_name(name):
        raise DataError(f"{path} is damaged, its digest is not that of its content: {remedy}")
    return dataset


def _file_digest(dataset: Dataset) -> str:
    about = json.dumps([dataset.licence, dataset.source, dataset.tie_rule])
    return hashlib.sha256(f"{dataset.content_digest()}{about}".encode()).hexdigest()


def _assemble(head: dict[str, Any], tensors: dict[str, Any]) -> tuple[Dataset, str]:
    if head.pop("format") != _FORMAT:
        raise ValueError("another format")
    digest = head.pop("digest")
    for key in ("user_ids", "item_ids", "titles", "genre_names"):
        head[key] = tuple(head[key])
    attributes = {name: tuple(values) for name, values in head.pop("user_attributes").items()}
    interactions = Interactions(tensors.pop("offsets"), tensors.pop("items"), len(head["item_ids"]))
    return Dataset(interactions=interactions, user_attributes=attributes, **head, **tensors), digest
