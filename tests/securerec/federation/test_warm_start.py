"""The warm start in a run: what each release follows from, what a lost file costs, and runs that end with it."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from securerec.config import Config, make_config
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.errors import PrivacyError
from securerec.federation import results, warm_start
from securerec.federation.folder import RunFolder, read_arrays
from securerec.federation.run import Run
from securerec.federation.warm_start import PopularityVectors, SegmentVectors
from securerec.models.head import Head, Heads
from securerec.models.segments import Segments
from securerec.privacy.accounting import central_epsilon
from securerec.training.updates import Updates

N_ITEMS, D = 60, 4


class Stop(Exception):
    pass


def settings(rounds: int = 2, **sections: dict[str, Any]) -> Config:
    values: dict[str, Any] = {
        "seed": 5, "data": {"dataset": "toy", "sampled_negatives": 15}, "training": {"rounds": rounds},
        "start": {"segments": (1, 2)}, "protocol": {"protocol": "plain"}, "evaluation": {"published": False},
    }  # fmt: skip
    return make_config(values | sections).resolved(24)


def play(path: Path, config: Config, dataset: Dataset) -> dict[str, Any]:
    run = Run(RunFolder.open(path), dataset) if path.exists() else Run.create(path, config, dataset)
    return results.execute(run, 1, lambda progress: None)


def some_vectors(seed: int = 0, n_users: int = 6) -> SegmentVectors:
    rng = np.random.default_rng(seed)
    lists = [rng.permutation(N_ITEMS)[: rng.integers(0, 20)].tolist() for _ in range(n_users)]
    head = Head(rng.normal(size=N_ITEMS).astype(np.float32), rng.normal(size=(N_ITEMS, D)).astype(np.float32))
    tastes, weights = rng.normal(size=(n_users, D)), rng.normal(size=(n_users, 2))
    return SegmentVectors(
        Segments.of(head, 3), np.arange(n_users), Interactions.from_lists(lists, N_ITEMS),
        Heads(head, tastes.astype(np.float32)), weights.astype(np.float32),
        rng.normal(size=(N_ITEMS, 2)).astype(np.float32),
    )  # fmt: skip


@pytest.mark.parametrize("kind", [SegmentVectors, PopularityVectors])
def test_a_device_elsewhere_computes_the_same_vector_to_the_byte(kind: type[Updates]) -> None:
    whole: Updates = some_vectors()
    if kind is PopularityVectors:
        whole = PopularityVectors(some_vectors().lists)
    elsewhere = copy.deepcopy(whole.part(np.array([1, 4])))
    for client in (1, 4):
        for here, there in zip(whole.of(client), elsewhere.of(client), strict=True):
            assert here.tobytes() == there.tobytes()
    with pytest.raises(KeyError):
        elsewhere.of(2)


def test_one_user_s_list_leaves_the_vectors_of_all_others_alone() -> None:
    vectors = some_vectors()
    lists = [vectors.lists.of(user).tolist() for user in range(6)]
    lists[3] = []
    tastes = vectors.heads.tastes.copy()
    tastes[3] = 0
    without = SegmentVectors(
        vectors.segments, vectors.clients, Interactions.from_lists(lists, N_ITEMS), Heads(vectors.heads.head, tastes),
        vectors.weights, vectors.table,
    )  # fmt: skip
    assert vectors.digest() != without.digest()
    for user in range(6):
        same = np.array_equal(vectors.of(user)[1], without.of(user)[1])
        assert same == (user != 3)
    assert not without.of(3)[1].any()


def test_vectors_have_norm_one_at_most(toy: Dataset) -> None:
    for user in range(6):
        assert np.linalg.norm(some_vectors().of(user)[1]) <= 1 + 1e-6
    for user in range(24):
        assert np.linalg.norm(PopularityVectors(toy.interactions).of(user)[1]) == pytest.approx(1, abs=1e-6)


def test_a_run_without_rounds_ends_with_what_the_warm_start_taught(tmp_path: Path, toy: Dataset) -> None:
    figures = play(tmp_path / "run", settings(rounds=0), toy)
    assert figures["rounds"] == figures["kept_round"]["clean"] == 0
    assert [each["release"] for each in figures["uploads"]] == ["popularity", "segments", "segments 2"]
    assert figures["privacy"]["central_epsilon"] == pytest.approx(8, rel=1e-3)
    own, server = (figures["scorings"]["clean"][name]["metrics"] for name in ("own", "server"))
    assert own == server and figures["scorings"]["clean"]["head"]["metrics"]
    model, _ = read_arrays(tmp_path / "run" / "model.safetensors")
    assert model["item_table"].shape == (50, 5) and model["item_table"].any()


def test_the_sums_of_the_warm_start_are_opened_once(
    tmp_path: Path, toy: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = play(tmp_path / "whole", settings(), toy)
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "commit", lambda *arguments: (_ for _ in ()).throw(Stop))
        with pytest.raises(Stop):
            play(tmp_path / "run", settings(), toy)
    before = (tmp_path / "run" / "start.safetensors").read_bytes()
    assert play(tmp_path / "run", settings(), toy) == whole
    assert (tmp_path / "run" / "start.safetensors").read_bytes() == before


def fit_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a library or processor that sums otherwise."""
    original = warm_start.fit_tastes
    monkeypatch.setattr(warm_start, "fit_tastes", lambda *a, **n: original(*a, **n) * np.float32(1.01))


def stopped_at(folder: Path, config: Config, dataset: Dataset, name: str, patch: pytest.MonkeyPatch) -> None:
    """Stopped when the uploads of a release have left and its sum is not yet kept."""
    original = RunFolder.write_start_sum

    def write(self: RunFolder, release: str, opened: Any) -> None:
        if release == name:
            raise Stop
        original(self, release, opened)

    patch.setattr(RunFolder, "write_start_sum", write)
    with pytest.raises(Stop):
        play(folder, config, dataset)
    patch.undo()


def test_other_vectors_after_a_crash_are_refused_where_there_is_no_budget_for_them(
    tmp_path: Path, toy: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_at(tmp_path / "run", settings(), toy, "segments", monkeypatch)
    with monkeypatch.context() as patch:
        fit_otherwise(patch)
        with pytest.raises(PrivacyError, match="segments, attempt 2 would spend more than the epsilon of 8"):
            play(tmp_path / "run", settings(), toy)
    # With the vectors of before it goes on.
    play(tmp_path / "run", settings(), toy)


def test_a_sum_that_was_lost_is_charged_again_where_its_vectors_differ(
    tmp_path: Path, toy: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(privacy={"noise_multiplier": 5.0})
    stopped_at(tmp_path / "run", config, toy, "segments 2", monkeypatch)
    (tmp_path / "run" / "start.safetensors").unlink()
    (tmp_path / "run" / "devices" / "sent.json").unlink()
    with monkeypatch.context() as patch:
        fit_otherwise(patch)
        play(tmp_path / "run", config, toy)
    ledger = RunFolder.open(tmp_path / "run").ledger.events()
    labels = [event.label for event in ledger]
    assert {"popularity, attempt 2", "segments, attempt 2", "segments 2, attempt 2"} <= set(labels)
    assert central_epsilon(ledger, delta=1e-5).epsilon > central_epsilon(ledger[:3], delta=1e-5).epsilon


def test_nothing_more_leaves_when_the_ledger_lost_a_release(
    tmp_path: Path, toy: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_at(tmp_path / "run", settings(), toy, "segments", monkeypatch)
    (tmp_path / "run" / "ledger.jsonl").unlink()
    with pytest.raises(PrivacyError, match="lacks popularity"):
        play(tmp_path / "run", settings(), toy)
    assert not (tmp_path / "run" / "ledger.jsonl").exists()


THREADS = """
import sys
from pathlib import Path
import numpy as np
from securerec.config import make_config
from securerec.data.dataset import BY_ROW, Dataset
from securerec.data.interactions import Interactions
from securerec.federation.pool import DevicePool
from securerec.federation.run import Run

rng = np.random.default_rng(0)
lists = [rng.permutation(1500)[:40].tolist() for _ in range(300)]
dataset = Dataset(
    "threads", Interactions.from_lists(lists, 1500), tuple(map(str, range(300))), tuple(map(str, range(1500))),
    tuple(map(str, range(1500))), rng.integers(1930, 1999, 1500).astype(np.int16), rng.random((1500, 18)) < 0.2,
    tuple(map(str, range(18))), {}, "none", "none", BY_ROW,
)
config = make_config({"seed": 1, "protocol": {"protocol": "plain"}, "start": {"segments": (8,)}}).resolved(300)
run = Run.create(Path(sys.argv[1]), config, dataset)
with DevicePool(1) as pool:
    start = run.start(pool, None)
print(start.basis.hex(), hash(start.heads.tastes.tobytes()), hash(start.functions.weights.tobytes()))
"""


def test_a_warm_start_does_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    found = set()
    for threads in ("1", "2"):
        environment = os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "PYTHONHASHSEED": "0"}
        done = subprocess.run(
            [sys.executable, "-c", THREADS, str(tmp_path / threads)], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1


def test_seconds_tell_what_the_warm_start_took(tmp_path: Path, toy: Dataset) -> None:
    play(tmp_path / "run", settings(rounds=0), toy)
    seconds = json.loads((tmp_path / "run" / "seconds.json").read_text())
    assert 0 < seconds["warm_start"] <= seconds["total"]
