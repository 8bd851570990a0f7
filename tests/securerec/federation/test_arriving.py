"""Devices that arrive after a run: what they compute is what a device of the run would have."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from securerec.config import Config, make_config
from securerec.data.arrival_files import with_new_items
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.errors import RunError
from securerec.evaluation.scoring import TrainedDevices
from securerec.federation import results
from securerec.federation.arriving import Released
from securerec.federation.pool import DevicePool
from securerec.federation.run import Run


@pytest.fixture
def featured(toy: Dataset) -> Dataset:
    """The toy with a genre for each half of its catalogue, and some years."""
    genres = np.stack([np.arange(50) < 25, np.arange(50) >= 25], axis=1)
    years = (1980 + np.arange(50) % 20).astype(np.int16)
    return replace(toy, genres=genres, genre_names=("Drama", "Comedy"), years=years)


def settings(**sections: dict[str, Any]) -> Config:
    values: dict[str, Any] = {
        "seed": 5, "data": {"dataset": "toy", "sampled_negatives": 15}, "training": {"rounds": 2},
        "start": {"segments": (1, 2)}, "protocol": {"protocol": "plain"}, "evaluation": {"published": False},
    }  # fmt: skip
    return make_config(values | sections).resolved(24)


def played(path: Path, config: Config, dataset: Dataset) -> tuple[Run, TrainedDevices, TrainedDevices, Released]:
    """A run, its devices before round 1 and after the last, and what it released."""
    run = Run.create(path, config, dataset)
    with DevicePool(1) as pool:
        tracks = run.tracks(pool)
        before = tracks["clean"].start()
        state = run.play(tracks, lambda progress: None).states["clean"]
        first = results.trained_devices(tracks["clean"], replace(state, kept=before.kept))
        last = results.trained_devices(tracks["clean"], state)
    released = Released.of(run.folder, dataset, table=last.table, rounds=state.kept.round_number)
    return run, first, last, released


SECTIONS: list[dict[str, Any]] = [
    {},
    {"start": {"segments": ()}},
    {"privacy": {"privacy": False}},
    {"start": {"head": False}},
    {"training": {"rounds": 2, "model": "fedncf"}, "start": {}, "privacy": {"privacy": False}},
    {"training": {"rounds": 2, "model": "fedncf", "dual": False}, "start": {}, "privacy": {"privacy": False}},
]


@pytest.mark.parametrize("sections", SECTIONS)
def test_a_newcomer_with_a_user_s_list_has_what_that_user_had_before_round_1(
    tmp_path: Path, featured: Dataset, sections: dict[str, Any]
) -> None:
    run, first, _, released = played(tmp_path / "run", settings(**sections), featured)
    for user in (3, 10):
        alone = Interactions.from_lists([run.split.train.of(user).tolist()], 50)
        at_the_start = replace(released, table=first.table, rounds=0)
        found = at_the_start.devices(alone, np.random.default_rng(0)).scorer(0.0)(np.array([0]))
        np.testing.assert_allclose(found, first.scorer(0.0)(np.array([user])), atol=2e-5)


def test_a_newcomer_learns_by_itself_where_there_is_no_head_and_moves_no_row(tmp_path: Path, featured: Dataset) -> None:
    config = settings(start={"head": False}, privacy={"privacy": False}, training={"rounds": 20})
    run, _, last, released = played(tmp_path / "run", config, featured)
    # somebody of the first taste: its own items rank above the mean of the others
    items = [0, 3, 8, 14, 20]
    table = released.table.copy()
    devices = released.devices(Interactions.from_lists([items], 50), np.random.default_rng(1))
    scores = devices.scorer(0.0)(np.array([0]))[0]
    assert scores[items].mean() > np.delete(scores, items).mean() + 0.5
    assert np.array_equal(devices.table, table) and np.array_equal(devices.table, last.table)


def test_a_list_of_one_item_or_none_is_enough(tmp_path: Path, featured: Dataset) -> None:
    _, _, _, released = played(tmp_path / "run", settings(), featured)
    lists = Interactions.from_lists([[], [7]], 50)
    nobody, one = released.devices(lists, np.random.default_rng(0)).scorer(0.0)(np.array([0, 1]))
    assert np.isfinite(nobody).all() and np.isfinite(one).all() and not np.allclose(nobody, one)


def test_a_lost_sum_is_named(tmp_path: Path, featured: Dataset) -> None:
    run, _, last, _ = played(tmp_path / "run", settings(), featured)
    (run.folder.path / "start.safetensors").unlink()
    with pytest.raises(RunError, match="lacks the sum popularity"):
        Released.of(run.folder, featured, table=last.table, rounds=2)


def test_a_new_item_is_scored_by_its_genres_and_the_others_as_before(tmp_path: Path, featured: Dataset) -> None:
    _, _, last, released = played(tmp_path / "run", settings(privacy={"privacy": False}), featured)
    file = tmp_path / "new.csv"
    file.write_text("item,year,genres\nfirst,1990,Drama\nsecond,1990,Comedy\n")
    wider = with_new_items(featured, file)
    before = released.with_new_items(wider).before_all_items(last)
    users = np.arange(24)
    scores = before.scorer(0.0)(users)
    # scores reach 50, and float32 sums over wider matrices may round otherwise
    np.testing.assert_allclose(scores[:, :50], last.scorer(0.0)(users), rtol=0, atol=1e-4)
    # even users like the first half of the catalogue, odd ones the second
    liking = scores[:, 50] - scores[:, 51]
    assert liking[::2].mean() > liking[1::2].mean() + 0.3


def test_a_run_without_a_head_has_no_score_for_a_new_item(tmp_path: Path, featured: Dataset) -> None:
    _, _, _, released = played(tmp_path / "run", settings(start={"head": False}), featured)
    file = tmp_path / "new.csv"
    file.write_text("item\nn1\n")
    with pytest.raises(RunError, match="without a head an item is nothing but its row"):
        released.with_new_items(with_new_items(featured, file))
