"""Going on from a run: the ledger carries on, nobody starts again, and a stop changes nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from securerec.config import Config, make_config
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.errors import ConfigError, PrivacyError, RunError
from securerec.federation import results
from securerec.federation.arriving import Released
from securerec.federation.continuing import ContinuedRun, Parent, continued_config, open_run
from securerec.federation.devices import DeviceHost, LocalUpdates
from securerec.federation.folder import RunFolder
from securerec.federation.run import Run
from securerec.federation.stored import read_arrays
from securerec.federation.track import Track
from securerec.privacy.accounting import central_epsilon, local_epsilon


class Stop(Exception):
    pass


def settings(**sections: Any) -> Config:
    values: dict[str, Any] = {
        "seed": 5, "data": {"dataset": "toy", "sampled_negatives": 15}, "training": {"rounds": 2},
        "start": {"segments": (2,)}, "protocol": {"protocol": "plain"}, "evaluation": {"published": False},
    }  # fmt: skip
    return make_config(values | sections).resolved(24)


@pytest.fixture
def featured(toy: Dataset) -> Dataset:
    genres = np.stack([np.arange(50) < 25, np.arange(50) >= 25], axis=1)
    return replace(toy, genres=genres, genre_names=("Drama", "Comedy"))


def parent_of(path: Path, config: Config, dataset: Dataset) -> Parent:
    run = Run.create(path, config, dataset)
    figures = results.execute(run, 1, lambda progress: None)
    return Parent.finished(run.folder, dataset, results.load_devices(run.folder)[0], figures["kept_round"]["clean"])


def later_than(dataset: Dataset, *, new_items: int = 0) -> Dataset:
    """Two more items for user 0, a new user, and perhaps new items that the new user has taken too."""
    old = dataset.interactions
    lists = [old.of(user).tolist() for user in range(old.n_users)]
    fresh = np.setdiff1d(np.arange(old.n_items), lists[0])[:2].tolist()
    lists[0] += fresh
    lists.append([1, 4, 9, 12, *range(old.n_items, old.n_items + new_items), 15])
    return replace(
        dataset, name="toy-later", interactions=Interactions.from_lists(lists, old.n_items + new_items),
        user_ids=(*dataset.user_ids, "new"), user_attributes={},
        item_ids=(*dataset.item_ids, *(f"n{number}" for number in range(new_items))),
        titles=(*dataset.titles, *(f"New {number}" for number in range(new_items))),
        years=np.append(dataset.years, np.full(new_items, 1990, np.int16)),
        genres=np.concatenate([dataset.genres, np.tile([True, False], (new_items, 1))]),
    )  # fmt: skip


def going_on(parent: Parent, path: Path, dataset: Dataset, *, rounds: int = 2, epsilon: float | None = 2.0) -> Run:
    config = continued_config(parent.folder.config(), dataset.name, rounds=rounds, epsilon=epsilon, seed=6)
    return ContinuedRun.after(parent, path, config, dataset)


def test_new_rounds_add_to_what_was_spent_and_the_total_is_stated(tmp_path: Path, featured: Dataset) -> None:
    parent = parent_of(tmp_path / "parent", settings(), featured)
    run = going_on(parent, tmp_path / "child", later_than(featured))
    figures = results.execute(run, 1, lambda progress: None)
    before = parent.folder.ledger.events()
    events = run.folder.ledger.events()
    assert [replace(event, label="x") for event in events[: len(before)]] == [replace(e, label="x") for e in before]
    total = central_epsilon(events, delta=1e-5).epsilon
    assert figures["privacy"]["central_epsilon"] == total > central_epsilon(before, delta=1e-5).epsilon
    added = figures["continues"]["added_epsilon"]
    assert 1.9 < added <= 2.0 and max(8.0, added) < total <= 8.0 + added
    assert figures["continues"]["run_id"] == parent.folder.identity("run_id")


def test_after_a_local_epsilon_what_is_added_is_local_too(tmp_path: Path, featured: Dataset) -> None:
    parent = parent_of(tmp_path / "parent", settings(privacy={"local_epsilon": 50.0}), featured)
    run = going_on(parent, tmp_path / "child", later_than(featured))
    assert (run.config.privacy.epsilon, run.config.privacy.local_epsilon) == (None, 2.0)
    results.execute(run, 1, lambda progress: None)
    added = [event for event in run.folder.ledger.events() if not event.label.startswith("parent")]
    assert 1.9 < local_epsilon(added, delta=1e-5).epsilon <= 2.0
    assert 50.0 < local_epsilon(run.folder.ledger.events(), delta=1e-5).epsilon <= 52.0


def test_without_rounds_nothing_is_uploaded_and_epsilon_stays(tmp_path: Path, featured: Dataset) -> None:
    parent = parent_of(tmp_path / "parent", settings(), featured)
    run = going_on(parent, tmp_path / "child", later_than(featured), rounds=0, epsilon=None)
    figures = results.execute(run, 1, lambda progress: None)
    spent = central_epsilon(parent.folder.ledger.events(), delta=1e-5).epsilon
    assert figures["privacy"]["central_epsilon"] == spent and figures["continues"]["added_epsilon"] == 0
    assert figures["uploads"] == [] and figures["privacy"]["releases"] == []
    devices, _ = results.load_devices(run.folder)
    assert np.array_equal(devices.table, parent.devices.table)
    # user 5 has nothing new, user 0 has
    assert np.allclose(devices.heads.tastes[5], parent.devices.heads.tastes[5], atol=1e-5)
    assert not np.allclose(devices.heads.tastes[0], parent.devices.heads.tastes[0], atol=1e-2)


@pytest.mark.parametrize("rounds", [0, 1])
def test_reproducible_noise_of_the_parent_is_said_of_the_total(tmp_path: Path, featured: Dataset, rounds: int) -> None:
    seeded, unseeded = settings(start={"head": False}), settings(seed=None, start={"head": False})
    for name, config, said in (("seed", seeded, "simulation only"), ("os", unseeded, "operating system")):
        parent = parent_of(tmp_path / name, config, featured)
        epsilon = 2.0 if rounds else None
        going = continued_config(parent.folder.config(), "toy-later", rounds=rounds, epsilon=epsilon, seed=None)
        run = ContinuedRun.after(parent, tmp_path / f"{name}-child", going, later_than(featured))
        assert said in results.execute(run, 1, lambda progress: None)["privacy"]["noise_source"]


@pytest.mark.parametrize("head", [True, False])
def test_a_stopped_continuation_ends_as_one_that_was_not(tmp_path: Path, featured: Dataset, head: bool) -> None:
    config = settings() if head else settings(start={"head": False})
    parent = parent_of(tmp_path / "parent", config, featured)
    dataset = later_than(featured, new_items=2)
    whole = results.execute(going_on(parent, tmp_path / "whole", dataset), 1, lambda progress: None)
    run = going_on(parent, tmp_path / "stopped", dataset)

    def stop(progress: object) -> None:
        raise Stop

    with pytest.raises(Stop):
        results.execute(run, 1, stop)
    again = open_run(RunFolder.open(tmp_path / "stopped"), dataset)
    assert isinstance(again, ContinuedRun)
    assert results.execute(again, 1, lambda progress: None) == whole
    model = "model.safetensors"
    assert (tmp_path / "stopped" / model).read_bytes() == (tmp_path / "whole" / model).read_bytes()


def test_item_rows_go_on_from_the_parent_s_and_new_items_get_some(tmp_path: Path, featured: Dataset) -> None:
    for name, start in (("head", {"segments": (2,)}), ("none", {"head": False})):
        parent = parent_of(tmp_path / name, settings(start=start), featured)
        run = going_on(parent, tmp_path / f"{name}-child", later_than(featured, new_items=2))
        shared = read_arrays(run.folder.path / "origin.safetensors")[0]["shared"]
        assert np.array_equal(shared[:50], parent.devices.table) and np.abs(shared[50:]).sum() > 0
        results.execute(run, 1, lambda progress: None)
        assert len(results.load_devices(run.folder)[0].table) == 52


def test_without_a_head_devices_keep_their_score_functions(tmp_path: Path, featured: Dataset) -> None:
    parent = parent_of(tmp_path / "parent", settings(start={"head": False}, training={"rounds": 1}), featured)
    lists = Interactions.from_lists([featured.interactions.of(0).tolist()], 50)
    released = Released.of(parent.folder, featured, table=parent.devices.table, rounds=0)
    devices = released.devices(lists, np.random.default_rng(0), past=parent.devices.functions.of([0]))
    assert np.array_equal(devices.functions.weights[0], parent.devices.functions.weights[0])


def test_who_arrives_after_a_continuation_starts_from_what_both_released(tmp_path: Path, featured: Dataset) -> None:
    parent = parent_of(tmp_path / "parent", settings(), featured)
    dataset = later_than(featured, new_items=2)
    run = going_on(parent, tmp_path / "child", dataset)
    results.execute(run, 1, lambda progress: None)
    table = results.load_devices(run.folder)[0].table
    released = Released.of(run.folder, dataset, table=table, rounds=2)
    assert released.rounds == 4 and released.start is not None
    lists = Interactions.from_lists([[2, 51]], 52)
    scores = released.devices(lists, np.random.default_rng(0)).scorer(0.0)(np.array([0]))
    assert scores.shape == (1, 52) and np.isfinite(scores).all()
    # and so on
    second = Parent.finished(run.folder, dataset, results.load_devices(run.folder)[0], 2)
    config = continued_config(run.folder.config(), "toy-latest", rounds=1, epsilon=1.0, seed=7)
    third = ContinuedRun.after(second, tmp_path / "third", config, replace(dataset, name="toy-latest"))
    figures = results.execute(third, 1, lambda progress: None)
    assert figures["privacy"]["central_epsilon"] > central_epsilon(run.folder.ledger.events(), delta=1e-5).epsilon


def test_a_ledger_without_the_parent_s_events_is_refused(tmp_path: Path, featured: Dataset) -> None:
    parent = parent_of(tmp_path / "parent", settings(), featured)
    run = going_on(parent, tmp_path / "child", later_than(featured))
    lines = run.folder.ledger.path.read_bytes().splitlines(keepends=True)
    run.folder.ledger.path.write_bytes(b"".join(lines[1:]))
    with pytest.raises(PrivacyError, match="lacks events of the run that this one continues"):
        results.execute(open_run(run.folder, later_than(featured)), 1, lambda progress: None)


@pytest.mark.parametrize("name", ["origin.safetensors", "devices/origin.safetensors"])
def test_another_beginning_is_refused(tmp_path: Path, featured: Dataset, name: str) -> None:
    parent = parent_of(tmp_path / "parent", settings(), featured)
    run = going_on(parent, tmp_path / "child", later_than(featured))
    path = run.folder.path / name
    arrays, metadata = read_arrays(path)
    whole = path.read_bytes()
    first = next(iter(arrays))
    path.write_bytes(save(arrays | {first: arrays[first] + np.float32(1)}, metadata))
    with pytest.raises(RunError, match=f"{path.name} was changed since the run began"):
        results.execute(open_run(run.folder, later_than(featured)), 1, lambda progress: None)
    path.unlink()
    with pytest.raises(RunError, match=f"{path.name} cannot be read"):
        results.execute(open_run(run.folder, later_than(featured)), 1, lambda progress: None)
    path.write_bytes(whole)
    results.execute(open_run(run.folder, later_than(featured)), 1, lambda progress: None)


def sent_tables(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Fills with what devices are sent in rounds, as runs are played."""
    sent: list[bytes] = []
    original = DeviceHost.begin

    def begin(self: DeviceHost, work: LocalUpdates) -> None:
        if not work.label.startswith(("popularity", "segments")):
            sent.append(work.table[:50].tobytes())
        original(self, work)

    monkeypatch.setattr(DeviceHost, "begin", begin)
    return sent


@pytest.mark.parametrize("between", [False, True])
def test_new_rounds_begin_with_a_table_that_devices_have_not_answered(
    tmp_path: Path, featured: Dataset, monkeypatch: pytest.MonkeyPatch, between: bool
) -> None:
    """Where the kept round is an earlier one, the table after it was sent in the next."""
    falling = iter(range(99, 0, -1))

    def validation(self: Track, *arguments: object) -> dict[str, dict[str, float]]:
        value = next(falling) / 100
        return {scoring: {"hr@10": value, "ndcg@10": value} for scoring in ("own", "server")}

    monkeypatch.setattr(Track, "_validate", validation)
    sent = sent_tables(monkeypatch)
    best = settings(evaluation={"published": False, "keep": "best"}, training={"rounds": 3})
    parent = parent_of(tmp_path / "parent", best, featured)
    assert parent.rounds == 1 and parent.devices.table[:50].tobytes() == sent[1] and len(set(sent)) == 3
    rounds = 3
    dataset = later_than(featured, new_items=1)
    if between:
        # devices go on with their lists first, from the kept model, and nothing is sent
        run = going_on(parent, tmp_path / "between", dataset, rounds=0, epsilon=None)
        figures = results.execute(run, 1, lambda progress: None)
        assert len(sent) == 3
        devices, _ = results.load_devices(run.folder)
        assert np.array_equal(devices.table[:50], parent.devices.table)
        parent = Parent.finished(run.folder, dataset, devices, figures["kept_round"]["clean"])
        dataset = replace(dataset, name="toy-latest")
    config = continued_config(parent.folder.config(), dataset.name, rounds=2, epsilon=1.0, seed=7)
    run = ContinuedRun.after(parent, tmp_path / "child", config, dataset)
    results.execute(run, 1, lambda progress: None)
    assert len(sent) == rounds + 2 and len(set(sent)) == len(sent)
    # both runs' releases are in the ledger
    events = [event.label for event in run.folder.ledger.events()]
    assert sum("round" in label for label in events) == rounds + 2


def test_head_alone_stands_in_a_continuation_s_figures(tmp_path: Path, featured: Dataset) -> None:
    parent = parent_of(tmp_path / "parent", settings(), featured)
    figures = results.execute(going_on(parent, tmp_path / "child", later_than(featured)), 1, lambda progress: None)
    assert set(figures["scorings"]["clean"]) == {"own", "server", "device", "head"}
    bare = parent_of(tmp_path / "bare", settings(start={"head": False}), featured)
    figures = results.execute(going_on(bare, tmp_path / "bare-child", later_than(featured)), 1, lambda progress: None)
    assert "head" not in figures["scorings"]["clean"]


def test_what_means_nothing_is_refused(tmp_path: Path, featured: Dataset) -> None:
    private, clear = settings(), settings(privacy={"privacy": False})
    for config, rounds, epsilon, message in (
        (private, 2, None, "say with --epsilon"),
        (private, 0, 1.0, "leave out --epsilon"),
        (clear, 2, 1.0, "trained without privacy"),
        (make_config({"privacy": {"unit": "interaction"}}).resolved(24), 2, 1.0, "cannot be continued"),
    ):
        with pytest.raises(ConfigError, match=message):
            continued_config(config, "toy", rounds=rounds, epsilon=epsilon, seed=None)
    with pytest.raises(ConfigError, match="would repeat its noise"):
        continued_config(private, "toy", rounds=2, epsilon=1.0, seed=5)
    parent = parent_of(tmp_path / "parent", settings(), featured)
    other = replace(later_than(featured), user_ids=("other", *featured.user_ids[1:], "new"))
    with pytest.raises(RunError, match="does not begin with the users of toy"):
        going_on(parent, tmp_path / "child", other)
    assert not (tmp_path / "child").exists()
