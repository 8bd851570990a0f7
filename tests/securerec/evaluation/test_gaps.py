from dataclasses import replace

import numpy as np
import pytest

from securerec.data.dataset import BY_TIMESTAMP, Dataset
from securerec.data.interactions import Interactions
from securerec.data.splits import leave_one_out
from securerec.evaluation.gaps import GAPS, gaps_before_test, ranks_by_gap
from securerec.evaluation.protocols import Ranks, full_ranks

DAY = 86_400.0


@pytest.fixture
def dataset() -> Dataset:
    """One user for each edge of the groups, and one with too few interactions."""
    times = [
        [0, 50, 60, 60, 60],  # newest training item in the test item's second
        [0, 10, 11, 11.5],  # newest training item 1.5 s before
        [5, 6, 5 + DAY],  # a day to the second
        [5, 6, 6 + DAY],  # a second more
        [5, 5 + 2 * DAY],  # too few to hold one out
        [7, 7, 7],
    ]
    lists = [list(range(len(row))) for row in times]
    interactions = Interactions.from_lists(lists, 6)
    return Dataset(
        name="gaps",
        interactions=interactions,
        user_ids=tuple("abcdef"),
        item_ids=tuple("uvwxyz"),
        titles=tuple("uvwxyz"),
        years=np.zeros(6, np.int16),
        genres=np.zeros((6, 0), np.bool_),
        genre_names=(),
        user_attributes={},
        licence="free",
        source="written for a test",
        tie_rule=BY_TIMESTAMP,
        timestamps=np.array([time for row in times for time in row], np.float64),
    )


def test_the_gap_runs_from_the_newest_training_item_to_the_test_item(dataset) -> None:
    gaps = gaps_before_test(dataset)
    assert np.allclose(gaps, [0, 1.5, DAY, DAY + 1, np.nan, 0], equal_nan=True)
    split = leave_one_out(dataset.interactions)
    for user in np.flatnonzero(split.test >= 0):
        start, stop = dataset.interactions.offsets[user : user + 2]
        when = dict(zip(dataset.interactions.of(user), dataset.timestamps[start:stop], strict=True))
        assert gaps[user] == when[split.test[user]] - when[split.train.of(user)[-1]]


def test_groups_part_the_users_at_a_second_and_at_a_day(dataset) -> None:
    split = leave_one_out(dataset.interactions)
    scores = np.random.default_rng(0).random((6, 6), np.float32)
    ranks = full_ranks(lambda users: scores[users], split)
    groups = ranks_by_gap(ranks, dataset)
    assert {name: group.users.tolist() for name, group in groups.items()} == {
        "same second": [0, 5],
        "up to a day": [1, 2],
        "over a day": [3],
    }
    assert list(groups) == list(GAPS)
    hits = ranks.per_user([1])["hr@1"]
    for group in groups.values():
        at = np.searchsorted(ranks.users, group.users)
        assert np.array_equal(group.per_user([1])["hr@1"], hits[at])
    total = sum(len(group.users) * group.metrics([1])["hr@1"] for group in groups.values())
    assert total == pytest.approx(hits.sum())


def test_a_group_without_users_has_no_row(dataset) -> None:
    none = np.zeros(1, np.int64)
    assert list(ranks_by_gap(Ranks(np.array([3]), none, none), dataset)) == ["over a day"]


def test_other_units_of_time_part_alike(dataset) -> None:
    milliseconds = replace(dataset, timestamps=dataset.timestamps * 1000)
    ranks = full_ranks(lambda users: np.zeros((len(users), 6), np.float32), leave_one_out(dataset.interactions))
    one, other = ranks_by_gap(ranks, dataset), ranks_by_gap(ranks, milliseconds, day=DAY * 1000)
    assert {name: group.users.tolist() for name, group in one.items()} == {
        name: group.users.tolist() for name, group in other.items()
    }
    with pytest.raises(ValueError, match="a day must be positive"):
        ranks_by_gap(ranks, dataset, day=0)


def test_without_timestamps_there_are_no_groups(dataset) -> None:
    bare = replace(dataset, timestamps=None)
    ranks = full_ranks(lambda users: np.zeros((len(users), 6), np.float32), leave_one_out(dataset.interactions))
    assert gaps_before_test(bare) is None and ranks_by_gap(ranks, bare) is None


@pytest.mark.parametrize("user", [4, 6])
def test_users_without_a_test_item_here_are_refused(dataset, user) -> None:
    with pytest.raises(ValueError, match="no test item"):
        ranks_by_gap(Ranks(np.array([user]), np.zeros(1, np.int64), np.zeros(1, np.int64)), dataset)
