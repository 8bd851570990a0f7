"""Tastes that drift: a run is trained on what was known at one time, and asked about what came after.

Each user's list is cut, by date where there are timestamps ("by date") and in any case by its length ("by list").
A run is trained on what lies before the first cut; each later window's items are ranked against 99 items that their
user never touched. What stands beside each other is what devices know by then: *frozen*: the list at the first cut;
*going on*: the list at the window's start, with what the first run released and nothing uploaded since; *new rounds*: a
continuation of the run at the window's start, its releases and its items' rows the first run's, its rounds new; *new
run*: all of it from the beginning. In the first window the first two are the same.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from securerec.config import Config
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.evaluation.baselines import popularity_scorer
from securerec.evaluation.protocols import Scorer
from securerec.experiments.arrivals.playing import Table, Trained, against, figures_of_pairs, part_of, play, train
from securerec.federation.continuing import ContinuedRun, Parent, continued_config

FIRST, WINDOWS = 0.6, 3
"""Share of interactions before the first cut; windows of equal size after it."""
LEAST = 5
"""Users with fewer interactions before the first cut are left out, and so are those with none after it."""
NEGATIVES = 99


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """ends: (1 + WINDOWS, n_users) how much of each user's list lies before each cut."""

    whole: Interactions
    ends: NDArray[np.int64]

    def before(self, window: int) -> Interactions:
        """Lists up to the start of a window, from 0."""
        lists = [self.whole.of(user)[: self.ends[window, user]].tolist() for user in range(self.whole.n_users)]
        return Interactions.from_lists(lists, self.whole.n_items)

    def during(self, window: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Users and items of a window's interactions."""
        found = [
            (user, item)
            for user in range(self.whole.n_users)
            for item in self.whole.of(user)[self.ends[window, user] : self.ends[window + 1, user]].tolist()
        ]
        pairs = np.array(found, np.int64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]


def cuts(dataset: Dataset) -> dict[str, tuple[NDArray[np.int64], Cut]]:
    """By the name of the way to cut: users that have items on both sides of the first cut, and their lists."""
    interactions = dataset.interactions
    shares = np.linspace(FIRST, 1.0, WINDOWS + 1)
    ends = {"by list": np.floor(shares[:, None] * interactions.counts()).astype(np.int64)}
    if dataset.timestamps is not None:
        dates, users = np.quantile(dataset.timestamps, shares), interactions.users()
        dates[-1] = np.inf
        ends["by date"] = np.stack(
            [np.bincount(users[dataset.timestamps <= date], minlength=interactions.n_users) for date in dates]
        )
    found = {}
    for name, each in ends.items():
        kept = np.flatnonzero((each[0] >= LEAST) & (each[-1] > each[0]))
        if len(kept):
            lists = [interactions.of(int(user)).tolist() for user in kept]
            found[name] = kept, Cut(Interactions.from_lists(lists, interactions.n_items), each[:, kept])
    return found


def measure_drift(
    config: Config, dataset: Dataset, seed: int, folder: Path, *, epsilon: float | None
) -> dict[str, dict[str, Table]]:
    """Figures by way to cut, by window and by what devices know. epsilon: what a continuation's rounds may spend."""
    found: dict[str, dict[str, Table]] = {}
    for name, (users, cut) in cuts(dataset).items():
        rng = np.random.default_rng([seed, 4])
        touched = [np.unique(cut.whole.of(user)) for user in range(cut.whole.n_users)]
        every = np.arange(cut.whole.n_items)
        place = folder / name.replace(" ", "-")
        first = train(config, part_of(dataset, cut.before(0), users), place / "first")
        found[name] = {}
        for window in range(WINDOWS):
            lists = cut.before(window)
            scorers = {"popularity": popularity_scorer(lists), "frozen": _fitted(first, cut.before(0), seed)}
            if window:
                later = part_of(dataset, lists, users)
                scorers |= {
                    "going on": _fitted(first, lists, seed),
                    "new rounds": _fitted(_continued(first, later, epsilon, place / f"rounds{window}"), lists, seed),
                    "new run": _fitted(train(config, later, place / f"run{window}"), lists, seed),
                }
            who, what = cut.during(window)
            candidates = against(who, what, partial(_untouched, every, touched), NEGATIVES, rng)
            found[name][f"window {window + 1}"] = {
                label: figures_of_pairs(scorer, who, candidates) for label, scorer in scorers.items()
            }
    return found


def _fitted(trained: Trained, lists: Interactions, seed: int) -> Scorer:
    """Devices of a run with these lists, of whatever time."""
    rng = np.random.default_rng([seed, 5])
    return trained.released.devices(lists, rng, past=trained.devices.functions).scorer(0.0)


def _continued(first: Trained, later: Dataset, epsilon: float | None, path: Path) -> Trained:
    """The run goes on with as many rounds as it had."""
    rounds = max(1, first.released.rounds)
    before = first.folder.config()
    config = continued_config(before, later.name, rounds=rounds, epsilon=epsilon, seed=(before.seed or 0) + 1)
    parent = Parent(first.folder, first.dataset, first.devices, first.released.rounds, first.last)
    return play(ContinuedRun.after(parent, path, config, later))


def _untouched(pool: NDArray[np.int64], touched: list[NDArray[np.int32]], user: int) -> NDArray[np.int64]:
    return np.setdiff1d(pool, touched[user])
