"""What devices do with a local update: privatise it, protect it, send it. And the adder that the bytes reach first."""

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

import protocols
from securerec.privacy.mechanism import FixedPoint, Mechanism
from securerec.privacy.randomness import NoiseKey

Quantiser = Mechanism | FixedPoint


@dataclass(frozen=True, slots=True)
class DeviceGroup:
    """Some devices of a round with their local updates, as one process plays them.

    `clients` (m,) int64; device i touched `rows[cuts[i]:cuts[i + 1]]` and changed them by the same slice of `delta`.
    `noise_secret` is the stored NoiseKey from which each device's noise grows; `record` asks for what was added up,
    for an audit.
    """

    bundle: bytes
    quantiser: Quantiser
    noise_secret: bytes = field(repr=False)
    label: str
    round_number: int
    clients: NDArray[np.int64]
    cuts: NDArray[np.int64]
    rows: NDArray[np.int32]
    delta: NDArray[np.float32]
    record: bool = False


@dataclass(frozen=True, slots=True)
class GroupResult:
    """The group's partial sum as the adder's bytes, what it took, and the recorded integers (m, length) or None.

    `seconds` by phase: privatise, encrypt, add. `upload_bytes` is the size of the largest upload; `saturated`
    counts coordinates that met the bound of an upload without privacy.
    """

    partial: bytes
    upload_bytes: int
    saturated: int
    seconds: dict[str, float]
    recorded: NDArray[np.int32] | None


def play(group: DeviceGroup) -> GroupResult:
    """Let every device of the group upload, and add the uploads as they arrive.

    Device and adder share a process here, but only the upload's bytes pass between them.
    """
    client = protocols.client(group.bundle)
    server = protocols.server(group.bundle, round_number=group.round_number)
    seconds = dict.fromkeys(("privatise", "encrypt", "add"), 0.0)
    recorded = np.empty((len(group.clients), group.quantiser.dimension), np.int32) if group.record else None
    noise_key = NoiseKey.from_bytes(group.noise_secret)
    largest = 0
    for place, client_id in enumerate(group.clients):
        span = slice(group.cuts[place], group.cuts[place + 1])
        started = time.perf_counter()
        stream = noise_key.stream(group.label, group.round_number, int(client_id))
        values = group.quantiser.privatise(group.rows[span], group.delta[span], stream)
        privatised = time.perf_counter()
        upload = client.protect(values, round_number=group.round_number, client_id=int(client_id))
        protected = time.perf_counter()
        server.add(upload)
        added = time.perf_counter()
        seconds["privatise"] += privatised - started
        seconds["encrypt"] += protected - privatised
        seconds["add"] += added - protected
        largest = max(largest, len(upload))
        if recorded is not None:
            recorded[place] = values
    saturated = group.quantiser.saturated(group.delta) if isinstance(group.quantiser, FixedPoint) else 0
    return GroupResult(server.partial(), largest, saturated, seconds, recorded)
