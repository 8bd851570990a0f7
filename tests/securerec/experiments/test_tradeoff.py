"""Sweeps on a small data set: what is measured, what is kept, and going on after a stop."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from securerec.config import make_config
from securerec.data.dataset import Dataset
from securerec.errors import ConfigError, DataError, RunError
from securerec.experiments.sweeps import sweep
from securerec.experiments.sweeps.cells import Cell
from securerec.experiments.sweeps.layers import layered
from securerec.experiments.sweeps.references import REFERENCES
from securerec.experiments.sweeps.sweep import Swept
from securerec.experiments.tradeoff.methods import METHODS, Method
from securerec.experiments.tradeoff.plan import Plan
from securerec.experiments.tradeoff.summary import points
from securerec.federation import results
from securerec.federation.folder import RunFolder
from securerec.federation.run import Run

SMALL: dict[str, Any] = {"training": {"rounds": 2}, "data": {"sampled_negatives": 15}}
PLAN = Plan(methods=("pfedrec",), epsilons=(8.0, 1.0), seeds=2, settings=SMALL)


def runs(plan: Plan, dataset: Dataset) -> list[Cell]:
    """The cells that are no references."""
    return [cell for cell in plan.cells(dataset) if cell.kind != "reference"]


def swept(folder: Path, dataset: Dataset, plan: Plan = PLAN, *, workers: int = 1) -> Swept:
    """Without references, which take most of the time here."""
    return sweep.sweep(folder, runs(plan, dataset), {dataset.name: dataset}, workers=workers)


def same(one: Swept, two: Swept) -> bool:
    """Whether all that was measured is equal, seconds aside."""
    assert one.measured.keys() == two.measured.keys()
    return all(
        mine.values.keys() == yours.values.keys()
        and all(np.array_equal(mine.values[name], yours.values[name]) for name in mine.values)
        and mine.events == yours.events
        and mine.findings == yours.findings
        for mine, yours in ((one.measured[digest], two.measured[digest]) for digest in one.measured)
    )


def test_a_sweep_has_every_kind_epsilon_and_seed_and_references_once(dated: Dataset) -> None:
    cells = PLAN.cells(dated)
    places = [(cell.kind, cell.epsilon, cell.seed) for cell in cells if cell.kind != "reference"]
    assert places == [
        (kind, epsilon, seed)
        for seed in (0, 1)
        for kind, epsilon in (("central", 8.0), ("central", 1.0), ("local", 8.0), ("local", 1.0), ("none", None))
    ]
    seeds: dict[str, list[int | None]] = {}
    for cell in cells:
        if cell.kind == "reference":
            seeds.setdefault(cell.label, []).append(cell.seed)
    assert seeds == {name: [0, 1] if each.random else [None] for name, each in REFERENCES.items()}
    assert len({cell.digest() for cell in cells}) == len(cells)


def test_a_cell_says_what_a_run_says_and_its_sums_are_the_protocols_to_the_bit(tmp_path: Path, dated: Dataset) -> None:
    plan = replace(PLAN, seeds=1, epsilons=(1.0,), kinds=("central", "local"), attacks=False)
    cells = runs(plan, dated)
    found = sweep.sweep(tmp_path / "sweep", cells, {"toy": dated}, workers=1)
    for number, cell in enumerate(cells):
        run = Run.create(tmp_path / f"run-{number}", cell.config, dated)
        figures = results.execute(run, 1, lambda progress: None)
        measured = found.measured[cell.digest()]
        for protocol in ("clean", "full"):
            for name, value in figures["metrics"][protocol].items():
                assert measured.values[f"{protocol}.{name}"].mean() == pytest.approx(value, abs=1e-12)
        assert measured.events == run.folder.ledger.events()


def test_nothing_is_measured_twice(tmp_path: Path, dated: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[Cell] = []
    real = sweep.play

    def counting(cell: Cell, dataset: Dataset, folder: Path) -> Any:
        played.append(cell)
        return real(cell, dataset, folder)

    monkeypatch.setattr(sweep, "play", counting)
    small, large = replace(PLAN, epsilons=(8.0,), seeds=1), replace(PLAN, epsilons=(8.0, 2.0), seeds=1)
    first = swept(tmp_path / "sweep", dated, small)
    assert len(played) == len(runs(small, dated))
    played.clear()
    second = swept(tmp_path / "sweep", dated, large)
    assert {(cell.kind, cell.epsilon) for cell in played} == {("central", 2.0), ("local", 2.0)}
    assert first.measured.keys() < second.measured.keys()


def test_methods_of_one_configuration_share_what_was_measured(
    tmp_path: Path, dated: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        monkeypatch.setitem(METHODS, name, Method(name, "the same", {"start": {"head": True}}, head=True))
    plan = replace(PLAN, methods=("one", "two"), kinds=("central", "nothing"), epsilons=(8.0,), seeds=1)
    cells = runs(plan, dated)
    assert [cell.kind for cell in cells] == ["central", "nothing"] * 2
    assert len({cell.digest() for cell in cells}) == 2
    assert [point.label for point in points(dated, cells, swept(tmp_path / "sweep", dated, plan).measured)] == [
        "one", "one", "two", "two",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {"settings": layered(SMALL, {"privacy": {"clip_norm": 3.0}})},
        {"settings": layered(SMALL, {"data": {"candidates_seed": 1}})},
        {"protocol": "ckks"},
        {"attacks": False},
    ],
)
def test_another_setting_is_another_cell(dated: Dataset, changed: dict[str, Any]) -> None:
    before = {cell.digest() for cell in PLAN.cells(dated) if cell.kind == "central"}
    after = {cell.digest() for cell in replace(PLAN, **changed).cells(dated) if cell.kind == "central"}
    assert not before & after


def test_other_interactions_are_other_cells(dated: Dataset, other_toy: Dataset) -> None:
    assert not {cell.digest() for cell in PLAN.cells(dated)} & {cell.digest() for cell in PLAN.cells(other_toy)}


def test_references_do_not_depend_on_how_runs_train(dated: Dataset) -> None:
    other = replace(PLAN, settings=layered(SMALL, {"privacy": {"clip_norm": 3.0}, "training": {"dim": 3}}))
    ours, theirs = ([cell.digest() for cell in p.cells(dated) if cell.kind == "reference"] for p in (PLAN, other))
    assert ours == theirs


def test_a_sweep_stopped_within_a_run_goes_on_with_it(
    tmp_path: Path, dated: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(PLAN, kinds=("central",), seeds=1)
    whole = swept(tmp_path / "whole", dated, plan)
    real = RunFolder.commit

    def stopping(self: RunFolder, round_number: int, *rest: Any) -> None:
        real(self, round_number, *rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "commit", stopping)
    with pytest.raises(KeyboardInterrupt):
        swept(tmp_path / "stopped", dated, plan)
    (running,) = (tmp_path / "stopped" / "running").iterdir()
    rounds: list[int] = []

    def counting(self: RunFolder, round_number: int, *rest: Any) -> None:
        if self.path == running:
            rounds.append(round_number)
        real(self, round_number, *rest)

    monkeypatch.setattr(RunFolder, "commit", counting)
    assert same(swept(tmp_path / "stopped", dated, plan), whole)
    assert rounds == [2]
    assert not any((tmp_path / "stopped" / "running").iterdir())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_processes_that_are_stopped_or_killed_lose_no_finished_cell(
    tmp_path: Path, dated: Dataset, how: signal.Signals
) -> None:
    folder, settings = tmp_path / "sweep", tmp_path / "settings.toml"
    plan = replace(PLAN, kinds=("central", "none"), settings=layered(SMALL, {"training": {"rounds": 30}}))
    settings.write_bytes(b"[training]\nrounds = 30\n[data]\nsampled_negatives = 15\n")
    command = [
        sys.executable, "-m", "securerec", "tradeoff", "--dataset", "toy", "--method", "pfedrec", "--epsilon", "8",
        "--epsilon", "1", "--kind", "central", "--kind", "none", "--seeds", "2", "--config", str(settings), "--workers",
        "2", "--out", str(folder), "--no-pictures",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 120
    while process.poll() is None and len(list(folder.glob("cells/*.safetensors"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(how)
    _, errors = process.communicate(timeout=180)
    if how == signal.SIGINT and process.returncode != 0:
        assert process.returncode == 130, errors.decode()
        assert b"to go on" in errors and b"Traceback" not in errors
    kept = {path: path.read_bytes() for path in folder.glob("cells/*.safetensors")}
    assert len(kept) >= 2, errors.decode()
    # Workers of a killed parent end by themselves; until then one may still finish its cell.
    time.sleep(0.5)
    again = swept(folder, dated, plan)
    assert not again.failed and len(again.measured) == len(runs(plan, dated))
    assert all(path.read_bytes() == content for path, content in kept.items())
    # What processes side by side have measured is what one alone does.
    assert same(again, swept(tmp_path / "alone", dated, plan))


def test_one_that_fails_is_named_and_the_others_go_on(
    tmp_path: Path, dated: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sweep.play

    def failing(cell: Cell, dataset: Dataset, folder: Path) -> Any:
        if cell.kind == "none":
            raise DataError("no room\nfor this one")
        return real(cell, dataset, folder)

    plan = replace(PLAN, seeds=1)
    monkeypatch.setattr(sweep, "play", failing)
    found = swept(tmp_path / "sweep", dated, plan)
    (failed,) = [cell.digest() for cell in plan.cells(dated) if cell.kind == "none"]
    assert found.failed == {failed: "no room for this one"}
    assert len(found.measured) == len(runs(plan, dated)) - 1
    monkeypatch.setattr(sweep, "play", real)
    assert not swept(tmp_path / "sweep", dated, plan).failed


def test_releases_before_the_rounds_are_attacked_too(tmp_path: Path, dated: Dataset) -> None:
    plan = replace(
        PLAN, methods=("auto", "head"), kinds=("central", "local"), epsilons=(8.0,), seeds=1,
        settings={**PLAN.settings, "start": {"segments": (3,)}},
    )  # fmt: skip
    cells, found = runs(plan, dated), swept(tmp_path / "sweep", dated, plan)
    assert not found.failed
    released = {
        (cell.label, cell.kind): {finding["release"] for finding in found.measured[cell.digest()].findings}
        for cell in cells
    }
    assert released["head", "central"] == released["head", "local"] == {"popularity"}
    assert released["auto", "local"] == released["auto", "central"] == {"popularity", "segments", "rounds"}


def test_folder_of_something_else_is_refused(tmp_path: Path, dated: Dataset) -> None:
    folder = tmp_path / "sweep"
    folder.mkdir()
    (folder / "letter.txt").write_text("hello")
    with pytest.raises(RunError, match="holds something else"):
        swept(folder, dated)
    with pytest.raises(RunError, match="is not a folder"):
        swept(folder / "letter.txt", dated)
    (folder / "sweep.json").write_text("{")
    with pytest.raises(RunError, match="is not what a sweep wrote"):
        swept(folder, dated)


def test_two_sweeps_do_not_share_a_folder_at_a_time(tmp_path: Path, dated: Dataset) -> None:
    with sweep._claimed(tmp_path / "sweep"), pytest.raises(RunError, match="being swept by another process"):
        swept(tmp_path / "sweep", dated)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"methods": ("nothing-like-it",)}, "there is no method 'nothing-like-it': choose among"),
        ({"kinds": ("full",)}, "there is no kind 'full': choose among central, local"),
        ({"epsilons": ()}, "at least one method, one kind and one epsilon"),
        ({"seeds": 0}, "at least one seed"),
        ({"epsilons": (-1.0,)}, "privacy.epsilon"),
        ({"settings": {"privacy": {"epsilon": 3.0}}}, "the sweep sets privacy.epsilon by itself"),
        ({"settings": {"seed": 3}}, "the sweep sets seed by itself"),
        ({"settings": {"training": {"roundz": 3}}}, "did you mean 'training.rounds'"),
    ],
)
def test_what_cannot_be_swept_is_said_before_anything_runs(
    dated: Dataset, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        replace(PLAN, **changed).cells(dated)


def test_every_method_has_a_configuration() -> None:
    for method in METHODS.values():
        assert make_config(method.settings).resolved(943).start.head == method.head
