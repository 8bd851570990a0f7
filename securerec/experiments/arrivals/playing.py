"""Runs that are trained for a measurement and thrown away, and ranks of many held-out items a user."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from securerec.config import Config
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.evaluation import ranking
from securerec.evaluation.intervals import mean_interval
from securerec.evaluation.protocols import Scorer
from securerec.evaluation.scoring import TrainedDevices
from securerec.federation import results
from securerec.federation.arriving import Released
from securerec.federation.folder import RunFolder
from securerec.federation.pool import DevicePool
from securerec.federation.run import Run

CUTOFF = 10
Figures = dict[str, list[float]]
"""By metric ("hr@10", "ndcg@10"): mean, and the bounds of its 95% interval over users."""
Table = dict[str, Figures]
"""By row."""


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A run's folder and data set, its devices with what they trained on, what it released, and its shared matrix after
    the last round, with their number.
    """

    folder: RunFolder
    dataset: Dataset
    devices: TrainedDevices
    train: Interactions
    released: Released
    last: tuple[NDArray[np.float32], int]


def train(config: Config, dataset: Dataset, path: Path) -> Trained:
    """Play a run of this data set in a new folder."""
    resolved = config.resolved(dataset.interactions.n_users, dataset.interactions.n_items)
    return play(Run.create(path, resolved, dataset))


def play(run: Run) -> Trained:
    """Play a run to its end, without figures of its own."""
    with DevicePool(1) as pool:
        tracks = run.tracks(pool)
        state = run.play(tracks, lambda progress: None).states["clean"]
        devices = results.trained_devices(tracks["clean"], state)
    released = Released.of(run.folder, run.dataset, table=devices.table, rounds=state.kept.round_number)
    return Trained(run.folder, run.dataset, devices, run.split.train, released, (state.table, state.round_number))


def part_of(dataset: Dataset, interactions: Interactions, users: NDArray[np.int64]) -> Dataset:
    """A data set of the same items with other interactions, of these users."""
    return replace(
        dataset, interactions=interactions, user_ids=tuple(dataset.user_ids[user] for user in users),
        user_attributes={}, timestamps=None,
    )  # fmt: skip


def figures(values: Mapping[str, NDArray[np.float64]]) -> Figures:
    """From each user's metrics (n_users,)."""
    return {name: list(mean_interval(each)) for name, each in values.items()}


def figures_of_pairs(score: Scorer, users: NDArray[np.int64], candidates: NDArray[np.int32]) -> Figures:
    """Of many held-out items: each user's metrics are the means over its own, and the interval is over users.

    users (n_pairs,), sorted; candidates (n_pairs, 1 + negatives): the held-out item in column 0; -1: absent.
    """
    better, tied = np.empty(len(users), np.int64), np.empty(len(users), np.int64)
    distinct, starts = np.unique(users, return_index=True)
    for user, first, last in zip(distinct, starts, np.append(starts[1:], len(users)), strict=True):
        scores = score(np.array([user]))[0]
        wanted = candidates[first:last]
        better[first:last], tied[first:last] = ranking.better_and_tied(scores[np.maximum(wanted, 0)], wanted >= 0)
    metrics = {
        f"hr@{CUTOFF}": ranking.hit_rate_per_user(better, tied, CUTOFF),
        f"ndcg@{CUTOFF}": ranking.ndcg_per_user(better, tied, CUTOFF),
    }
    place, counts = np.searchsorted(distinct, users), np.bincount(np.searchsorted(distinct, users))
    return figures({name: np.bincount(place, each) / counts for name, each in metrics.items()})


def against(
    users: NDArray[np.int64], items: NDArray[np.int64], pool_of: Callable[[int], NDArray[np.int64]], most: int,
    rng: np.random.Generator,
) -> NDArray[np.int32]:  # fmt: skip
    """Candidates (n_pairs, 1 + most) of held-out pairs: the item, and up to `most` of its user's pool, drawn without
    replacement, -1 beyond.
    """
    drawn = np.full((len(users), 1 + most), -1, np.int32)
    drawn[:, 0] = items
    pool, last = np.zeros(0, np.int64), -1
    for row, user in enumerate(users):
        if user != last:
            pool, last = pool_of(int(user)), int(user)
        some = rng.permutation(len(pool))[:most] if len(pool) < 4 * most else rng.choice(len(pool), most, replace=False)
        drawn[row, 1 : 1 + len(some)] = pool[some]
    return drawn
