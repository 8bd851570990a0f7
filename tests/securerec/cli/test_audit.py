import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from attacks import storage
from securerec.audit.recording import TRUTH_FILE, recorded_case
from securerec.data.dataset import Dataset
from securerec.federation.folder import read_arrays

Securerec = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def recorded(tmp_path: Path, toy: Dataset, securerec: Securerec) -> Path:
    securerec(
        "run", "--dataset", "toy", "--sampled-negatives", "15", "--rounds", "3", "--view-rounds", "1,3",
        "--workers", "1", "--seed", "1", "--out", tmp_path / "run", "--record-views",
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
    want = last.table + last.uploads.total / toy.interactions.n_users
    np.testing.assert_allclose(model["item_table"], want, atol=1e-4)


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
    rank_one = [finding for finding in findings if finding["attack"] == "rank-1 sign"]
    by_view = {(finding["view"], *finding["rounds"]): finding for finding in rank_one}
    for number in (1, 3):
        assert by_view["unprotected_upload", number]["result"][0] >= 0.99
        assert by_view["opened_sum", number]["beyond"][0] < 0.1


def test_what_everybody_knows_is_recorded_beside_the_views(recorded: Path, toy: Dataset) -> None:
    public = recorded_case(recorded / "views").public
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
