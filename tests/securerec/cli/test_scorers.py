import json
from collections.abc import Callable
from pathlib import Path

from securerec.data.dataset import Dataset

TOY = ("--dataset", "toy", "--sampled-negatives", "15", "--rounds", "2", "--workers", "1", "--protocol", "plain")


def test_a_scorer_is_a_flag_and_its_figures_say_so(tmp_path: Path, toy: Dataset, securerec: Callable) -> None:
    out = tmp_path / "run"
    done = securerec("run", *TOY, "--model", "fedncf", "--no-dual", "--out", out, "--json", "-")
    figures = json.loads(done.stdout)
    assert (figures["model"], figures["dual"]) == ("fedncf", False)
    assert "FedNCF, server's table" in done.stderr
    # without dual personalisation a device has no view of its own to recommend by
    shown = json.loads(securerec("recommend", out, "--user", "u3", "--json", "-").stdout)
    assert shown["own_share"] == 0.0 and len(shown["recommendations"]) == 10


def test_what_does_not_go_with_a_scorer_is_one_line(tmp_path: Path, toy: Dataset, securerec: Callable) -> None:
    for flags, message in (
        (("--model", "fedrecon", "--head"), "start.head does not go with training.model fedrecon"),
        (("--model", "fedncf", "--no-dual", "--record-views"), "views.record_views does not go with"),
        (("--model", "gpfedrec"), "training.model"),
    ):
        done = securerec("run", *TOY, *flags, "--out", tmp_path / "run", code=4)
        assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1
        assert not (tmp_path / "run").exists()


def test_an_item_item_model_is_a_flag_and_an_event(tmp_path: Path, toy: Dataset, securerec: Callable) -> None:
    out = tmp_path / "run"
    done = securerec("run", *TOY, "--no-privacy", "--pairs", "4", "--out", out, "--json", "-")
    assert "pairs" in [each["release"] for each in json.loads(done.stdout)["uploads"]]
    events = [json.loads(line) for line in (out / "ledger.jsonl").read_text().splitlines()]
    assert [event["label"] for event in events if event["label"].startswith("pairs")] == ["pairs"]


def test_the_cost_of_scorers_is_a_command(tmp_path: Path, toy: Dataset, securerec: Callable) -> None:
    file = tmp_path / "costs.json"
    done = securerec("bench", "scorers", "--dataset", "toy", "--dim", "4", "--json", file)
    figures = json.loads(file.read_text())
    assert {cost["model"] for cost in figures["scorers"]} == {"pfedrec", "fedmf", "fedncf", "fedrecon"}
    assert all(f"{cost['upload_bytes']:,}" in done.stdout for cost in figures["scorers"])
