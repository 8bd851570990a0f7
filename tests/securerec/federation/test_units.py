"""Runs that protect one interaction, and what keeps them apart from those that protect a person."""

import io
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from protocols import PROTOCOLS
from securerec.audit.recording import recorded_cases, recorder_of
from securerec.audit.whole import audit_run
from securerec.cli.figures import run_tables
from securerec.cli.privacy import account
from securerec.config import Config, make_config
from securerec.data.dataset import Dataset
from securerec.errors import ConfigError, PrivacyError
from securerec.federation import results
from securerec.federation.folder import RunFolder, read_arrays
from securerec.federation.run import Progress, Run
from securerec.privacy.accounting import central_epsilon, interaction_epsilon, local_epsilon
from securerec.privacy.events import InteractionSgd
from securerec.privacy.ledger import Ledger
from securerec.training.interaction import trainer
from securerec.training.interaction.plans import plan_for

DELTA = 1e-5


def settings(**sections: dict[str, Any]) -> Config:
    values: dict[str, Any] = {"seed": 7, "data": {"dataset": "toy", "sampled_negatives": 15}}
    values["training"] = {"rounds": 3, "dim": 4} | sections.pop("training", {})
    values["privacy"] = {"unit": "interaction"} | sections.pop("privacy", {})
    values["protocol"] = {"protocol": "plain"} | sections.pop("protocol", {})
    return make_config(values | sections).resolved(24)


def play(path: Path, config: Config, dataset: Dataset) -> dict[str, Any]:
    return results.execute(Run.create(path, config, dataset), 1, lambda progress: None)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


class Stop(Exception):
    pass


def test_every_protocol_trains_the_plain_one_s_model_to_the_bit(tmp_path: Path, toy: Dataset) -> None:
    found = []
    for protocol in PROTOCOLS:
        path = tmp_path / protocol
        figures = play(path, settings(protocol={"protocol": protocol}), toy)
        lines = lines_of(path)
        for line in lines:
            assert (line.pop("upload_bytes") is None) == (protocol == "plain")
        model = (path / "model.safetensors").read_bytes()
        found.append((model, lines, figures["metrics"], (path / "ledger.jsonl").read_bytes()))
    assert all(each == found[0] for each in found)


def test_the_ledger_counts_interactions_and_agrees_with_the_figures(tmp_path: Path, toy: Dataset) -> None:
    figures = play(tmp_path / "run", settings(), toy)["privacy"]
    events = Ledger(tmp_path / "run" / "ledger.jsonl").events()
    assert [event.label for event in events] == ["round 1", "round 2", "round 3"]
    assert all(isinstance(event, InteractionSgd) for event in events)
    counted = interaction_epsilon(events, delta=DELTA)
    assert figures["interaction_epsilon"] == counted.epsilon and 7.9 < counted.epsilon <= 8.0
    assert (figures["unit"], figures["relation"], figures["accountant"]) == (
        "interaction", counted.relation, counted.accountant,
    )  # fmt: skip
    account(tmp_path / "run", json_file=str(tmp_path / "account.json"))
    totals = json.loads((tmp_path / "account.json").read_text())["totals"]
    assert totals["interaction"]["epsilon"]["gdp"] == figures["interaction_epsilon"]
    assert totals["central"]["unbounded"] and totals["local"]["unbounded"]


def test_no_epsilon_of_a_user_is_claimed_anywhere(tmp_path: Path, toy: Dataset) -> None:
    spent = []
    run = Run.create(tmp_path / "run", settings(), toy)
    figures = results.execute(run, 1, lambda progress: spent.append(progress.spent))
    assert {each.unit for each in spent} == {"interaction"}
    for name in ("central_epsilon", "central_epsilon_rdp", "local_epsilon", "min_honest"):
        assert figures["privacy"][name] is None
    events = run.folder.ledger.events()
    for count in (central_epsilon, local_epsilon):
        assert count(events, delta=DELTA).epsilon == float("inf")
    assert "no user-level epsilon holds" in figures["privacy"]["user_level"]
    console = Console(file=io.StringIO(), width=400)
    console.print(*run_tables(figures | {"run": "run", "seconds": {}}))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Privacy of one interaction, not of a person" in shown and "no user-level epsilon holds" in shown
    assert "central epsilon" not in shown and "local epsilon" not in shown


def test_losses_are_marked_as_not_noised(tmp_path: Path, toy: Dataset) -> None:
    figures = play(tmp_path / "run", settings(), toy)
    lines = lines_of(tmp_path / "run")
    assert all("loss" in line["not_noised"] and line["central_epsilon"] is None for line in lines)
    assert [line["interaction_epsilon"] for line in lines] == sorted(line["interaction_epsilon"] for line in lines)
    assert any("training losses" in each for each in figures["privacy"]["not_accounted"])


def test_nothing_is_released_but_the_rounds(tmp_path: Path, toy: Dataset) -> None:
    figures = play(tmp_path / "run", settings(), toy)
    assert figures["metrics"]["published"] is None and "head" not in figures["scorings"]["clean"]
    assert [each["release"] for each in figures["uploads"]] == ["round"]
    model, _ = read_arrays(tmp_path / "run" / "model.safetensors")
    assert not model["base"].any()


def test_what_nobody_has_set_is_the_plan_s_and_what_somebody_has_stays() -> None:
    values: dict[str, Any] = {"privacy": {"unit": "interaction", "epsilon": 6.0}}
    config, plan = make_config(values).resolved(24), plan_for(6.0)
    for name in ("rounds", "dim", "negatives", "score_lr", "table_scale", "function_scale"):
        assert getattr(config.training, name) == getattr(plan, name)
    assert (config.interaction.steps, config.interaction.item_lr) == (plan.steps, plan.item_lr)
    assert config.privacy.clip_norm == plan.clip_norm and not config.evaluation.published
    assert config.evaluation.keep == "last" and config.start.head is False

    values["privacy"]["clip_norm"] = 25.0
    values |= {"training": {"negatives": 4, "rounds": 2}, "interaction": {"sample_rate": 0.5}}
    other = make_config(values).resolved(24)
    assert (other.training.negatives, other.training.rounds, other.privacy.clip_norm) == (4, 2, 25.0)
    assert other.interaction.sample_rate == 0.5


def test_a_run_s_own_file_starts_the_same_run_again() -> None:
    config = settings()
    assert make_config(tomllib.loads(config.to_toml().decode())).resolved(24) == config


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"start": {"head": True}}, "start.head does not go with privacy.unit interaction: a head and a warm start"),
        ({"start": {"popularity_share": 0.5}}, "start.popularity_share does not go with"),
        ({"privacy": {"local_epsilon": 3.0}}, "privacy.local_epsilon speaks of a user"),
        ({"privacy": {"noise_multiplier": 3.0}}, "privacy.noise_multiplier speaks of a user"),
        ({"privacy": {"mechanism": "skellam"}}, "privacy.mechanism has no meaning with privacy.unit interaction"),
        ({"privacy": {"colluding": 0.1}}, "privacy.colluding has no meaning"),
        ({"privacy": {"privacy": False}}, "unit interaction has no meaning without privacy"),
        ({"privacy": {"unit": "user"}, "interaction": {"steps": 2}}, "interaction.steps has no meaning without"),
        ({"training": {"batch_size": 9}}, "training.batch_size has no meaning"),
        ({"training": {"rounds": 0}}, "nothing would be learnt"),
        ({"evaluation": {"published": True}}, "evaluation.published has no meaning"),
    ],
)
def test_what_does_not_go_with_the_unit_is_refused_in_a_line(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        settings(**sections)
    assert "\n" not in str(refused.value) and refused.value.exit_code == 4


def test_an_epsilon_that_no_noise_reaches_leaves_no_folder(tmp_path: Path, toy: Dataset) -> None:
    config = settings(privacy={"epsilon": 0.01}, training={"rounds": 50})
    with pytest.raises(PrivacyError, match="no noise that fits the grid") as refused:
        Run.create(tmp_path / "run", config, toy)
    assert refused.value.exit_code == 6 and not (tmp_path / "run").exists()


@pytest.mark.parametrize("protocol", ["plain", "ckks"])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(tmp_path: Path, toy: Dataset, protocol: str) -> None:
    config = settings(protocol={"protocol": protocol}, interaction={"steps": 2, "sample_rate": 0.5})
    whole = play(tmp_path / "whole", config, toy)

    def stop(progress: Progress) -> None:
        raise Stop

    with pytest.raises(Stop):
        results.execute(Run.create(tmp_path / "stopped", config, toy), 1, stop)
    again = results.execute(Run(RunFolder.open(tmp_path / "stopped"), toy), 1, lambda progress: None)
    assert again == whole
    for name in ("model.safetensors", "metrics.jsonl", "results.json", "ledger.jsonl", "devices/state.safetensors"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_round_with_other_noise_after_a_crash_is_charged_to_the_interaction_and_refused(
    tmp_path: Path, toy: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, path = settings(training={"rounds": 1}), tmp_path / "run"

    def crash(*arguments: object) -> None:
        raise Stop

    def labels() -> list[str]:
        return [event.label for event in Ledger(path / "ledger.jsonl").events()]

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "commit", crash)
        with pytest.raises(Stop):
            results.execute(Run.create(path, config, toy), 1, lambda progress: None)
        with pytest.raises(Stop):
            results.execute(Run(RunFolder.open(path), toy), 1, lambda progress: None)
        assert labels() == ["round 1"], "the same bits again are the same release"
        patch.setattr(trainer, "_label", lambda *arguments: "another program's label")
        with pytest.raises(PrivacyError, match="would spend more than the epsilon of 8"):
            results.execute(Run(RunFolder.open(path), toy), 1, lambda progress: None)
    assert labels() == ["round 1"]
    results.execute(Run(RunFolder.open(path), toy), 1, lambda progress: None)


def test_devices_do_not_mistake_their_own_noise_for_a_lying_server(tmp_path: Path, toy: Dataset) -> None:
    """Noise alone may carry an honest table far: item rows beyond what is refused where nothing is noised."""
    config = settings(
        privacy={"epsilon": 0.3}, protocol={"protocol": "ckks"}, training={"rounds": 2, "score_lr": 50.0},
        interaction={"item_lr": 2000.0},
    )  # fmt: skip
    assert play(tmp_path / "run", config, toy)["rounds"] == 2


def test_an_audit_sees_noised_uploads_and_bounds_no_epsilon(tmp_path: Path, toy: Dataset) -> None:
    config = settings(views={"record_views": True, "view_rounds": (3,)}, protocol={"protocol": "ckks-committee"})
    run = Run.create(tmp_path / "run", config, toy)
    results.execute(run, 1, lambda progress: None, recorder_of(run))
    case = recorded_cases(run.folder.views)["rounds"]
    assert set(case.recording.kinds()) == {"noised_upload", "opened_sum"}
    assert case.public.training is None and case.public.min_survivors == 22
    audit = audit_run(run.folder, toy, seed=0, step=lambda step: None)
    assert audit.bounds == [] and audit.broken == [] and audit.findings
    assert "epsilon of one interaction was not bounded" in audit.left_out[0]
    assert not any("guards" in attempt.against for attempt in audit.attempts)
