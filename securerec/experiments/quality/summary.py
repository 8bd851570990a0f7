"""From measured cells to rows: means over users and seeds with intervals, papers' claims beside them."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from securerec.evaluation.intervals import Interval
from securerec.evaluation.seeds import interval_of
from securerec.experiments.quality.learners import LEARNERS, Claim
from securerec.experiments.sweeps.cells import Cell, Measured, metric_names
from securerec.experiments.sweeps.references import REFERENCES
from securerec.files import write_atomic

COLUMNS = ("dataset", "learner", "seed", "metric", "users", "value", "seconds", "cell")


@dataclass(frozen=True, slots=True)
class Row:
    """A learner or reference on a data set. figures: by "clean.hr@10" and the like. by_seed: the same, each seed's mean
    over users. claim: of a paper; None where none is known. seconds: of one run, the mean.
    """

    dataset: str
    name: str
    label: str
    is_reference: bool
    seeds: tuple[int | None, ...]
    users: int
    figures: dict[str, Interval]
    by_seed: dict[str, tuple[float, ...]]
    claim: Claim | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain data; intervals as [mean, low, high]."""
        claim = self.claim
        return {
            "dataset": self.dataset, "learner": self.name, "label": self.label, "reference": self.is_reference,
            "seeds": list(self.seeds), "users": self.users,
            "figures": {name: list(interval) for name, interval in self.figures.items()},
            "by_seed": {name: list(values) for name, values in self.by_seed.items()},
            "paper": None if claim is None else {"hr@10": claim.hit_rate, "ndcg@10": claim.ndcg, "grade": claim.grade},
            "seconds_a_run": self.seconds,
        }  # fmt: skip


def rows(cells: Sequence[Cell], measured: Mapping[str, Measured]) -> list[Row]:
    """One for each learner and reference of a data set's cells, in their order, over the seeds that were measured."""
    places: dict[str, list[tuple[Cell, Measured]]] = {}
    for cell in cells:
        found = measured.get(cell.digest())
        if found is not None:
            places.setdefault(cell.label, []).append((cell, found))
    return [_row(each) for each in places.values()]


def _row(found: list[tuple[Cell, Measured]]) -> Row:
    cell, first = found[0]
    reference = cell.kind == "reference"
    stacked = {name: np.stack([measured.values[name] for _, measured in found]) for name in metric_names(cell)}
    return Row(
        dataset=cell.dataset, name=cell.label,
        label=REFERENCES[cell.label].label if reference else cell.label,
        is_reference=reference, seeds=tuple(each.seed for each, _ in found), users=len(first.users),
        figures={name: interval_of(values) for name, values in stacked.items()},
        by_seed={name: tuple(values.mean(axis=1).tolist()) for name, values in stacked.items()},
        claim=None if reference else LEARNERS[cell.label].claims.get(cell.dataset),
        seconds=float(np.mean([measured.seconds for _, measured in found])),
    )  # fmt: skip


def write_records(path: Path, cells: Sequence[Cell], measured: Mapping[str, Measured]) -> int:
    """Write `records.csv`, a row for each cell and metric; return how many."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    count = 0
    for cell in cells:
        found = measured.get(cell.digest())
        for metric, values in found.values.items() if found else ():
            writer.writerow(
                {
                    "dataset": cell.dataset, "learner": cell.label, "seed": cell.seed, "metric": metric,
                    "users": len(values), "value": repr(float(values.mean())), "cell": cell.digest(),
                    "seconds": f"{found.seconds:.3f}" if found else "",
                }
            )  # fmt: skip
            count += 1
    write_atomic(path, text.getvalue().encode())
    return count
