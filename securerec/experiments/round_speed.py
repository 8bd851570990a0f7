"""Whole secure rounds, timed by phase: train (draws included), privatise, encrypt, add, open, evaluate."""

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from securerec.config import Config
from securerec.data.dataset import Dataset
from securerec.federation.pool import DevicePool
from securerec.federation.run import Run

PHASES = ("train", "privatise", "encrypt", "add", "open", "step", "evaluate")


@dataclass(frozen=True, slots=True)
class RoundSpeed:
    """Median seconds by phase over some rounds; without a protocol's phases where sums are fused into training.

    With several processes their phases overlap: the time that passed is split among privatise, encrypt and add in
    proportion to what they took. `total_s` is the median of whole rounds.
    """

    phases: dict[str, float]
    total_s: float
    clients: int
    dimension: int
    protocol: str
    workers: int
    upload_bytes_per_client: int | None


def measure_round(dataset: Dataset, config: Config, *, rounds: int, workers: int) -> RoundSpeed:
    """Play `rounds` rounds, after one that is not counted, of a run with this resolved configuration."""
    with tempfile.TemporaryDirectory() as folder, DevicePool(workers) as pool:
        run = Run.create(Path(folder) / "run", config, dataset)
        track = run.tracks(pool)["clean"]
        state, measured = track.start(), []
        size: int | None = None
        for _ in range(rounds + 1):
            outcome = track.run_round(state)
            state, size = outcome.state, outcome.opened.upload_bytes
            measured.append(outcome.seconds)
        measured = measured[1:]
        phases = {phase: statistics.median(seconds[phase] for seconds in measured) for phase in measured[0]}
        return RoundSpeed(
            {phase: phases[phase] for phase in PHASES if phase in phases},
            statistics.median(sum(seconds.values()) for seconds in measured),
            run.cohort, run.promises["round"].quantiser.dimension, config.protocol.protocol, workers, size,
        )  # fmt: skip
