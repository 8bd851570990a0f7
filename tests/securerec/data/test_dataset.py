from dataclasses import replace

import numpy as np
import pytest

from securerec.data.interactions import Interactions
from securerec.errors import DataError


def test_user_index_finds_users_and_names_the_nearest_otherwise(small) -> None:
    assert [small.user_index(name) for name in small.user_ids] == [0, 1, 2]
    with pytest.raises(DataError, match="no user 'cloe' among its 3: the nearest are cleo"):
        small.user_index("cloe")
    with pytest.raises(DataError, match="identifiers look like ann"):
        small.user_index("12345")


def test_digest_tells_other_interactions_and_identifiers_apart_and_ignores_titles(small) -> None:
    moved = replace(small, interactions=Interactions.from_lists([[1, 0, 2, 3], [3, 2], [1, 0, 3]], n_items=5))
    regrouped = replace(small, interactions=Interactions.from_lists([[0, 1, 2], [3, 3, 2], [1, 0, 3]], n_items=5))
    renamed = replace(small, user_ids=("ann", "bob", "cleo2"))
    assert len({d.digest() for d in (small, moved, regrouped, renamed)}) == 4
    retitled = replace(small, titles=("x", *small.titles[1:]))
    assert retitled.digest() == small.digest()
    assert retitled.content_digest() != small.content_digest()


def test_unordered_digest_forgets_order_and_times_and_nothing_else(small) -> None:
    moved = replace(small, interactions=Interactions.from_lists([[3, 0, 2, 1], [2, 3], [0, 1, 3]], n_items=5))
    untimed = replace(moved, timestamps=None)
    assert moved.content_digest() != small.content_digest()
    assert small.unordered_digest() == moved.unordered_digest() == untimed.unordered_digest()
    others = [
        replace(small, interactions=Interactions.from_lists([[0, 1, 2, 4], [3, 2], [1, 0, 3]], n_items=5)),
        replace(small, interactions=Interactions.from_lists([[0, 1, 2], [3, 3, 2], [1, 0, 3]], n_items=5)),
        replace(small, titles=("x", *small.titles[1:])),
        replace(small, years=small.years + np.int16(1)),
        replace(small, user_attributes={"gender": ("F", "F", "F")}),
    ]
    assert len({dataset.unordered_digest() for dataset in (small, *others)}) == 6


def test_repeats_are_found_within_a_user_only(small) -> None:
    assert not small.has_repeats
    lists = [[0, 1, 2, 0], [3, 2], [1, 0, 3]]
    assert replace(small, interactions=Interactions.from_lists(lists, n_items=5)).has_repeats


@pytest.mark.parametrize(
    "change",
    [
        {"user_ids": ("ann", "bob")},
        {"user_ids": ("ann", "ann", "bob")},
        {"titles": ("one",)},
        {"years": np.zeros(5, dtype=np.int64)},
        {"genres": np.zeros((5, 3), dtype=bool)},
        {"user_attributes": {"age": ("1",)}},
        {"timestamps": np.zeros(2)},
    ],
)
def test_parts_that_do_not_fit_together_are_refused(small, change: dict) -> None:
    with pytest.raises(ValueError):
        replace(small, **change)


def test_repr_shows_sizes_and_no_identifiers(small) -> None:
    assert repr(small) == "Dataset(name='small', Interactions(n_users=3, n_items=5, n_interactions=9))"
