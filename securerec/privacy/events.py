"""What was released, as plain data: written to the ledger when it happens, counted later by anybody.

An event's fields never change their meaning. One JSON object a line; unknown kinds and fields are refused, since what
is not understood cannot be counted.
"""

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from securerec.errors import PrivacyError


@dataclass(frozen=True)
class DistributedGaussianSum:
    """Releases sum_u (y_u + z_u), u ranging over the clients whose upload was summed, at least `min_survivors` of
    them honest.

    y_u in Z^dimension is a function of user u's data alone with ||y_u||_2 <= sensitivity, and z_u ~ N_Z(0,
    client_sigma^2)^dimension, independent, drawn by u itself and added before the upload left. Nothing else about y_u
    is released. Each client takes part at most once.

    Unit: one user. The sum's noise multiplier is client_sigma sqrt(min_survivors) / sensitivity.

    label: names the release within a run, such as "round 12". clip_norm: L2, in the update's own units; grid_units:
    what clip_norm is on the grid; sensitivity and client_sigma: grid units, sensitivity / grid_units being what
    rounding adds. noise_source: "os", or "seed" for noise that whoever knows the seed can take away again (simulation
    only).
    """

    label: str
    dimension: int
    clip_norm: float
    grid_units: int
    sensitivity: float
    client_sigma: float
    min_survivors: int
    noise_source: str

    def __post_init__(self) -> None:
        _check_label(self)
        for name in ("dimension", "grid_units", "min_survivors"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise PrivacyError(
                    f"event {self.label!r}: {name} must be a whole number of at least 1, but is {value!r}"
                )
        for name in ("clip_norm", "sensitivity", "client_sigma"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0 < value < math.inf:
                raise PrivacyError(f"event {self.label!r}: {name} must be a positive number, but is {value!r}")
        if self.client_sigma < 0.5:  # below, the theorem about sums of discrete Gaussians does not hold
            raise PrivacyError(f"event {self.label!r}: client_sigma must be at least 0.5, but is {self.client_sigma!r}")
        if self.noise_source not in ("os", "seed"):
            raise PrivacyError(
                f'event {self.label!r}: noise_source must be "os" or "seed", but is {self.noise_source!r}'
            )

    @property
    def noise_multiplier(self) -> float:
        """Deviation of min_survivors clients' noise together, over the sensitivity."""
        return self.client_sigma * math.sqrt(self.min_survivors) / self.sensitivity


@dataclass(frozen=True)
class Unprotected:
    """Releases an arbitrary function of users' data without noise: no finite epsilon covers it.

    label: names the release within a run.
    """

    label: str

    def __post_init__(self) -> None:
        _check_label(self)


Event = DistributedGaussianSum | Unprotected
_KINDS: dict[str, type[DistributedGaussianSum] | type[Unprotected]] = {
    "distributed_gaussian_sum": DistributedGaussianSum,
    "unprotected": Unprotected,
}


def to_json(event: Event) -> str:
    """The event as one line of JSON, without the line's end; `from_json` gives back an equal event."""
    kind = next(name for name, cls in _KINDS.items() if type(event) is cls)
    return json.dumps({"kind": kind, **asdict(event)}, allow_nan=False)


def from_json(line: str) -> Event:
    """Read one line. Raises PrivacyError for anything but one complete event with exactly its own fields."""
    try:
        record = json.loads(line, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise PrivacyError(f"not one JSON object: {error}") from None
    if not isinstance(record, dict):
        raise PrivacyError("not one JSON object")
    kind = record.pop("kind", None)
    cls = _KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise PrivacyError(f"unknown kind of event {kind!r}; this version knows {', '.join(_KINDS)}")
    names = {field.name for field in fields(cls)}
    for name in sorted(record.keys() ^ names):
        raise PrivacyError(f"{kind} event {'lacks the' if name in names else 'has an unknown'} field {name!r}")
    return cls(**record)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a field stands twice")
    return record


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _check_label(event: Event) -> None:
    if not isinstance(event.label, str) or not 0 < len(event.label) <= 200 or not event.label.isprintable():
        raise PrivacyError(f"an event's label must be 1 to 200 printable characters, but is {event.label!r}")
