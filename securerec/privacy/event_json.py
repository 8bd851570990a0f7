"""Events as lines of JSON: one object a line, strict both ways, since what is not understood cannot be counted."""

import json
from dataclasses import asdict, fields
from typing import Any

from securerec.errors import PrivacyError
from securerec.privacy.events import (
    DistributedGaussianSum,
    DistributedLaplaceSum,
    DistributedSkellamSum,
    Event,
    GaussianSum,
    InteractionSgd,
    SampledSum,
    ShuffledReports,
    Unprotected,
)

KINDS: dict[str, type[Event]] = {
    "distributed_gaussian_sum": DistributedGaussianSum,
    "distributed_skellam_sum": DistributedSkellamSum,
    "distributed_laplace_sum": DistributedLaplaceSum,
    "gaussian_sum": GaussianSum,
    "sampled_sum": SampledSum,
    "shuffled_reports": ShuffledReports,
    "interaction_sgd": InteractionSgd,
    "unprotected": Unprotected,
}


def kind_of(event: Event) -> str:
    """The name of the event's kind, as it stands in the ledger."""
    return next(name for name, cls in KINDS.items() if type(event) is cls)


def to_json(event: Event) -> str:
    """The event as one line of JSON, without the line's end; `from_json` gives back an equal event."""
    return json.dumps(_record(event), allow_nan=False)


def from_json(line: str) -> Event:
    """Read one line. Raises PrivacyError for anything but one complete event with exactly its own fields."""
    try:
        record = json.loads(line, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise PrivacyError(f"not one JSON object: {error}") from None
    return _event(record)


def _record(event: Event) -> dict[str, Any]:
    record = {"kind": kind_of(event), **asdict(event)}
    if isinstance(event, SampledSum):
        record["inner"] = _record(event.inner)
    return record


def _event(record: Any) -> Event:
    if not isinstance(record, dict):
        raise PrivacyError("not one JSON object")
    kind = record.pop("kind", None)
    cls = KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise PrivacyError(f"unknown kind of event {kind!r}; this version knows {', '.join(KINDS)}")
    names = {field.name for field in fields(cls)}
    for name in sorted(record.keys() ^ names):
        raise PrivacyError(f"{kind} event {'lacks the' if name in names else 'has an unknown'} field {name!r}")
    if cls is SampledSum:
        record["inner"] = _event(record["inner"])
    return cls(**record)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a field stands twice")
    return record


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")
