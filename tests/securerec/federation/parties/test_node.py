"""Nodes of any size come to what one process with the whole cohort comes to, to the bit, noise included."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from securerec.config import Config, make_config
from securerec.data.dataset import Dataset
from securerec.federation.parties.silo import own_keys
from securerec.federation.pool import DevicePool
from securerec.federation.run import Run
from securerec.federation.step import stepped
from securerec.training.draws import client_keys

sys.path.insert(0, str(Path(__file__).parent))
from small_federation import SmallFederation, enrolled  # noqa: E402


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def settings(protocol: str = "plain", **sections: dict[str, Any]) -> Config:
    values: dict[str, Any] = {"seed": 7, "data": {"dataset": "toy", "sampled_negatives": 15}}
    values["training"] = {"rounds": 2}
    values["protocol"] = {"protocol": protocol}
    values["evaluation"] = {"keep": "last", "published": False}
    if sections.get("training", {}).get("model", "auto") == "auto":
        values["start"] = {"segments": (1, 1)}
    return make_config(values | sections).resolved(24, 50)


def test_a_silo_draws_the_keys_that_its_clients_have_in_the_whole_cohort() -> None:
    seed = np.random.SeedSequence(5, spawn_key=(3,))
    everybody = client_keys(np.random.default_rng(seed), 100)
    for numbers in ([0], [99], [3, 4, 50], list(range(100))):
        assert np.array_equal(own_keys(seed, numbers), everybody[numbers])


def trained(small: SmallFederation, *, restarting: bool = False) -> np.ndarray:
    """The item table after all rounds. restarting: every node starts anew from its disk between two rounds."""
    training, promise = small.federation.config.training, small.promises["round"]
    start = small.warm_start()
    table = start.table
    for number in range(1, small.federation.rounds + 1):
        if restarting:
            for name, node in list(small.nodes.items()):
                small.start_node(name, list(node.present().numbers))
        opened = small.play("round", table, start.basis, round_number=number)
        table = stepped(
            table, opened.total, survivors=opened.survivors, scale=promise.quantiser.scale,
            server_lr=training.server_lr, client_sigma=promise.quantiser.client_sigma, popularity=start.popularity,
        )  # fmt: skip
    return table


def in_one_process(path: Path, config: Config, dataset: Dataset) -> tuple[Run, np.ndarray]:
    run = Run.create(path, config, dataset)
    with DevicePool(1) as pool:
        finished = run.play(run.tracks(pool), lambda progress: None)
    return run, finished.states["clean"].table


CASES: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "noise, plain": ("plain", {}),
    "noise, committee": ("ckks-committee", {}),
    "no noise, committee": ("ckks-committee", {"privacy": {"privacy": False}}),
    "no head": ("plain", {"training": {"model": "pfedrec", "rounds": 2, "dim": 4}}),
    "another learner": ("pairwise", {"training": {"model": "fedrecon", "rounds": 2, "dim": 4}}),
}


@pytest.mark.parametrize("case", CASES)
def test_nodes_of_any_size_train_the_model_of_one_process_to_the_bit(tmp_path: Path, toy: Dataset, case: str) -> None:
    protocol, sections = CASES[case]
    config = settings(protocol, **sections)
    run, table = in_one_process(tmp_path / "run", config, toy)
    for devices in (24, 3, 1) if case.startswith("noise") else (5,):
        small = enrolled(tmp_path / str(devices), config, toy, run_id=run.run_id)
        small.start_nodes(devices)
        assert trained(small, restarting=devices in (3, 5)).tobytes() == table.tobytes()
        for name in small.opened:
            opened = run.folder.start_sum(name)
            assert opened is not None and np.array_equal(opened.total, small.sums[name, 1].total)
        assert not small.refusals()


def test_another_seed_makes_another_model(tmp_path: Path, toy: Dataset) -> None:
    config = settings()
    run, table = in_one_process(tmp_path / "run", config, toy)
    small = enrolled(tmp_path / "other", config, toy, run_id=run.run_id)
    small.beginnings = replace(small.beginnings, noise=small.beginnings.noise[:-1] + b"x")
    small.start_nodes(24)
    assert trained(small).tobytes() != table.tobytes()
