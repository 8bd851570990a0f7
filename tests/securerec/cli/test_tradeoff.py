"""`securerec tradeoff`: the table, the JSON and the files say the same, and a second call measures nothing twice."""

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from securerec.data.dataset import Dataset
from securerec.errors import PrivacyError
from securerec.experiments.sweeps import sweep

Securerec = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text("[training]\nrounds = 2\n[data]\nsampled_negatives = 15\n")
    return path


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def arguments(settings: Path, folder: Path, *more: str) -> tuple[str | Path, ...]:
    return (
        "tradeoff", "--dataset", "toy", "--method", "pfedrec", "--epsilon", "8", "--seeds", "1", "--workers", "1",
        "--config", settings, "--out", folder, "--json", "-", *more,
    )  # fmt: skip


def test_table_and_json_say_the_same_and_files_lie_in_the_folder(
    tmp_path: Path, toy: Dataset, securerec: Securerec, settings: Path
) -> None:
    done = securerec(*arguments(settings, tmp_path / "sweep", "--account-tuning", "10"))
    figures = json.loads(done.stdout)
    assert figures["failed"] == {} and {point["kind"] for point in figures["points"]} == {
        "central", "local", "none", "reference",
    }  # fmt: skip
    lines = [" ".join(line.split()) for line in done.stderr.splitlines()]
    for point in figures["points"]:
        mean, low, high = point["figures"]["clean.hr@10"]
        cell = f"{mean:.3f} ±{(high - low) / 2:.3f}"
        assert any(cell in line for line in lines), cell
        if point["tuned"]:
            spent = point["privacy"]["central_epsilon" if point["kind"] == "central" else "local_epsilon"]
            assert any(f"{spent:.2f}" in line and f"{point['tuned']['epsilon']:.2f}" in line for line in lines)
            assert point["tuned"]["epsilon"] > spent
    said = " ".join(lines)
    for note in figures["notes"]:
        assert " ".join(f"{note[:1].upper()}{note[1:]}.".split()) in said
    assert "no epsilon here is charged for that" in said and "as if summed securely" in said
    with open(tmp_path / "sweep" / "records.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "clean.hr@10" and row["kind"] == "central"]
    central = next(point for point in figures["points"] if point["kind"] == "central")
    assert [float(row["value"]) for row in rows] == pytest.approx([central["figures"]["clean.hr@10"][0]])
    assert all(Path(picture).stat().st_size > 5000 for picture in figures["pictures"]) and len(figures["pictures"]) == 6


def test_a_second_call_goes_on_with_what_is_there(
    tmp_path: Path, toy: Dataset, securerec: Securerec, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, quick = tmp_path / "sweep", ("--kind", "central", "--no-attacks", "--no-pictures")
    first = json.loads(securerec(*arguments(settings, folder, *quick)).stdout)

    def no_more(*anything: Any) -> Any:
        raise AssertionError("nothing is left to measure")

    monkeypatch.setattr(sweep, "play", no_more)
    assert json.loads(securerec(*arguments(settings, folder, *quick)).stdout) == first


def test_a_cell_that_fails_is_named_and_the_exit_code_says_so(
    tmp_path: Path, toy: Dataset, securerec: Securerec, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sweep.play

    def failing(cell: Any, *rest: Any) -> Any:
        if cell.kind == "central":
            raise PrivacyError("no noise is enough")
        return real(cell, *rest)

    monkeypatch.setattr(sweep, "play", failing)
    done = securerec(*arguments(settings, tmp_path / "sweep", "--kind", "central", "--no-pictures"), code=1)
    assert json.loads(done.stdout)["failed"] == {"toy: pfedrec, central epsilon 8, seed 0": "no noise is enough"}
    assert "Failed: toy: pfedrec, central epsilon 8, seed 0: no noise is enough" in done.stderr


def test_a_stop_says_how_to_go_on(
    tmp_path: Path, toy: Dataset, securerec: Securerec, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopping(*anything: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep, "play", stopping)
    done = securerec(*arguments(settings, tmp_path / "sweep"), code=130)
    assert f"--out {tmp_path / 'sweep'} to go on" in done.stderr and done.stdout == ""


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (("--method", "magic"), 4, "there is no method 'magic': choose among auto"),
        (("--kind", "hope"), 4, "there is no kind 'hope': choose among central"),
        (("--protocol", "telepathy"), 4, "protocol.protocol"),
        (("--account-tuning", "0.5"), 2, "account-tuning"),
        (("--dataset", "toys"), 3, "toys"),
    ],
)
def test_what_cannot_be_swept_is_one_line(
    tmp_path: Path, toy: Dataset, securerec: Securerec, settings: Path, more: tuple[str, str], code: int, message: str
) -> None:
    done = securerec(*arguments(settings, tmp_path / "sweep", *more), code=code)
    assert message in done.stderr.splitlines()[-1] and not (tmp_path / "sweep").exists()
