import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from securerec.config import Config, make_config
from securerec.data.dataset import Dataset
from securerec.errors import RunError
from securerec.federation import results
from securerec.federation.folder import RunFolder, read_arrays
from securerec.federation.run import Progress, Run
from securerec.privacy.accounting import central_epsilon
from securerec.privacy.ledger import Ledger


def settings(**sections: dict[str, Any]) -> Config:
    values: dict[str, Any] = {"seed": 7, "data": {"dataset": "toy", "sampled_negatives": 15}}
    values["training"] = {"rounds": 4, "dim": 4} | sections.pop("training", {})
    return make_config(values | sections).resolved()


def play(path: Path, config: Config, dataset: Dataset, workers: int = 1) -> dict[str, Any]:
    return results.execute(Run.create(path, config, dataset), workers, lambda progress: None)


def model_bytes(path: Path) -> bytes:
    return (path / "model.safetensors").read_bytes()


def test_a_model_trained_with_ckks_equals_the_plain_one_to_the_bit(tmp_path: Path, toy: Dataset) -> None:
    for privacy in ({"epsilon": 8.0}, {"privacy": False}):
        tables = []
        for protocol in ("plain", "ckks"):
            path = tmp_path / f"{protocol}-{len(privacy)}-{privacy.get('epsilon')}"
            figures = play(path, settings(privacy=privacy, protocol={"protocol": protocol}), toy)
            table, _ = read_arrays(path / "model.safetensors")
            tables.append((table["item_table"].tobytes(), (path / "metrics.jsonl").read_text(), figures["metrics"]))
        assert tables[0][0] == tables[1][0]
        assert tables[0][2] == tables[1][2]


def test_the_number_of_processes_does_not_change_the_model(tmp_path: Path, toy: Dataset) -> None:
    config = settings(protocol={"protocol": "plain"}, training={"rounds": 2})
    one = play(tmp_path / "one", config, toy, workers=1)
    two = play(tmp_path / "two", config, toy, workers=2)
    assert one == two
    assert model_bytes(tmp_path / "one") == model_bytes(tmp_path / "two")


class Stop(Exception):
    pass


@pytest.mark.parametrize("after", [1, 3])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(tmp_path: Path, toy: Dataset, after: int) -> None:
    config = settings(protocol={"protocol": "plain"})
    whole = play(tmp_path / "whole", config, toy)

    def stop(progress: Progress) -> None:
        if progress.round_number == after:
            raise Stop

    run = Run.create(tmp_path / "stopped", config, toy)
    with pytest.raises(Stop):
        results.execute(run, 1, stop)
    again = results.execute(Run(RunFolder.open(tmp_path / "stopped"), toy), 1, lambda progress: None)
    assert again == whole
    for name in ("model.safetensors", "metrics.jsonl", "results.json", "ledger.jsonl", "devices/state.safetensors"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_crash_between_ledger_and_commit_spends_the_round_once(
    tmp_path: Path, toy: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(protocol={"protocol": "plain"}, evaluation={"published": False})
    run = Run.create(tmp_path / "run", config, toy)

    def crash(*arguments: object) -> None:
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "commit", crash)
        with pytest.raises(Stop):
            results.execute(run, 1, lambda progress: None)
    assert [event.label for event in Ledger(tmp_path / "run" / "ledger.jsonl").events()] == ["round 1"]
    figures = results.execute(Run(RunFolder.open(tmp_path / "run"), toy), 1, lambda progress: None)
    events = Ledger(tmp_path / "run" / "ledger.jsonl").events()
    assert [event.label for event in events] == ["round 1", "round 2", "round 3", "round 4"]
    assert figures["privacy"]["central_epsilon"] == central_epsilon(events, delta=1e-5).epsilon


def test_calibrated_noise_does_not_overshoot_and_says_where_it_comes_from(tmp_path: Path, toy: Dataset) -> None:
    for name, kind in (("epsilon", "central_epsilon"), ("local_epsilon", "local_epsilon")):
        figures = play(
            tmp_path / name,
            settings(privacy={name: 30.0}, protocol={"protocol": "plain"}, evaluation={"published": False}),
            toy,
        )
        privacy = figures["privacy"]
        assert 30.0 * 0.98 < privacy[kind] <= 30.0
        assert privacy["noise_source"] == "seed: noise reproducible, simulation only"
        assert privacy["min_survivors"] == 22
        assert privacy["central_epsilon"] < privacy["local_epsilon"]


def test_without_a_seed_noise_is_the_systems_and_differs(tmp_path: Path, toy: Dataset) -> None:
    config = settings(protocol={"protocol": "plain"}, training={"rounds": 1}).model_copy(update={"seed": None})
    first = play(tmp_path / "a", config, toy)
    play(tmp_path / "b", config, toy)
    assert first["privacy"]["noise_source"] == "operating system"
    assert model_bytes(tmp_path / "a") != model_bytes(tmp_path / "b")


def test_without_privacy_no_epsilon_is_invented(tmp_path: Path, toy: Dataset) -> None:
    figures = play(tmp_path / "run", settings(privacy={"privacy": False}, protocol={"protocol": "plain"}), toy)
    for name in ("central_epsilon", "local_epsilon", "noise_multiplier", "clip_norm", "noise_source"):
        assert figures["privacy"][name] is None
    assert central_epsilon(Ledger(tmp_path / "run" / "ledger.jsonl").events(), delta=1e-5).epsilon == float("inf")


def test_learning_beats_chance_where_there_is_something_to_learn(tmp_path: Path, toy: Dataset) -> None:
    config = settings(
        privacy={"privacy": False}, protocol={"protocol": "plain"}, training={"rounds": 60, "dim": 8},
        evaluation={"published": False, "cutoffs": (5,)},
    )  # fmt: skip
    figures = play(tmp_path / "run", config, toy)
    assert figures["metrics"]["clean"]["hr@5"] > 5 / 16
    assert figures["metrics"]["published"] is None


def test_secrets_stay_in_the_devices_folder_and_with_their_owner(tmp_path: Path, toy: Dataset) -> None:
    path = tmp_path / "run"
    run = Run.create(path, settings().model_copy(update={"seed": None}), toy)
    secret = (path / "devices" / "noise.key").read_bytes()
    assert (path / "devices").stat().st_mode & 0o777 == 0o700
    assert (path / "devices" / "noise.key").stat().st_mode & 0o777 == 0o600
    results.execute(run, 1, lambda progress: None)
    for file in path.rglob("*"):
        if file.is_file() and file.parent.name != "devices":
            assert secret not in file.read_bytes()
    assert secret.hex() not in repr(run.noise_key) and repr(secret) not in repr(run.noise_key)


def test_a_run_refuses_another_data_set_a_used_folder_and_a_second_process(
    tmp_path: Path, toy: Dataset, other_toy: Dataset
) -> None:
    run = Run.create(tmp_path / "run", settings(), toy)
    with pytest.raises(RunError, match="another version of data set toy"):
        Run(RunFolder.open(tmp_path / "run"), other_toy)
    with pytest.raises(RunError, match="is not empty"):
        Run.create(tmp_path / "run", settings(), toy)
    with run.folder.locked(), pytest.raises(RunError, match="being run by another process"), run.folder.locked():
        pass
    with pytest.raises(RunError, match="is no run"):
        RunFolder.open(tmp_path / "elsewhere")


def test_damaged_files_are_named_when_resuming(tmp_path: Path, toy: Dataset) -> None:
    config = settings(protocol={"protocol": "plain"}, evaluation={"published": False})
    run = Run.create(tmp_path / "run", config, toy)

    def stop(progress: Progress) -> None:
        raise Stop

    with pytest.raises(Stop):
        results.execute(run, 1, stop)
    server = tmp_path / "run" / "server.safetensors"
    good = server.read_bytes()
    server.write_bytes(good[:-3])
    with pytest.raises(RunError, match="server.safetensors cannot be read"):
        run.folder.committed()
    server.write_bytes(good)
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    with pytest.raises(RunError, match="does not have rounds 1 to 1"):
        results.execute(run, 1, lambda progress: None)


def test_every_figure_of_a_round_is_in_its_metrics_line(tmp_path: Path, toy: Dataset) -> None:
    play(tmp_path / "run", settings(protocol={"protocol": "ckks"}), toy)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["round"] for line in lines] == [1, 2, 3, 4]
    epsilons = [line["central_epsilon"] for line in lines]
    assert epsilons == sorted(epsilons) and 7.9 < epsilons[-1] <= 8.0
    for line in lines:
        assert line["survivors"] == 24 and line["upload_bytes"] > 0
        assert np.isfinite([line["loss"], line["published"]["loss"], *line["validation"]["server"].values()]).all()


def test_a_failing_device_ends_the_round_with_its_reason(tmp_path: Path, toy: Dataset) -> None:
    config = settings(training={"rounds": 1, "score_lr": 1e30}, evaluation={"published": False})
    run = Run.create(tmp_path / "run", config, toy)
    with pytest.raises(RunError, match="finite numbers: .*lower.* learning rates"):
        results.execute(run, 1, lambda progress: None)
