from pathlib import Path

import hypothesis
import numpy as np
import pytest

from securerec.data import cache
from securerec.data.dataset import BY_ROW, Dataset
from securerec.data.interactions import Interactions

# A loaded machine is no failure: nothing here is a test of time.
hypothesis.settings.register_profile(
    "securerec", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("securerec")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a data folder of its own; none reaches the user's."""
    monkeypatch.setenv("SECUREREC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def make_toy(n_users: int = 24, n_items: int = 50, seed: int = 0) -> Dataset:
    """Two tastes: half of the users mostly take items of the first half of the catalogue, the others of the second."""
    rng = np.random.default_rng(seed)
    lists = []
    for user in range(n_users):
        preference = np.where((np.arange(n_items) < n_items // 2) == (user % 2 == 0), 8.0, 1.0)
        lists.append(rng.choice(n_items, int(rng.integers(6, 14)), replace=False, p=preference / preference.sum()))
    return Dataset(
        name="toy",
        interactions=Interactions.from_lists(lists, n_items),
        user_ids=tuple(f"u{number}" for number in range(n_users)),
        item_ids=tuple(f"i{number}" for number in range(n_items)),
        titles=tuple(f"Film [{number}]" for number in range(n_items)),
        years=np.full(n_items, 1990, np.int16),
        genres=np.ones((n_items, 1), np.bool_),
        genre_names=("Drama",),
        user_attributes={"age": tuple("30" for _ in range(n_users))},
        licence="made up",
        source="made up",
        tie_rule=BY_ROW,
    )


@pytest.fixture
def toy(home: Path) -> Dataset:
    """A small data set, stored such that commands find it as "toy"."""
    dataset = make_toy()
    cache.save_dataset(dataset)
    return dataset


@pytest.fixture
def other_toy() -> Dataset:
    """A data set of the same name and shape as "toy", with other interactions."""
    return make_toy(seed=1)
