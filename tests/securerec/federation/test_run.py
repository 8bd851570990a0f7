import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocols import PROTOCOLS
from securerec.config import Config, make_config
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.errors import DataError, PrivacyError, RunError
from securerec.federation import results
from securerec.federation.folder import RunFolder, read_arrays
from securerec.federation.run import Progress, Run
from securerec.federation.summing import OpenedSum, SecureSum
from securerec.files import write_atomic
from securerec.models.pfedrec import PFedRec
from securerec.privacy.accounting import central_epsilon
from securerec.privacy.ledger import Ledger
from securerec.training.updates import Updates

START = ("popularity", "segments", "segments 2")
"""Released before the first round."""


def settings(**sections: dict[str, Any]) -> Config:
    values: dict[str, Any] = {"seed": 7, "data": {"dataset": "toy", "sampled_negatives": 15}}
    values["training"] = {"rounds": 4, "dim": 4} | sections.pop("training", {})
    if sections.get("privacy", {}).get("privacy", True):
        values["start"] = {"segments": (1, 1)}
    else:
        values["training"] = {"model": "pfedrec"} | values["training"]
    return make_config(values | sections).resolved(24)


def play(path: Path, config: Config, dataset: Dataset, workers: int = 1) -> dict[str, Any]:
    return results.execute(Run.create(path, config, dataset), workers, lambda progress: None)


def model_bytes(path: Path) -> bytes:
    return (path / "model.safetensors").read_bytes()


def test_every_protocol_trains_the_plain_one_s_model_to_the_bit(tmp_path: Path, toy: Dataset) -> None:
    for privacy in ({"epsilon": 8.0}, {"privacy": False}):
        tables = []
        for protocol in PROTOCOLS:
            path = tmp_path / f"{protocol}-{privacy.get('epsilon')}"
            figures = play(path, settings(privacy=privacy, protocol={"protocol": protocol}), toy)
            table, _ = read_arrays(path / "model.safetensors")
            lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
            for line in lines:
                assert (line.pop("upload_bytes") is None) == (protocol == "plain" and "epsilon" not in privacy)
            tables.append((table["item_table"].tobytes(), lines, figures["metrics"]))
        assert all(table == tables[0] for table in tables)


def test_the_number_of_processes_does_not_change_the_model(tmp_path: Path, toy: Dataset) -> None:
    config = settings(training={"rounds": 2})
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
    assert [event.label for event in Ledger(tmp_path / "run" / "ledger.jsonl").events()] == [*START, "round 1"]
    figures = results.execute(Run(RunFolder.open(tmp_path / "run"), toy), 1, lambda progress: None)
    events = Ledger(tmp_path / "run" / "ledger.jsonl").events()
    assert [event.label for event in events] == [*START, "round 1", "round 2", "round 3", "round 4"]
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
    for name in ("central_epsilon", "local_epsilon", "min_survivors", "min_honest", "noise_source"):
        assert figures["privacy"][name] is None
    assert figures["privacy"]["releases"] == []
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
    with run.folder.locked(), pytest.raises(RunError, match="being run by another process"):
        results.execute(run, 1, lambda progress: None)
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


def stopped_after(path: Path, config: Config, dataset: Dataset, rounds: int) -> RunFolder:
    def stop(progress: Progress) -> None:
        if progress.round_number == rounds:
            raise Stop

    with pytest.raises(Stop):
        results.execute(Run.create(path, config, dataset), 1, stop)
    return RunFolder.open(path)


PLAIN = {"protocol": {"protocol": "plain"}, "evaluation": {"published": False}}


def test_a_resumed_run_is_bound_to_its_configuration_its_keys_and_its_program(tmp_path: Path, toy: Dataset) -> None:
    folder = stopped_after(tmp_path / "run", settings(**PLAIN), toy, 1)

    def refused(path: Path, change: bytes, match: str) -> None:
        before = path.read_bytes()
        path.write_bytes(change)
        with pytest.raises(RunError, match=match):
            Run(folder, toy)
        path.write_bytes(before)

    config = folder.path / "config.toml"
    refused(config, config.read_bytes().replace(b"epsilon = 8.0", b"epsilon = 20.0"), "was changed since the run began")
    # a program of another version may complete the same file otherwise: that is no change by anybody
    identity = folder.path / "identity.json"
    before = identity.read_bytes()
    identity.write_bytes(before.replace(b'"version": "', b'"version": "9'))
    refused(config, config.read_bytes().replace(b"epsilon = 8.0", b"epsilon = 20.0"), "was begun with securerec 9")
    identity.write_bytes(before)
    for name in ("noise.key", "training.key"):
        key = folder.devices / name
        refused(key, key.read_bytes()[:5], "is not the key that the run began with")
    refused(identity, identity.read_bytes().replace(b'"version": "', b'"version": "9'), "was begun with securerec 9")
    for damage in (b"{", b"[1]", b"{}", b""):
        refused(identity, damage, "identity.json")
    Run(folder, toy)


def test_a_ledger_that_lost_a_round_is_refused_and_not_undercounted(tmp_path: Path, toy: Dataset) -> None:
    folder = stopped_after(tmp_path / "run", settings(**PLAIN), toy, 2)
    ledger = folder.path / "ledger.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    for kept in ([], lines[1:], lines[:1]):
        ledger.write_text("".join(kept))
        with pytest.raises(PrivacyError, match="lacks (round|popularity|segments)"):
            results.execute(Run(folder, toy), 1, lambda progress: None)


def test_other_updates_after_a_crash_get_other_noise_and_are_charged_or_refused(
    tmp_path: Path, toy: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a library or processor changes between a crash and the resumption."""

    def crash(*arguments: object, **named: object) -> None:
        raise Stop

    def recorded(config: Config, path: Path) -> list[np.ndarray]:
        uploads: list[np.ndarray] = []
        original = SecureSum.__call__

        def keep(self: SecureSum, table: np.ndarray, updates: Updates, round_number: int, **named: Any) -> OpenedSum:
            opened = original(self, table, updates, round_number, **(named | {"record": True}))
            assert opened.recorded is not None
            if self.label not in START:
                uploads.append(opened.recorded)
            return opened

        monkeypatch.setattr(SecureSum, "__call__", keep)
        with monkeypatch.context() as patch:
            patch.setattr(RunFolder, "commit", crash)
            with pytest.raises(Stop):
                results.execute(Run.create(path, config, toy), 1, lambda progress: None)
            with pytest.raises(Stop):
                results.execute(Run(RunFolder.open(path), toy), 1, lambda progress: None)
            patch.setattr(PFedRec, "item_lr", lambda self, n_items: 0.9 * self.item_lr_factor * n_items)
            with pytest.raises((Stop, PrivacyError)):
                results.execute(Run(RunFolder.open(path), toy), 1, lambda progress: None)
        monkeypatch.undo()
        return uploads

    same = settings(**PLAIN, privacy={"noise_multiplier": 5.0}, training={"rounds": 1})
    first, again, other = recorded(same, tmp_path / "open")
    np.testing.assert_array_equal(first, again)
    # Noise of deviation s twice, independent: the difference has s * sqrt 2; with the same noise it would be far less.
    sigma = Run(RunFolder.open(tmp_path / "open"), toy).promises["round"].quantiser.client_sigma
    assert (other.astype(np.int64) - first).std() > 1.2 * sigma
    events = Ledger(tmp_path / "open" / "ledger.jsonl").events()
    assert [event.label for event in events] == [*START, "round 1", "round 1, attempt 2"]

    budget = settings(**PLAIN, training={"rounds": 1})
    assert len(recorded(budget, tmp_path / "budget")) == 2
    assert [event.label for event in Ledger(tmp_path / "budget" / "ledger.jsonl").events()] == [*START, "round 1"]
    # What was refused left no trace: with the updates of before the run goes on.
    results.execute(Run(RunFolder.open(tmp_path / "budget"), toy), 1, lambda progress: None)


def test_a_finished_run_keeps_no_keys(tmp_path: Path, toy: Dataset) -> None:
    play(tmp_path / "run", settings(**PLAIN), toy)
    assert sorted(path.name for path in (tmp_path / "run" / "devices").iterdir()) == ["state.safetensors"]


@pytest.mark.parametrize("call", ["write_atomic", "unlink"])
def test_a_crash_at_any_write_or_removal_ends_the_same(
    tmp_path: Path, toy: Dataset, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    config = settings(**PLAIN, training={"rounds": 2})
    whole = play(tmp_path / "whole", config, toy)
    target = ("securerec.federation.folder.write_atomic") if call == "write_atomic" else ("pathlib.Path.unlink")
    original = write_atomic if call == "write_atomic" else Path.unlink
    crashes, at = 0, 0
    while True:
        path, calls = tmp_path / f"crash-{at}", 0

        def crash(*arguments: Any, last: int = at, **named: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == last + 1:
                raise Stop
            original(*arguments, **named)

        run = Run.create(path, config, toy)
        with monkeypatch.context() as patch:
            patch.setattr(target, crash)
            try:
                results.execute(run, 1, lambda progress: None)
                break
            except Stop:
                crashes += 1
        folder = RunFolder.open(path)
        if folder.results() is None:
            results.execute(Run(folder, toy), 1, lambda progress: None)
        folder.clear_rounds()
        assert folder.results() == whole
        for name in ("model.safetensors", "metrics.jsonl", "ledger.jsonl", "devices/state.safetensors"):
            assert (path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), (at, name)
        at += 1
    assert crashes >= (8 if call == "write_atomic" else 3)


def test_data_in_which_nobody_has_a_held_out_item_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    interactions = Interactions.from_lists([[0, 1], [2, 3]], 20)
    names = tuple(map(str, range(20)))
    short = Dataset(
        "short", interactions, ("a", "b"), names, names, np.zeros(20, np.int16), np.zeros((20, 0), np.bool_), (), {},
        "", "", "",
    )  # fmt: skip
    with pytest.raises(DataError, match="no user of short has 3 items or more"):
        Run.create(tmp_path / "run", settings(), short)
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_run_leaves_no_folder(tmp_path: Path, toy: Dataset) -> None:
    with pytest.raises(DataError, match="has touched all but"):
        Run.create(tmp_path / "run", settings(training={"rounds": 1, "negatives": 48}), toy)
    with pytest.raises(PrivacyError, match="client_sigma must lie between"):
        Run.create(tmp_path / "run", settings(privacy={"noise_multiplier": 1e6}), toy)
    assert list(tmp_path.glob("*run*")) == []


def test_a_device_needs_no_torch() -> None:
    program = (
        "import sys, securerec.federation.devices, securerec.training.cohort; "
        "sys.exit(bool({'torch', 'opacus'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


def test_coordinates_cut_without_privacy_are_counted(tmp_path: Path, toy: Dataset) -> None:
    """Both ways of summing see the same ones."""
    counts = []
    for protocol in ("plain", "ckks"):
        config = settings(
            privacy={"privacy": False}, protocol={"protocol": protocol}, evaluation={"published": False},
            training={"rounds": 1, "dim": 4, "item_lr_factor": 5000.0},
        )  # fmt: skip
        counts.append(play(tmp_path / protocol, config, toy)["saturated"])
    assert counts[0] == counts[1] > 0
