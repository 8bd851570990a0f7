import json
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from protocols import PROTOCOLS
from securerec.data.dataset import Dataset

TOY = ("--dataset", "toy", "--sampled-negatives", "15", "--rounds", "3", "--workers", "1")


Securerec = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path, toy: Dataset, securerec: Securerec) -> Path:
    securerec("run", *TOY, "--seed", "1", "--out", tmp_path / "run", "--protocol", "plain")
    return tmp_path / "run"


def test_run_prints_json_last_with_every_promised_figure(tmp_path: Path, toy: Dataset, securerec: Securerec) -> None:
    done = securerec("run", *TOY, "--out", tmp_path / "run", "--json", "-")
    figures: dict[str, Any] = json.loads(done.stdout)
    assert {
        "dataset",
        "rounds",
        "cohort",
        "metrics",
        "baselines",
        "privacy",
        "protocol",
        "uploads",
    } <= set(figures)
    for protocol in ("published", "clean", "full"):
        assert set(figures["metrics"][protocol]) == {"hr@10", "ndcg@10"}
        for baseline in ("popularity", "local_only", "ials"):
            assert set(figures["baselines"][baseline][protocol]) == {"hr@10", "ndcg@10"}
    privacy = {
        "unit", "relation", "delta", "accountant", "central_epsilon", "local_epsilon", "releases",
        "min_survivors", "min_honest", "noise_source",
    }  # fmt: skip
    assert privacy <= set(figures["privacy"])
    assert figures["privacy"]["noise_source"] == "operating system"
    assert 7.9 < figures["privacy"]["central_epsilon"] <= 8.0
    assert {"total", "train", "privatise", "encrypt", "add", "open", "evaluate"} <= set(figures["seconds"])
    assert figures["protocol"] == "ckks-committee" and all(each["bytes"] > 0 for each in figures["uploads"])
    assert "central epsilon" in done.stderr and "HR@10 / NDCG@10 on test" in done.stderr


def test_a_file_sets_what_flags_do_not(tmp_path: Path, toy: Dataset, securerec: Securerec) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        '[data]\ndataset = "toy"\nsampled_negatives = 15\n[training]\nrounds = 9\n[privacy]\nepsilon = 3.0\n'
    )
    done = securerec(
        "run", "--config", config, "--rounds", "2", "--noise-multiplier", "20", "--protocol", "plain", "--workers", "1",
        "--out", tmp_path / "run", "--json", tmp_path / "figures.json",
    )  # fmt: skip
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["rounds"] == 2
    assert figures["privacy"]["releases"][-1]["noise_multiplier"] == pytest.approx(20)
    assert "server sees every upload in the clear" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--epsilon", "1", "--local-epsilon", "2"), 4, "epsilon and local_epsilon each set the noise"),
        (("--epsilon", "1", "--no-privacy"), 4, "epsilon has no meaning without privacy"),
        (("--epsilon", "-1"), 4, "privacy.epsilon: input should be greater than or equal to 0.001"),
        (("--epsilon", "nan"), 4, "privacy.epsilon: input should be a finite number"),
        (
            ("--protocol", "rot13"),
            4,
            "protocol.protocol: input should be 'plain', 'pairwise', 'ckks' or 'ckks-committee'",
        ),
        (("--dataset", "nothing"), 3, "no data set 'nothing'"),
        (("--config", "missing.toml"), 4, "missing.toml cannot be read"),
        (("--cutoffs", "5,x"), 4, "--cutoffs takes whole numbers"),
        (("--cutoffs", "0"), 4, "evaluation.cutoffs.0: input should be greater than or equal to 1"),
        (("--batch-size", "1000000000000"), 4, "training.batch_size: input should be less than or equal to 1048576"),
        (("--delta", "1e-320"), 4, "privacy.delta: input should be greater than or equal to 0.000000000000001"),
        (("--clip-norm", "1e-320"), 4, "privacy.clip_norm: input should be"),
        (("--view-rounds", "1"), 4, "views.view_rounds has no meaning without views.record_views"),
        (("--view-rounds", "99", "--record-views"), 4, "names round 99, but the run has 3 rounds"),
        (("--noise-multiplier", "1e6"), 6, "client_sigma must lie between"),
        (("--negatives", "49"), 3, "has touched all but"),
        (("--unit", "interaction", "--head"), 4, "start.head does not go with privacy.unit interaction"),
        (("--unit", "interaction", "--local-epsilon", "3"), 4, "privacy.local_epsilon speaks of a user"),
        (("--unit", "interaction", "--epsilon", "0.001"), 6, "no noise that fits the grid"),
        (("--unit", "person"), 4, "privacy.unit: input should be 'user' or 'interaction'"),
        (("--steps", "2"), 4, "interaction.steps has no meaning without privacy.unit interaction"),
        (("--mechanism", "skellam", "--no-privacy"), 4, "mechanism skellam has no meaning without privacy"),
        (("--mechanism", "laplace", "--noise-multiplier", "1e6"), 6, "client_sigma must lie between"),
        (("--rounds", "x"), 2, "Invalid value for '--rounds'"),
        (("--pairs", "10"), 4, "start.pairs goes only with --no-privacy"),
        (("--pairs", "x"), 2, "Invalid value for '--pairs'"),
        (("--episilon", "3"), 2, "--episilon"),
        (("--out", "/proc/nothing/run"), 5, "/proc/nothing/run cannot be made"),
    ],
)
def test_bad_options_are_one_line_and_an_exit_code(
    toy: Dataset, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str, securerec: Securerec
) -> None:
    done = securerec("run", *TOY, "--out", tmp_path / "run", *arguments, code=code)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_unknown_settings_are_refused_with_the_nearest_name(toy: Dataset, tmp_path: Path, securerec: Securerec) -> None:
    config = tmp_path / "config.toml"
    for text, near in (
        ("[training]\nround = 3\n", "did you mean 'training.rounds'?"),
        ("[privcy]\nepsilon = 3\n", "did you mean 'privacy'?"),
        ("clip_norm = 3\n", "did you mean 'privacy.clip_norm'?"),
    ):
        config.write_text(text)
        assert near in securerec("run", "--config", config, code=4).stderr
    config.write_text("rounds = = 3")
    assert "is not valid TOML" in securerec("run", "--config", config, code=4).stderr


def test_settings_are_not_coerced_and_a_file_is_checked_by_itself(
    toy: Dataset, tmp_path: Path, securerec: Securerec
) -> None:
    config = tmp_path / "config.toml"
    for text, message in (
        ("[training]\nrounds = true\n", "training.rounds: input should be a valid integer"),
        ('[training]\ndim = "4"\n', "training.dim: input should be a valid integer"),
        ('[privacy]\nprivacy = "no"\n', "privacy.privacy: input should be a valid boolean"),
        ("privacy = 3\n", "privacy: input should be"),
    ):
        config.write_text(text)
        assert message in securerec("run", "--config", config, "--epsilon", "2", code=4).stderr


@pytest.mark.parametrize("name", ["results.json", "identity.json", "config.toml", "seconds.json"])
def test_damaged_runs_are_one_line(run: Path, securerec: Securerec, name: str) -> None:
    for damage in (b"{", b"[]", b"{}", b""):
        (run / name).write_bytes(damage)
        for command in (("resume", run), ("recommend", run, "--user", "u1")):
            done = securerec(*command, code=None)
            assert done.returncode in (0, 4, 5), done.stderr
            assert len(done.stderr.strip().splitlines()) <= (done.returncode != 0)


def test_a_run_without_its_figures_is_not_gone_on_from(run: Path, tmp_path: Path, securerec: Securerec) -> None:
    (run / "results.json").write_bytes(b"{}")
    (tmp_path / "later.csv").write_text("user,item\nnew,i1\n")
    done = securerec("continue", run, "--interactions", tmp_path / "later.csv", "--out", tmp_path / "child", code=5)
    assert "lacks 'kept_round'" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "child").exists()


def test_markup_in_names_is_shown_as_it_is(tmp_path: Path, toy: Dataset, securerec: Securerec) -> None:
    out = tmp_path / "br[/bold]x"
    assert "br[/bold]x" in securerec("run", *TOY, "--protocol", "plain", "--out", out).stdout


def test_no_privacy_is_loud(tmp_path: Path, toy: Dataset, securerec: Securerec) -> None:
    done = securerec("run", *TOY, "--no-privacy", "--protocol", "plain", "--out", tmp_path / "run", "--json", "-")
    assert "NO PRIVACY" in done.stderr
    assert "Neither a central nor a local epsilon holds" in done.stderr
    assert json.loads(done.stdout)["privacy"]["central_epsilon"] is None


def test_a_run_for_one_interaction_says_at_once_that_it_protects_no_user(
    tmp_path: Path, toy: Dataset, securerec: Securerec
) -> None:
    done = securerec("run", *TOY, "--unit", "interaction", "--out", tmp_path / "run", "--json", "-")
    shown = " ".join(done.stderr.split())
    assert "Unit: one interaction." in shown and "no user-level epsilon holds" in shown
    figures = json.loads(done.stdout)["privacy"]
    assert figures["unit"] == "interaction" and figures["central_epsilon"] is None
    recounted = json.loads(securerec("privacy", "account", tmp_path / "run", "--json", "-").stdout)["totals"]
    assert recounted["interaction"]["epsilon"]["gdp"] == figures["interaction_epsilon"]
    assert recounted["central"]["unbounded"]
    securerec("recommend", tmp_path / "run", "--user", "u3")


def test_recommend_names_titles_and_what_the_device_knew(run: Path, toy: Dataset, securerec: Securerec) -> None:
    done = securerec("recommend", run, "--user", "u3", "--count", "4", "--json", "-")
    figures = json.loads(done.stdout)
    known = {item["item"] for item in figures["known"]}
    history = toy.interactions.of(3)
    assert known == {toy.item_ids[item] for item in history[:-2]}
    assert len(figures["recommendations"]) == 4
    assert not known & {item["item"] for item in figures["recommendations"]}
    scores = [item["score"] for item in figures["recommendations"]]
    assert scores == sorted(scores, reverse=True)
    assert figures["recommendations"][0]["title"] in done.stderr, "titles with brackets are shown as they are"
    assert "u3" in securerec("recommend", run, "--user", "u33", code=3).stderr


def test_resume_prints_a_finished_run_again(run: Path, securerec: Securerec) -> None:
    before = (run / "results.json").read_bytes()
    figures = json.loads(securerec("resume", run, "--json", "-").stdout)
    assert figures["run"] == str(run)
    assert (run / "results.json").read_bytes() == before
    assert "is no run" in securerec("resume", run.parent, code=5).stderr


def test_doctor_finds_a_working_installation(securerec: Securerec) -> None:
    figures = json.loads(securerec("doctor", "--json", "-").stdout)
    assert figures["ok"], figures
    details = {check["name"]: check["detail"] for check in figures["checks"]}
    assert set(details) >= {"secure sums", "noise", "accounting", "local training", "cuda"}
    assert details["cuda"].startswith("none, and so no --device cuda: ") == (not torch.cuda.is_available())


def test_bench_round_times_every_phase(toy: Dataset, securerec: Securerec) -> None:
    figures = json.loads(securerec("bench", "round", *TOY, "--rounds", "1", "--counted", "1", "--json", "-").stdout)
    assert set(figures["phases"]) == {"train", "privatise", "encrypt", "add", "open", "step", "evaluate"}
    assert all(seconds > 0 for seconds in figures["phases"].values())
    assert figures["total_s"] == pytest.approx(sum(figures["phases"].values()))


def test_bench_training_compares_with_the_torch_loop(toy: Dataset, securerec: Securerec) -> None:
    figures = json.loads(
        securerec("bench", "training", "--dataset", "toy", "--cohort-rounds", "2", "--json", "-").stdout
    )
    assert figures["speedup"] == pytest.approx(figures["reference_s"] / figures["cohort_s"])
    assert figures["speedup"] > 1


def test_bench_training_leaves_the_torch_loop_out_on_request(toy: Dataset, securerec: Securerec) -> None:
    arguments = ("--dataset", "toy", "--cohort-rounds", "1", "--reference-rounds", "0")
    figures = json.loads(securerec("bench", "training", *arguments, "--json", "-").stdout)
    assert figures["reference_s"] is figures["speedup"] is None
    assert figures["streamed_s"] > 0


def test_bench_training_times_the_batched_trainer_on_request(toy: Dataset, securerec: Securerec) -> None:
    arguments = ("--dataset", "toy", "--cohort-rounds", "1", "--reference-rounds", "0", "--device", "cpu")
    figures = json.loads(securerec("bench", "training", *arguments, "--json", "-").stdout)
    assert figures["batched_on"] == "cpu"
    assert figures["batched_s"] == pytest.approx(sum(figures["batched_phases"].values()))
    assert "batched, cpu" in securerec("bench", "training", *arguments).stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
@pytest.mark.parametrize("command", [("bench", "training"), ("run",)])
def test_a_gpu_that_is_not_there_is_refused_in_one_line(
    command: tuple[str, ...], toy: Dataset, securerec: Securerec
) -> None:
    refused = securerec(*command, "--dataset", "toy", "--device", "cuda", code=4)
    assert refused.stderr.startswith("error: training.device cuda: ")
    assert refused.stderr.rstrip().endswith("or take cpu")
    assert refused.stderr.count("\n") == 1


def test_bench_scale_tells_cost_and_memory_of_each_world(securerec: Securerec) -> None:
    arguments = ("--users", "200", "--items", "100", "--interactions", "2000", "--rounds", "1")
    rows = json.loads(securerec("bench", "scale", *arguments, "--json", "-").stdout)["rows"]
    assert [(row["users"], row["interactions"]) for row in rows] == [(20, 200), (40, 400), (100, 1000), (200, 2000)]
    for row in rows:
        assert row["round_s_per_1000_clients"] * row["users"] / 1000 == pytest.approx(row["round_s"])
        assert row["peak_mb"] is None or row["peak_mb"] > 10
    too_many = securerec("bench", "scale", "--users", "200", "--items", "100", "--interactions", "9000", code=3)
    assert "20 users over 100 items have between 60 and 400 interactions" in too_many.stderr


def test_bench_protocols_plays_whole_rounds_and_counts_wrong_values(securerec: Securerec) -> None:
    arguments = ("--length", "2000", "--clients", "8", "--bits", "8", "--dropouts", "0.2")
    figures = json.loads(securerec("bench", "protocols", *arguments, "--json", "-").stdout)
    rows, installed = figures["rows"], find_spec("flwr") is not None
    flower = ["flower-secagg"] if installed else []
    assert [row["protocol"] for row in rows] == [*PROTOCOLS, "naive-ckks-vector", *flower]
    assert installed or figures["notes"] == ["flwr is not installed: the rows of Flower's SecAgg are left out"]
    for row in rows:
        assert row["wrong"] == 0 and row["upload_bytes"] > 0 and row["client_ms"] > 0
        assert row["expansion"] == pytest.approx(row["upload_bytes"] / 8000)
    naive, committee = rows[len(PROTOCOLS)], rows[len(PROTOCOLS) - 1]
    assert naive["upload_bytes"] > 2 * committee["upload_bytes"] and committee["decryptor_bytes"] > 0
    assert "there is no protocol 'rot13'" in securerec("bench", "protocols", "--protocol", "rot13", code=4).stderr


@pytest.mark.parametrize("phase", ["advertise", "unmask", "boxes", "opening"])
def test_bench_protocols_lets_parties_drop_out_in_any_phase(securerec: Securerec, phase: str) -> None:
    arguments = ("--length", "300", "--clients", "12", "--bits", "8", "--dropouts", "0.3", "--dropouts-at", phase)
    figures = json.loads(securerec("bench", "protocols", *arguments, "--json", "-").stdout)
    name = "pairwise" if phase in ("advertise", "unmask") else "ckks-committee"
    assert [row["protocol"] for row in figures["rows"]][:2] == [name, "naive-ckks-vector"]
    assert all(row["wrong"] == 0 for row in figures["rows"]) and figures["dropouts_at"] == phase
    assert any("and so left out: plain" in note for note in figures["notes"])


def test_bench_protocols_refuses_a_phase_that_no_protocol_has(securerec: Securerec) -> None:
    refused = securerec("bench", "protocols", "--protocol", "plain", "--dropouts-at", "boxes", code=4)
    assert "no protocol here has a phase 'boxes': choose among upload" in refused.stderr


def test_bench_protocols_shows_the_size_of_every_message(securerec: Securerec) -> None:
    arguments = ("bench", "protocols", "--sizes", "--length", "500", "--clients", "6", "--bits", "8", "--json", "-")
    sizes = json.loads(securerec(*arguments).stdout)["sizes"]
    assert set(sizes) == set(PROTOCOLS)
    for messages in sizes.values():
        assert {"setup", "server broadcast"} <= set(messages)
        assert {"client upload", "client vector"} & set(messages)


def test_keys_are_made_shown_and_rotated_without_showing_a_secret(tmp_path: Path, securerec: Securerec) -> None:
    folder = tmp_path / "keys"
    made = securerec("keys", "make", folder, "--clients", "3", "--json", "-")
    shown = securerec("keys", "show", folder, "--json", "-")
    assert json.loads(made.stdout) == json.loads(shown.stdout)
    rotated = securerec("keys", "rotate", folder, "--client", "1", "--json", "-")
    before, after = (json.loads(done.stdout)["parties"] for done in (shown, rotated))
    changed = [old["number"] for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [1]
    for secret in folder.rglob("*.key"):
        data = secret.read_bytes()
        for done in (made, shown, rotated):
            for part in (data[-32:], data[-64:-32]):
                assert not part or part.hex() not in done.stdout + done.stderr
    assert "nothing to rotate" in securerec("keys", "rotate", folder, code=4).stderr
    assert (
        "is no safe committee"
        in securerec("keys", "make", tmp_path / "other", "--clients", "3", "--threshold", "4", code=4).stderr
    )
