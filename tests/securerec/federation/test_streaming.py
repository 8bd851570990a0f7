"""Rounds whose changes are summed as they come, or wait in a file, are those whose changes lie in memory."""

import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from securerec.config import Config, make_config
from securerec.data.dataset import Dataset
from securerec.data.synthetic import synthesize
from securerec.federation import results
from securerec.federation.folder import RunFolder
from securerec.federation.pool import DevicePool
from securerec.federation.run import Run
from securerec.federation.summing import OpenedSum, clear_sum
from securerec.federation.track import Summing, Track
from securerec.federation.warm_start import cold_start
from securerec.models.pfedrec import PFedRec
from securerec.models.scorers import ScoreFunctions
from securerec.privacy.ledger import Ledger
from securerec.privacy.mechanism import FixedPoint
from securerec.privacy.randomness import NoiseKey
from securerec.training.cohort import CohortTrainer
from securerec.training.row_trainer import RowTrainer
from securerec.training.trainers import Trainer
from securerec.training.updates import Table, Updates

LEARNERS = [
    ("auto", True), ("pfedrec", True), ("pfedrec", False), ("fedmf", True), ("fedmf", False), ("fedncf", True),
    ("fedncf", False), ("fedrecon", True), ("fedrecon", False),
]  # fmt: skip


def settings(model: str = "pfedrec", dual: bool = True, private: bool = False, protocol: str = "plain") -> Config:
    values: dict[str, Any] = {
        "seed": 7, "data": {"dataset": "toy", "sampled_negatives": 15}, "protocol": {"protocol": protocol},
        "training": {"model": model, "dual": dual, "rounds": 2, "dim": 4}, "privacy": {"privacy": private},
    }  # fmt: skip
    if model == "auto":
        values["start"] = {"segments": (1, 1)}
    return make_config(values).resolved(24)


class InMemory:
    """A trainer that can only keep everybody's changes."""

    def __init__(self, trainer: RowTrainer) -> None:
        for name in ("draw", "train", "untrained", "score", "score_own", "train_set", "heads", "model"):
            setattr(self, name, getattr(trainer, name))


@pytest.mark.parametrize(("model", "dual"), LEARNERS)
@pytest.mark.parametrize("private", [True, False])
def test_rounds_and_figures_are_the_same_as_with_all_changes_in_memory(
    tmp_path: Path, toy: Dataset, monkeypatch: pytest.MonkeyPatch, model: str, dual: bool, private: bool
) -> None:
    config, own_trainer = settings(model, dual, private), Run._trainer
    # some devices at a time, not all of this small cohort at once
    monkeypatch.setitem(RowTrainer.stream.__kwdefaults__, "samples_at_once", 100)
    streamed = results.execute(Run.create(tmp_path / "streamed", config, toy), 1, lambda progress: None)

    def in_memory(self: Run, *arguments: Any) -> Trainer:
        trainer = own_trainer(self, *arguments)
        assert isinstance(trainer, RowTrainer)
        return InMemory(trainer)  # type: ignore[return-value]

    monkeypatch.setattr(Run, "_trainer", in_memory)
    assert results.execute(Run.create(tmp_path / "kept", config, toy), 1, lambda progress: None) == streamed
    for name in ("model.safetensors", "metrics.jsonl", "results.json", "ledger.jsonl", "devices/state.safetensors"):
        assert (tmp_path / "streamed" / name).read_bytes() == (tmp_path / "kept" / name).read_bytes(), name


def test_a_finished_run_s_devices_are_read_back_as_they_were(tmp_path: Path, toy: Dataset) -> None:
    run, users = Run.create(tmp_path / "run", settings(), toy), np.arange(24)
    with run.folder.locked(), DevicePool(1) as pool:
        tracks = run.tracks(pool)
        finished = run.play(tracks, lambda progress: None)
        devices = results.trained_devices(tracks["clean"], finished.states["clean"])
        results.conclude(run, finished, tracks)
    again, _ = results.load_devices(RunFolder.open(tmp_path / "run"))
    for share in (0.0, 0.5, 1.0):
        np.testing.assert_array_equal(again.scorer(share)(users), devices.scorer(share)(users))
    assert again.changes.digest() == devices.changes.digest()


def test_no_file_of_changes_outlives_a_run(tmp_path: Path, toy: Dataset) -> None:
    results.execute(Run.create(tmp_path / "run", settings(private=True, protocol="pairwise"), toy), 2, lambda _: None)
    assert sorted(path.name for path in (tmp_path / "run" / "devices").iterdir()) == ["state.safetensors"]


def test_a_file_of_changes_that_a_killed_run_left_is_cleared_away(tmp_path: Path, toy: Dataset) -> None:
    run = Run.create(tmp_path / "run", settings(), toy)
    (tmp_path / "run" / "devices" / ".changes.abc.tmp").write_bytes(b"left")
    results.execute(run, 1, lambda progress: None)
    assert sorted(path.name for path in (tmp_path / "run" / "devices").iterdir()) == ["state.safetensors"]


class Stop(Exception):
    pass


def test_an_unprotected_round_is_in_the_ledger_before_it_is_trained(
    tmp_path: Path, toy: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.create(tmp_path / "run", settings(), toy)

    def stop(*arguments: object, **named: object) -> None:
        assert [event.label for event in Ledger(tmp_path / "run" / "ledger.jsonl").events()] == ["round 1"]
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(RowTrainer, "stream", stop)
        with pytest.raises(Stop):
            results.execute(run, 1, lambda progress: None)
    results.execute(Run(RunFolder.open(tmp_path / "run"), toy), 1, lambda progress: None)
    events = Ledger(tmp_path / "run" / "ledger.jsonl").events()
    assert [event.label for event in events] == ["round 1", "round 2"]


def test_what_is_protected_is_not_charged_without_its_updates(tmp_path: Path, toy: Dataset) -> None:
    run = Run.create(tmp_path / "run", settings(private=True), toy)
    with pytest.raises(ValueError, match="round 1 is protected, and its updates must be known"):
        run.releases.spend("round", "round 1", None)
    assert not Ledger(tmp_path / "run" / "ledger.jsonl").events()


class SumOfUploads:
    """Adds up each device's own integers, as a protocol would."""

    def __init__(self, quantiser: FixedPoint, n_clients: int) -> None:
        self._quantiser, self._n_clients, self.scale = quantiser, n_clients, quantiser.scale

    def __call__(
        self, table: Table, updates: Updates, round_number: int, *, functions: ScoreFunctions | None = None,
        record: bool = False,
    ) -> OpenedSum:  # fmt: skip
        streams = partial(NoiseKey.from_seed(0).stream, updates.digest(), round_number)
        return clear_sum(self._quantiser, updates, self._n_clients, streams, record=record)


def test_neither_a_round_nor_its_replay_holds_everybodys_changes(tmp_path: Path) -> None:
    train, model = synthesize(1000, 4000, 100_000, np.random.default_rng(0)).interactions, PFedRec()
    start = cold_start(model, train, np.random.default_rng(0))
    quantiser = FixedPoint(4000 * model.dim, 20, 1 << 30)
    uploads: list[Summing | FixedPoint] = [quantiser, SumOfUploads(quantiser, train.n_users)]
    tables = []
    for summing in uploads:
        track = Track(
            CohortTrainer(model, train, train, threads=1), summing, start=start, training_key=1, server_lr=1.0,
            validation=np.zeros((train.n_users, 2), np.int32), cutoffs=(1,), kept_scoring=None, folder=tmp_path,
        )  # fmt: skip
        tracemalloc.start()
        outcome = track.run_round(track.start())
        _, changes = track.replay(outcome.state.kept)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        held = sum(rows.nbytes + delta.nbytes for rows, delta in map(changes.of, range(train.n_users)))
        assert held > 50e6 and peak < held / 2
        tables.append(outcome.state.table)
    np.testing.assert_array_equal(*tables)
