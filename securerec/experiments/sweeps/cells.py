"""A cell: what is measured once, named by a digest of all that decides its figures, and kept in one file."""

import hashlib
import json
import math
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from securerec.config import Config
from securerec.errors import RunError, SecurerecError
from securerec.federation.folder import read_arrays
from securerec.files import write_atomic
from securerec.privacy.event_json import from_json, to_json
from securerec.privacy.events import Event

Kind = Literal["central", "local", "nothing", "none"]
"""Who is trusted with what.

central: epsilon is against whoever sees only sums. local: against whoever opens one client's uploads. nothing: each
device by itself with what is public. none: uploads in the clear, no epsilon holds.
"""

Protocol = Literal["clean", "full", "published"]
MOST_CELL_BYTES = 1 << 30
_FORMAT = 1
_KEYS = {"format", "cell", "ledger", "findings", "seconds"}
_FINDING_KEYS = {"attack", "view", "rounds", "n", "measure", "result", "controls", "against", "beyond", "release"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A run's resolved configuration, or a reference that needs no epsilon.

    label: the method or reference, kind "reference" for those; several methods may come to the same configuration and
    then share what was measured. epsilon: as asked for, None where there is none. protocols: of evaluation. attacks:
    names of those on the items of each device, on what the adversary of the kind sees.
    """

    dataset: str
    dataset_digest: str
    label: str
    kind: Kind | Literal["reference"]
    epsilon: float | None
    seed: int | None
    config: Config
    protocols: tuple[Protocol, ...] = ("clean", "full")
    attacks: tuple[str, ...] = ()

    def identity(self) -> dict[str, Any]:
        """All that decides the cell's figures; its digest names the cell."""
        return {
            "format": _FORMAT,
            "version": version("securerec"),
            "dataset": self.dataset_digest,
            "reference": self.label if self.kind == "reference" else None,
            "view": self.kind if self.attacks or self.kind == "nothing" else None,
            "protocols": list(self.protocols),
            "attacks": list(self.attacks),
            "config": self.config.to_toml().decode(),
        }

    def digest(self) -> str:
        """SHA-256, hex."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()

    def __str__(self) -> str:
        epsilon = "" if self.epsilon is None else f" epsilon {self.epsilon:g}"
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"{self.dataset}: {self.label}, {self.kind}{epsilon}{seed}"


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What a cell came to.

    users: (n,) int64, those with a held-out item. values: by "clean.hr@10" and the like, (n,) float64, each user's own.
    events: the run's ledger; None for a reference. findings: of the attacks, as `attacks.Finding.to_json`, and of
    which release. seconds: wall clock.
    """

    users: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]
    events: tuple[Event, ...] | None
    findings: tuple[dict[str, Any], ...]
    seconds: float


def cell_file(folder: Path, digest: str) -> Path:
    """Where a cell is kept in a sweep's folder."""
    return folder / "cells" / f"{digest}.safetensors"


def write_cell(folder: Path, cell: Cell, measured: Measured) -> None:
    """Keep a cell: its file appears whole or not at all."""
    record = {
        "format": _FORMAT,
        "cell": cell.identity(),
        "ledger": None if measured.events is None else [to_json(event) for event in measured.events],
        "findings": list(measured.findings),
        "seconds": measured.seconds,
    }
    arrays = {"users": measured.users} | measured.values
    write_atomic(cell_file(folder, cell.digest()), save(arrays, {"record": json.dumps(record, allow_nan=False)}))


def read_cell(folder: Path, cell: Cell) -> Measured | None:
    """A kept cell, None where there is none. Raises RunError, naming the file, for one that is not sound."""
    path = cell_file(folder, cell.digest())
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return None
    try:
        if size > MOST_CELL_BYTES:
            raise ValueError(f"it has {size:,} bytes")
        arrays, metadata = read_arrays(path)
        if metadata.keys() != {"record"}:
            raise ValueError("it has no record")
        return _measured(cell, json.loads(metadata["record"]), arrays)
    except (SecurerecError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise RunError(
            f"{path} is damaged or something else ({' '.join(str(error).split())}): delete it to have it measured again"
        ) from None


def metric_names(cell: Cell) -> list[str]:
    """ "clean.hr@10" and the like, for a cell's protocols and cut-offs."""
    names = [f"{metric}@{k}" for k in cell.config.evaluation.cutoffs for metric in ("hr", "ndcg")]
    return [f"{protocol}.{name}" for protocol in cell.protocols for name in names]


def _measured(cell: Cell, record: Any, arrays: dict[str, NDArray[Any]]) -> Measured:
    if not isinstance(record, dict) or record.keys() != _KEYS or record["format"] != _FORMAT:
        raise ValueError("its record has other entries")
    if record["cell"] != cell.identity():
        raise ValueError("it holds another cell than its name says")
    seconds = record["seconds"]
    if type(seconds) is not float or not 0 <= seconds < math.inf:
        raise ValueError("its seconds are no time")
    users = arrays.pop("users")
    if users.dtype != np.int64 or users.ndim != 1 or not users.size or users[0] < 0 or np.any(np.diff(users) <= 0):
        raise ValueError("its users are not rising numbers")
    if arrays.keys() != set(metric_names(cell)):
        raise ValueError("its metrics are others than the configuration asks for")
    for name, values in arrays.items():
        if values.dtype != np.float64 or values.shape != users.shape or not np.all((values >= 0) & (values <= 1)):
            raise ValueError(f"{name} is not one figure from 0 to 1 for each user")
    lines = record["ledger"]
    if (lines is None) != (cell.kind == "reference"):
        raise ValueError("its ledger does not fit its kind")
    for finding in record["findings"]:
        _check_finding(finding, cell.attacks)
    events = None if lines is None else tuple(from_json(line) for line in lines)
    return Measured(users, arrays, events, tuple(record["findings"]), seconds)


def _check_finding(finding: Any, attacks: tuple[str, ...]) -> None:
    if not isinstance(finding, dict) or not finding.keys() >= _FINDING_KEYS or finding["attack"] not in attacks:
        raise ValueError("a finding is not of the attacks that were asked for")
    for estimate in (finding["result"], finding["beyond"], finding["controls"][finding["against"]]):
        if len(estimate) != 3 or not all(each is None or isinstance(each, int | float) for each in estimate):
            raise ValueError("a finding's figures are not a mean with two bounds")
        if not math.isfinite(estimate[0]):
            raise ValueError("a finding's figure is not finite")
