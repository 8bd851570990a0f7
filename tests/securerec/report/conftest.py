from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from securerec.config import make_config
from securerec.data import cache
from securerec.data.dataset import Dataset
from securerec.federation.results import execute
from securerec.federation.run import Run
from securerec.report.finished import FinishedRun, finished_run


@pytest.fixture
def films(toy: Dataset) -> Dataset:
    """The toy with genres and years that differ, stored as "toy"."""
    rng, n_items = np.random.default_rng(3), toy.interactions.n_items
    dataset = replace(
        toy, genres=rng.random((n_items, 4)) < 0.4, genre_names=("Drama", "Comedy", "War", "Noir"),
        years=rng.choice(np.array([0, 1950, 1968, 1990, 1995, 1999], np.int16), n_items),
    )  # fmt: skip
    cache.save_dataset(dataset)
    return dataset


def make_run(
    dataset: Dataset, path: Path, *, start: dict[str, object] | None = None, **training: object
) -> FinishedRun:
    """A finished run without privacy."""
    config = make_config(
        {
            "seed": 1,
            "data": {"dataset": "toy", "sampled_negatives": 15},
            "training": {"rounds": 3} | ({} if start else {"dim": 6}) | training,
            "start": start or {},
            "privacy": {"privacy": False},
            "protocol": {"protocol": "plain"},
        }
    )
    resolved = config.resolved(dataset.interactions.n_users, dataset.interactions.n_items)
    execute(Run.create(path, resolved, dataset), 1, lambda progress: None)
    return finished_run(path)


@pytest.fixture
def run_of() -> Callable[..., FinishedRun]:
    return make_run


@pytest.fixture
def with_head(films: Dataset, tmp_path: Path) -> FinishedRun:
    return make_run(films, tmp_path / "with-head", model="auto")


@pytest.fixture
def without_head(films: Dataset, tmp_path: Path) -> FinishedRun:
    return make_run(films, tmp_path / "without-head", model="pfedrec")


@pytest.fixture
def network(films: Dataset, tmp_path: Path) -> FinishedRun:
    """A score function that is not linear, whose network is shared."""
    return make_run(films, tmp_path / "network", model="fedncf", dual=False)
