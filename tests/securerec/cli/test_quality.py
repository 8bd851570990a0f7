"""`securerec bench quality`: table, JSON and records say the same, and a second call measures nothing twice."""

import csv
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from securerec.data import cache
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.experiments.sweeps import sweep

Securerec = Callable[..., subprocess.CompletedProcess[str]]


def arguments(tmp_path: Path, *more: str) -> tuple[str | Path, ...]:
    settings = tmp_path / "settings.toml"
    settings.write_text("[training]\nrounds = 2\n[data]\nsampled_negatives = 15\n")
    return (
        "bench", "quality", "--dataset", "toy", "--learner", "pfedrec", "--learner", "fedmf", "--seeds", "2",
        "--workers", "1", "--config", settings, "--out", tmp_path / "out", "--json", "-", *more,
    )  # fmt: skip


def test_table_json_and_records_say_the_same_and_nothing_is_measured_twice(
    tmp_path: Path, toy: Dataset, securerec: Securerec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    done = securerec(*arguments(tmp_path))
    figures = json.loads(done.stdout)
    assert figures["failed"] == {}
    assert [row["learner"] for row in figures["rows"]][:2] == ["pfedrec", "fedmf"]
    assert "ease-recency" in [row["learner"] for row in figures["rows"] if row["reference"]]
    lines = [" ".join(line.split()) for line in done.stderr.splitlines()]
    with open(tmp_path / "out" / "records.csv", newline="") as file:
        records = list(csv.DictReader(file))
    for row in figures["rows"]:
        for protocol in ("published", "clean", "full"):
            mean, low, high = row["figures"][f"{protocol}.hr@10"]
            pair = f"{mean:.3f}/{row['figures'][f'{protocol}.ndcg@10'][0]:.3f}".replace("0.", ".")
            cell = f"{pair} {(high - low) / 2:.3f}".replace(" 0.", " .")
            assert any(cell in line and line.startswith(row["learner"]) for line in lines), cell
            values = [
                float(each["value"])
                for each in records
                if each["learner"] == row["learner"] and each["metric"] == f"{protocol}.hr@10"
            ]
            assert values == pytest.approx(row["by_seed"][f"{protocol}.hr@10"]) and len(values) == len(row["seeds"])
    said = " ".join(lines)
    assert "which leaks them" in said and "chosen on validation data" in said

    def no_more(*anything: Any) -> Any:
        raise AssertionError("nothing is left to measure")

    monkeypatch.setattr(sweep, "play", no_more)
    assert json.loads(securerec(*arguments(tmp_path)).stdout) == figures


def test_an_unknown_learner_is_one_line_with_its_exit_code(tmp_path: Path, toy: Dataset, securerec: Securerec) -> None:
    done = securerec(*arguments(tmp_path, "--learner", "magic"), code=4)
    assert "there is no learner 'magic'" in done.stderr and not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", [("run", "--no-privacy"), ("tradeoff",), ("audit",), ("bench", "arrivals")])
def test_what_evaluates_cleanly_refuses_a_data_set_that_repeats_pairs(
    toy: Dataset, securerec: Securerec, command: tuple[str, ...]
) -> None:
    lists = [[*toy.interactions.of(user).tolist(), int(toy.interactions.of(user)[0])] for user in range(24)]
    cache.save_dataset(replace(toy, name="twice", interactions=Interactions.from_lists(lists, 50)))
    done = securerec(*command, "--dataset", "twice", code=3)
    assert "twice has the same item more than once for one user" in done.stderr
