"""Tidy records: a row for each cell, metric and group of users."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from securerec.data.dataset import Dataset
from securerec.experiments.sweeps.cells import Cell, Measured
from securerec.experiments.tradeoff.summary import NOT_CHARGED, returned_users, spent
from securerec.files import write_atomic

COLUMNS = (
    "dataset", "method", "kind", "epsilon", "seed", "metric", "users", "n", "value", "central_epsilon", "local_epsilon",
    "unit", "delta", "relation", "local_relation", "accountant", "reproducible_noise", "protocol", "seconds", "cell",
    "note",
)  # fmt: skip


def write_records(
    path: Path, cells: Sequence[Cell], measured: Mapping[str, Measured], datasets: Mapping[str, Dataset]
) -> int:
    """Write `records.csv`; return how many rows. Empty fields: not known, or infinite in the case of an epsilon."""
    late = {name: returned_users(dataset) for name, dataset in datasets.items()}
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    count = 0
    for cell in cells:
        found = measured.get(cell.digest())
        if found is None:
            continue
        for row in _rows(cell, found, np.isin(found.users, late[cell.dataset])):
            writer.writerow(row)
            count += 1
    write_atomic(path, text.getvalue().encode())
    return count


def _rows(cell: Cell, measured: Measured, late: np.ndarray) -> list[dict[str, Any]]:
    common = {
        "dataset": cell.dataset, "method": cell.label, "kind": cell.kind, "epsilon": cell.epsilon, "seed": cell.seed,
        "protocol": "" if cell.kind == "reference" else cell.config.protocol.protocol,
        "seconds": f"{measured.seconds:.3f}", "cell": cell.digest(), "note": NOT_CHARGED,
    } | (spent(cell, measured) or {})  # fmt: skip
    groups = {"all": np.ones(len(late), np.bool_)} | ({"returned after a day": late} if late.any() else {})
    rows = [
        common | {"metric": name, "users": group, "n": int(among.sum()), "value": repr(float(values[among].mean()))}
        for name, values in measured.values.items()
        for group, among in groups.items()
    ]
    for finding in measured.findings:
        rounds = "+".join(map(str, finding["rounds"]))
        metric = f"attack.auc, {finding['attack']}, {finding['view']}, {finding['release']} {rounds}"
        row = common | {"users": "all", "n": finding["n"]}
        rows.append(row | {"metric": metric, "value": repr(float(finding["result"][0]))})
        control = repr(float(finding["controls"]["popularity"][0]))
        rows.append(row | {"metric": metric.replace("attack.auc", "attack.popularity_auc", 1), "value": control})
    return rows
