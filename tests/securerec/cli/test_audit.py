import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attacks import storage
from attacks.attempts import Attempt
from attacks.registry import all_attacks
from securerec.audit import whole
from securerec.audit.defences import DEFENCES
from securerec.audit.recording import TRUTH_FILE, recorded_cases, view_bytes
from securerec.data.dataset import Dataset
from securerec.federation.folder import RunFolder, read_arrays

Securerec = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def recorded(tmp_path: Path, toy: Dataset, securerec: Securerec) -> Path:
    securerec(
        "run", "--dataset", "toy", "--sampled-negatives", "15", "--rounds", "3", "--view-rounds", "1,3",
        "--workers", "1", "--seed", "1", "--out", tmp_path / "run", "--record-views", "--segments", "3",
    )  # fmt: skip
    return tmp_path / "run"


def view_files(run: Path) -> list[Path]:
    return sorted((run / "views").glob("round-*"))


def test_views_hold_what_each_adversary_saw(recorded: Path, toy: Dataset) -> None:
    files = view_files(recorded)
    assert [file.name[:12] for file in files] == ["round-000001"] * 3 + ["round-000003"] * 3
    assert (recorded / "views").stat().st_mode & 0o777 == 0o700
    views = {(view.round_number, view.kind): view for view in map(storage.load_view, files)}
    assert len(views) == 6
    for number in (1, 3):
        uploads, total = views[number, "noised_upload"].uploads, views[number, "opened_sum"].uploads
        np.testing.assert_allclose(uploads.delta.sum(axis=0), total.total, atol=1e-3)
    model, _ = read_arrays(recorded / "model.safetensors")
    last = views[3, "opened_sum"]
    moved = np.abs(model["item_table"] - last.table)
    # of the mean the server takes what is more than noise
    assert moved.sum() > 0 and (moved <= np.abs(last.uploads.total / toy.interactions.n_users) + 1e-4).all()


def test_views_of_the_warm_start_are_those_of_its_releases(recorded: Path, toy: Dataset) -> None:
    cases = recorded_cases(recorded / "views")
    assert list(cases) == ["popularity", "segments", "rounds"]
    popularity = cases["popularity"].recording.view("unprotected_upload", 1)
    assert popularity.dim == 1
    norms = [np.linalg.norm(block) for block in popularity.blocks() for block in block]
    np.testing.assert_allclose(norms, 1.0, rtol=1e-5)
    for name in ("popularity", "segments"):
        recording = cases[name].recording
        total, uploads = recording.view("opened_sum", 1).uploads, recording.view("noised_upload", 1).uploads
        np.testing.assert_allclose(uploads.delta.sum(axis=0), total.total, atol=1e-3)


def test_the_truth_stands_apart_from_the_views(recorded: Path, toy: Dataset) -> None:
    truth = storage.load_truth(recorded / "views" / TRUTH_FILE)
    for user in (0, 5):
        assert set(np.flatnonzero(truth.positives(np.array([user]))[0])) == set(toy.interactions.of(user)[:-2].tolist())
    for file in view_files(recorded):
        arrays, _ = read_arrays(file)
        assert "items" not in arrays


def test_the_rank_one_attack_reads_unprotected_uploads_and_is_stopped_by_the_sum(
    recorded: Path, securerec: Securerec
) -> None:
    findings = json.loads(securerec("audit", recorded, "--json", "-").stdout)["findings"]
    rank_one = [finding for finding in findings if finding["attack"] == "rank-1 sign" and "," not in finding["target"]]
    by_view = {(finding["view"], *finding["rounds"]): finding for finding in rank_one}
    for number in (1, 3):
        assert by_view["unprotected_upload", number]["result"][0] >= 0.99
        assert by_view["opened_sum", number]["beyond"][0] < 0.1


def test_what_everybody_knows_is_recorded_beside_the_views(recorded: Path, toy: Dataset) -> None:
    public = recorded_cases(recorded / "views")["rounds"].public
    assert public.training is not None and public.training.negatives == 4
    assert public.genre_names == toy.genre_names


def test_a_run_without_views_says_how_to_record_them(tmp_path: Path, toy: Dataset, securerec: Securerec) -> None:
    arguments = (
        "--dataset",
        "toy",
        "--sampled-negatives",
        "15",
        "--rounds",
        "1",
        "--protocol",
        "plain",
        "--workers",
        "1",
    )
    securerec("run", *arguments, "--out", tmp_path / "run")
    assert "run again with --record-views" in securerec("audit", tmp_path / "run", code=5).stderr
    assert not (tmp_path / "run" / "views").exists()


def test_audit_ends_with_epsilon_from_below_and_with_attempts_on_devices_and_protocol(
    recorded: Path, securerec: Securerec
) -> None:
    done = securerec("audit", recorded, "--json", "-")
    figures = json.loads(done.stdout)
    assert figures["broken"] == [] and "ended as documented" in done.stderr
    assert {bound["refutes_claim"] for bound in figures["epsilon_bounds"]} == {False}
    attempts = {(attempt["name"], attempt["against"]): attempt for attempt in figures["attempts"]}
    assert not attempts["two survivor sets", "ckks-committee"]["succeeded"]
    assert attempts["key from released doubles", "tenseal"]["succeeded"]
    assert not attempts["saturation", "ckks-committee, all guards, round 1"]["succeeded"]


def test_a_promise_that_does_not_hold_has_an_exit_code_of_its_own(
    recorded: Path, securerec: Securerec, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = whole.run_attempts

    def broken(*arguments: Any, **rest: Any) -> list[Attempt]:
        return [replace(each, succeeded=True) for each in real(*arguments, **rest)]

    monkeypatch.setattr(whole, "run_attempts", broken)
    done = securerec("audit", recorded, "--json", "-", code=7)
    assert "NOT AS PROMISED: two survivor sets against ckks-committee" in done.stderr
    assert "two survivor sets against ckks-committee" in json.loads(done.stdout)["broken"]


def test_the_grid_is_one_command(
    tmp_path: Path, toy: Dataset, securerec: Securerec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("securerec.cli.audit.usable_cores", lambda: 1)
    monkeypatch.setattr(
        "securerec.audit.grid.all_attacks", lambda: [each for each in all_attacks() if "rank" in each.name]
    )
    arguments = ("--dataset", "toy", "--rounds", "2", "--out", tmp_path / "grid", "--json", "-")
    figures = json.loads(securerec("audit", *arguments).stdout)
    assert [row["defence"] for row in figures["defences"]] == [defence.name for defence in DEFENCES]
    again = securerec("audit", *arguments)
    assert json.loads(again.stdout) == figures
    assert "b  Laplace .1" in again.stderr and "utility: clean" in again.stderr
    assert "secure sum, central epsilon 8: of" in " ".join(again.stderr.split())


def test_every_attack_is_explained(securerec: Securerec) -> None:
    listed = " ".join(securerec("audit", "--list").stdout.split())
    for attack in all_attacks():
        assert attack.name in listed and attack.goal.question in listed


@pytest.mark.parametrize("arguments", [(), ("runs/x", "--dataset", "toy")])
def test_either_a_run_or_a_data_set_is_audited(securerec: Securerec, arguments: tuple[str, ...]) -> None:
    assert "name a RUN to attack, or --dataset" in securerec("audit", *arguments, code=4).stderr


def test_views_beyond_the_limit_are_recorded_only_when_that_is_confirmed(
    tmp_path: Path, toy: Dataset, securerec: Securerec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("securerec.cli.run.MOST_VIEWS", 1000)
    arguments = (
        "--dataset", "toy", "--sampled-negatives", "15", "--rounds", "1", "--protocol", "plain", "--workers", "1",
        "--record-views", "--out", tmp_path / "run",
    )  # fmt: skip
    assert "or say --yes" in securerec("run", *arguments, code=4).stderr
    assert not (tmp_path / "run").exists()
    said = securerec("run", *arguments, "--yes").stdout
    size = sum(file.stat().st_size for file in view_files(tmp_path / "run"))
    assert size > 0 and "MiB at most" in said


def test_size_announced_is_one_that_views_do_not_exceed(recorded: Path, toy: Dataset) -> None:
    config = RunFolder.open(recorded).config()
    headers = 6 * 4096
    assert sum(file.stat().st_size for file in view_files(recorded)) <= view_bytes(config, toy) + headers
