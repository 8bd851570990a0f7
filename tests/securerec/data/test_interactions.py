from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securerec.data.interactions import Interactions, chronological

lists_of_items = st.lists(st.lists(st.integers(0, 6), max_size=8), max_size=6)


@settings(deadline=None)
@given(lists_of_items)
def test_arrays_say_what_the_lists_said(lists: list[list[int]]) -> None:
    interactions = Interactions.from_lists(lists, n_items=7)
    assert [interactions.of(user).tolist() for user in range(interactions.n_users)] == lists
    assert interactions.counts().tolist() == [len(items) for items in lists]
    distinct = {user * 7 + item for user, items in enumerate(lists) for item in items}
    assert interactions.pairs().tolist() == sorted(distinct)
    users = Counter(item for items in lists for item in set(items))
    assert interactions.popularity().tolist() == [users[item] for item in range(7)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 3)), max_size=30), st.booleans())
def test_order_is_by_time_and_ties_keep_row_order(rows: list[tuple[int, int, int]], timed: bool) -> None:
    users, items, times = (np.array([row[k] for row in rows], dtype=np.int64) for k in range(3))
    order = chronological(users, times.astype(float) if timed else None)
    interactions = Interactions.from_sorted(users[order], items[order], n_users=4, n_items=5)
    for user in range(4):
        own = [row for row in rows if row[0] == user]
        expected = sorted(own, key=lambda row: row[2]) if timed else own
        assert interactions.of(user).tolist() == [row[1] for row in expected]


def test_of_is_a_view_and_refuses_users_that_are_not_there() -> None:
    interactions = Interactions.from_lists([[0, 1], [2]], n_items=3)
    assert interactions.of(1).base is interactions.items
    for user in (-1, 2):
        with pytest.raises(IndexError):
            interactions.of(user)


@pytest.mark.parametrize(
    ("offsets", "items"),
    [([0, 3], [0, 1]), ([1, 2], [0, 1]), ([0, 2, 1, 2], [0, 1]), ([0, 2], [0, 3]), ([0, 2], [-1, 0]), ([], [])],
)
def test_arrays_that_disagree_are_refused(offsets: list[int], items: list[int]) -> None:
    with pytest.raises(ValueError, match="must"):
        Interactions(np.array(offsets, dtype=np.int64), np.array(items, dtype=np.int32), 3)


def test_wrong_types_are_refused() -> None:
    with pytest.raises(ValueError, match="int32"):
        Interactions(np.array([0, 1]), np.array([0]), 3)
