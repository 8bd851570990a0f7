"""A cell's file: read as it was written, and refused, by name, where it is not sound."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from securerec.data.dataset import Dataset
from securerec.errors import RunError
from securerec.experiments.sweeps import sweep
from securerec.experiments.sweeps.cells import Cell, cell_file, read_cell, write_cell
from securerec.experiments.tradeoff.plan import Plan
from securerec.federation.folder import read_arrays

SMALL: dict[str, Any] = {"training": {"rounds": 2}, "data": {"sampled_negatives": 15}}
PLAN = Plan(methods=("pfedrec",), epsilons=(8.0, 1.0), seeds=2, settings=SMALL)


@pytest.fixture
def kept(tmp_path: Path, dated: Dataset) -> tuple[Path, Cell]:
    folder, plan = tmp_path / "sweep", replace(PLAN, kinds=("local",), epsilons=(8.0,), seeds=1)
    (cell,) = [cell for cell in plan.cells(dated) if cell.kind == "local"]
    sweep.sweep(folder, [cell], {"toy": dated}, workers=1)
    return folder, cell


def damages() -> dict[str, Any]:
    """Ways a file may be hostile or damaged: from its arrays and record to other bytes."""

    def record(change: Any) -> Any:
        def altered(arrays: dict[str, Any], text: str) -> bytes:
            content = json.loads(text)
            change(content)
            return save(arrays, {"record": json.dumps(content)})

        return altered

    def values(change: Any) -> Any:
        def altered(arrays: dict[str, Any], text: str) -> bytes:
            change(arrays)
            return save({name: np.ascontiguousarray(each) for name, each in arrays.items()}, {"record": text})

        return altered

    def put(key: str, value: Any) -> Any:
        return lambda content: content.update({key: value})

    return {
        "cut short": lambda arrays, text: save(arrays, {"record": text})[:-9],
        "empty": lambda arrays, text: b"",
        "noise": lambda arrays, text: b"\x00" * 5000,
        "no record": lambda arrays, text: save(arrays),
        "no JSON": lambda arrays, text: save(arrays, {"record": text[:-1]}),
        "deep JSON": lambda arrays, text: save(arrays, {"record": "[" * 100_000}),
        "another entry": record(put("more", 1)),
        "another cell": record(lambda content: content["cell"].update(reference="popularity")),
        "no seconds": record(put("seconds", "1")),
        "no ledger": record(put("ledger", None)),
        "an event of another kind": record(lambda content: content["ledger"].append('{"kind": "gift"}')),
        "a finding of nothing": record(put("findings", [{"attack": "rank-1 sign"}])),
        "findings of a number": record(put("findings", 3)),
        "values above 1": values(lambda arrays: arrays["clean.hr@10"].fill(1.5)),
        "values that are no number": values(lambda arrays: arrays["full.ndcg@10"].fill(np.nan)),
        "a value too few": values(lambda arrays: arrays.update({"clean.hr@10": arrays["clean.hr@10"][1:]})),
        "users twice": values(lambda arrays: arrays["users"].fill(3)),
        "no users": values(lambda arrays: arrays.pop("users")),
        "an array too many": values(lambda arrays: arrays.update(extra=np.zeros(3))),
        "other numbers": values(lambda arrays: arrays.update({"clean.hr@10": arrays["clean.hr@10"].astype(np.int8)})),
    }


@pytest.mark.parametrize("damage", damages())
def test_a_file_that_is_not_sound_is_named_and_refused(kept: tuple[Path, Cell], dated: Dataset, damage: str) -> None:
    folder, cell = kept
    path = cell_file(folder, cell.digest())
    arrays, metadata = read_arrays(path)
    path.write_bytes(damages()[damage](arrays, metadata["record"]))
    with pytest.raises(RunError) as refused:
        sweep.sweep(folder, [cell], {"toy": dated}, workers=1)
    message = str(refused.value)
    assert str(path) in message and "delete it to have it measured again" in message and "\n" not in message
    path.unlink()
    assert not sweep.sweep(folder, [cell], {"toy": dated}, workers=1).failed


def test_a_cell_is_read_as_it_was_written(kept: tuple[Path, Cell]) -> None:
    folder, cell = kept
    measured = read_cell(folder, cell)
    assert measured is not None and measured.events and measured.findings
    content = cell_file(folder, cell.digest()).read_bytes()
    write_cell(folder, cell, measured)
    assert cell_file(folder, cell.digest()).read_bytes() == content
