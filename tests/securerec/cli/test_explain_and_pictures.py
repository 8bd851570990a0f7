import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from securerec.data import cache
from securerec.data.dataset import Dataset

Securerec = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path, toy: Dataset, securerec: Securerec) -> Path:
    securerec(
        "run", "--dataset", "toy", "--sampled-negatives", "15", "--rounds", "2", "--workers", "1", "--seed", "1",
        "--out", tmp_path / "run", "--protocol", "plain",
    )  # fmt: skip
    return tmp_path / "run"


def test_explain_says_what_recommend_ranks_by(run: Path, securerec: Securerec) -> None:
    best = json.loads(securerec("recommend", run, "--user", "u3", "--json", "-").stdout)["recommendations"]
    done = securerec("explain", run, "--user", "u3", "--item", best[1]["item"], "--json", "-")
    figures = json.loads(done.stdout)
    assert figures["score"] == pytest.approx(best[1]["score"], abs=1e-5)
    assert figures["adds_up"] and sum(part["value"] for part in figures["parts"]) == pytest.approx(
        figures["score"], abs=1e-4
    )
    assert figures["places"]["outside_training"]["position"] == 2
    known = json.loads(securerec("recommend", run, "--user", "u3", "--json", "-").stdout)["known"]
    for way in figures["own_items"]:
        assert {each["item"] for each in way["items"]} == {each["item"] for each in known}
        values = [each["value"] for each in way["items"]]
        assert values == sorted(values, reverse=True)
    assert {way["of"] for way in figures["own_items"]} == {"head", "score function"}
    assert "never leave it" in done.stderr and "left out: by how much" in done.stderr.replace("\n", " ")


def test_explain_knows_what_was_held_out_and_what_was_trained_on(run: Path, toy: Dataset, securerec: Securerec) -> None:
    own = toy.interactions.of(3)
    for item, held_out, words in (
        (own[-1], "test", "Held out for test"), (own[-2], "validation", "held out for validation"),
        (own[0], None, "the device trained on it"),
    ):  # fmt: skip
        done = securerec("explain", run, "--user", "u3", "--item", f"i{item}", "--json", "-")
        places = json.loads(done.stdout)["places"]
        assert places["held_out"] == held_out and words in " ".join(done.stderr.split())
        assert places["trained_on"] == (held_out is None)
        assert (places["clean"] is not None) == (held_out == "test")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("explain", "--user", "u99", "--item", "i1"), 3, "toy has no user 'u99' among its 24: the nearest are u9"),
        (("explain", "--user", "u1", "--item", "i99"), 3, "toy has no item 'i99' among its 50: the nearest are i9"),
        (("explain", "--user", "u1"), 2, "Missing option '--item'"),
        (("pictures", "--user", "u99"), 3, "toy has no user 'u99' among its 24: the nearest are u9"),
        (("pictures", "--user", "u2", "--out", "/proc/nothing"), 4, "give --out another folder"),
    ],
)
def test_what_cannot_be_answered_is_one_line(
    run: Path, arguments: tuple[str, ...], code: int, message: str, securerec: Securerec
) -> None:
    done = securerec(arguments[0], run, *arguments[1:], code=code)
    assert message in done.stderr.strip().splitlines()[-1]


def test_a_run_that_is_missing_unfinished_or_of_other_data_is_refused(
    run: Path, toy: Dataset, other_toy: Dataset, securerec: Securerec, tmp_path: Path
) -> None:
    for command in (("explain", "--user", "u1", "--item", "i1"), ("pictures",)):
        name, *rest = command
        assert "is no run" in securerec(name, tmp_path / "nothing", *rest, code=5).stderr
        results = (run / "results.json").read_bytes()
        (run / "results.json").unlink()
        assert "is not finished" in securerec(name, run, *rest, code=5).stderr
        (run / "results.json").write_bytes(results)
        cache.save_dataset(other_toy)
        assert "another version of data set" in securerec(name, run, *rest, code=5).stderr
        cache.save_dataset(toy)


def test_pictures_go_into_the_run_for_a_user_with_the_median_number_of_items(
    run: Path, toy: Dataset, securerec: Securerec
) -> None:
    done = securerec("pictures", run, "--json", "-")
    figures = json.loads(done.stdout)
    assert {Path(path).parent for path in figures["files"]} == {run / "pictures"} and len(figures["files"]) == 8
    assert all(Path(path).is_file() for path in figures["files"])
    assert figures["user"]["chosen"] == "a user with the median number of training items"
    results = json.loads((run / "results.json").read_text())
    for protocol in ("clean", "full"):
        for view in ("own", "server"):
            assert figures["views"][protocol][view] == results["scorings"][protocol][view]
    assert "the picture also shows a leak" in " ".join(done.stderr.split())
