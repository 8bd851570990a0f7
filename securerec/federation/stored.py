"""Reads what lies in a run's files: arrays, one JSON object, and the opened sums of a warm start."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from securerec.errors import RunError
from securerec.federation.summing import OpenedSum


def read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Arrays and metadata of a safetensors file. Raises RunError when it is missing or damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: np.array(file.get_tensor(name)) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} cannot be read: {error}") from None


def read_object(path: Path) -> dict[str, Any]:
    """The one JSON object of a file. Raises RunError when it is missing or damaged."""
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise RunError(f"{path} is damaged: it is not one JSON object")
    return value


def read_sums(path: Path) -> dict[str, OpenedSum]:
    """What was opened of a warm start's releases, by their names; nothing where there is no file. Raises RunError for a
    damaged one.
    """
    if not path.exists():
        return {}
    arrays, metadata = read_arrays(path)
    try:
        described = json.loads(metadata["releases"])
        return {name: OpenedSum(arrays[name], survivors, size) for name, survivors, size in described}
    except (KeyError, TypeError, ValueError):
        raise RunError(f"{path} is damaged: the run cannot go on") from None


def dump_sums(sums: Mapping[str, OpenedSum]) -> bytes:
    """As `read_sums` reads them."""
    described = json.dumps([(name, each.survivors, each.upload_bytes) for name, each in sums.items()])
    return save({name: each.total for name, each in sums.items()}, {"releases": described})
