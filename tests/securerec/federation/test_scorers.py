import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from securerec.audit.lying_server import Stage
from securerec.audit.recording import recorded_cases, recorder_of
from securerec.config import Config, make_config
from securerec.data.dataset import Dataset
from securerec.data.splits import leave_one_out
from securerec.errors import ConfigError
from securerec.federation import results
from securerec.federation.folder import RunFolder, read_arrays
from securerec.federation.run import Progress, Run
from securerec.models.fedncf import FedNCF
from securerec.training.trainers import trainer_of

SCORERS = [
    ("pfedrec", True), ("pfedrec", False), ("fedmf", True), ("fedmf", False),
    ("fedncf", True), ("fedncf", False), ("fedrecon", True), ("fedrecon", False),
]  # fmt: skip
every_scorer = pytest.mark.parametrize(("model", "dual"), SCORERS)


def settings(model: str, dual: bool, protocol: str = "plain", **sections: dict[str, Any]) -> Config:
    training = {"model": model, "dual": dual, "rounds": 2, "dim": 4} | sections.pop("training", {})
    values = {
        "seed": 7, "data": {"dataset": "toy", "sampled_negatives": 15}, "training": training,
        "protocol": {"protocol": protocol},
    }  # fmt: skip
    return make_config(values | sections).resolved(24)


def play(path: Path, config: Config, dataset: Dataset, workers: int = 1) -> dict[str, Any]:
    return results.execute(Run.create(path, config, dataset), workers, lambda progress: None)


@every_scorer
@pytest.mark.parametrize("private", [True, False])
def test_secure_sums_train_the_plain_one_s_model_to_the_bit(
    tmp_path: Path, toy: Dataset, model: str, dual: bool, private: bool
) -> None:
    found = []
    for protocol in ("plain", "pairwise", "ckks-committee"):
        path = tmp_path / protocol
        sections = {"privacy": {"privacy": private}, "evaluation": {"published": False}}
        figures = play(path, settings(model, dual, protocol, **sections), toy)
        state = (path / "devices" / "state.safetensors").read_bytes()
        found.append(((path / "model.safetensors").read_bytes(), state, figures["metrics"]))
        assert (figures["model"], figures["dual"]) == (model, dual)
    assert found[0] == found[1] == found[2]


@every_scorer
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(tmp_path: Path, toy: Dataset, model: str, dual: bool) -> None:
    class Stop(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.round_number == 1:
            raise Stop

    config = settings(model, dual)
    whole = play(tmp_path / "whole", config, toy)
    with pytest.raises(Stop):
        results.execute(Run.create(tmp_path / "stopped", config, toy), 1, stop)
    assert results.execute(Run(RunFolder.open(tmp_path / "stopped"), toy), 1, lambda progress: None) == whole
    for name in ("model.safetensors", "metrics.jsonl", "results.json", "ledger.jsonl", "devices/state.safetensors"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@every_scorer
def test_published_figures_are_of_the_view_that_the_scorer_is_for(
    tmp_path: Path, toy: Dataset, model: str, dual: bool
) -> None:
    figures = play(tmp_path / "run", settings(model, dual, privacy={"privacy": False}), toy)
    headline = "own" if dual else "server"
    assert figures["scoring"]["published"] == headline
    assert figures["metrics"]["published"] == figures["scorings"]["published"][headline]["metrics"]
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    best = max(lines, key=lambda line: line["published"]["validation"][headline]["hr@10"])
    assert figures["kept_round"]["published"] == best["round"]


@every_scorer
def test_a_finished_run_s_devices_score_as_they_did(tmp_path: Path, toy: Dataset, model: str, dual: bool) -> None:
    path = tmp_path / "run"
    config = settings(model, dual, evaluation={"published": False}, privacy={"privacy": False})
    run = Run.create(path, config, toy)
    figures = results.execute(run, 1, lambda progress: None)
    devices, shares = results.load_devices(RunFolder.open(path))
    assert len(shares) == toy.interactions.n_users
    users = np.arange(toy.interactions.n_users)
    for name, share in (("own", 1.0), ("server", 0.0)):
        found = results._figures(run, "clean", devices.scorer(share))
        assert found == figures["scorings"]["clean"][name]
    half = np.full(len(users), 0.5, np.float32)
    mean = (devices.scorer(0.0)(users) + devices.scorer(1.0)(users)) / 2
    np.testing.assert_allclose(devices.scores(users, half), mean, rtol=1e-4, atol=1e-4)
    model_file, _ = read_arrays(path / "model.safetensors")
    assert model_file["item_table"].shape == (toy.interactions.n_items, 4)
    assert ("network" in model_file) == (model == "fedncf" and not dual)


def test_a_shared_network_travels_noised_in_the_same_vector_as_the_items(tmp_path: Path, toy: Dataset) -> None:
    config = settings("fedncf", False, evaluation={"published": False})
    learner = config.training.learner()
    assert isinstance(learner, FedNCF)
    run = Run.create(tmp_path / "run", config, toy)
    n_rows = toy.interactions.n_items + learner.shared_rows
    assert run.promises["round"].quantiser.dimension == n_rows * learner.dim
    results.execute(run, 1, lambda progress: None)
    network = read_arrays(tmp_path / "run" / "model.safetensors")[0]["network"]
    seed = int(run.folder.identity("initial_values"), 16)
    start = learner.initial_table(toy.interactions.n_items, np.random.default_rng(seed))
    moved = network - start[toy.interactions.n_items :]
    assert np.all(moved.ravel()[: learner.network_size] != 0)


@every_scorer
def test_views_are_recorded_for_the_auditor_or_refused_in_a_sentence(
    tmp_path: Path, toy: Dataset, model: str, dual: bool
) -> None:
    sections = {"evaluation": {"published": False}, "views": {"record_views": True}}
    if model == "fedncf" and not dual:
        with pytest.raises(ConfigError, match="shared network beside the items' rows, which no attack here reads"):
            settings(model, dual, **sections)
        return
    run = Run.create(tmp_path / "run", settings(model, dual, **sections), toy)
    results.execute(run, 1, lambda progress: None, recorder_of(run))
    case = recorded_cases(run.folder.views)["rounds"]
    # how devices train is told only where they train as the attacks take it
    assert (case.public.training is not None) == (model in ("pfedrec", "fedmf"))


@pytest.mark.parametrize("model", ["fedncf", "fedrecon"])
def test_no_lying_server_is_played_to_devices_that_score_otherwise(toy: Dataset, model: str) -> None:
    with pytest.raises(ConfigError, match=f"training.model {model} has no audit of a lying server"):
        Stage.of(toy, settings(model, True), clients=5, round_number=1, seed=0)


def test_there_is_no_trainer_for_an_unknown_learner(toy: Dataset) -> None:
    train = leave_one_out(toy.interactions).train
    with pytest.raises(ValueError, match="there is no trainer for"):
        trainer_of(object(), train, train)  # type: ignore[arg-type]
