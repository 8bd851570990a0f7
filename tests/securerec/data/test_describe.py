import json
from dataclasses import replace

import pytest

from securerec.data.describe import describe, tie_shares
from securerec.data.interactions import Interactions


def test_figures_are_those_counted_by_hand(small) -> None:
    figures = describe(small, most=2)
    assert (figures["users"], figures["items"], figures["interactions"]) == (3, 5, 9)
    assert figures["density"] == pytest.approx(9 / 15)
    assert (figures["per_user"]["0"], figures["per_user"]["0.5"], figures["per_user"]["1"]) == (2, 3, 4)
    assert figures["users_without_held_out_item"] == 1
    assert figures["genres"] == {"tall": 2, "hard": 3}
    assert figures["popular"] == [
        {"item": "d", "title": "Dogwood", "year": 1990, "users": 3},
        {"item": "a", "title": "Ash", "year": 1990, "users": 2},
    ]
    assert figures["user_attributes"]["gender"] == {"distinct": 2, "common": {"F": 2, "M": 1}}
    json.dumps(figures, allow_nan=False)


def test_repeats_tell_how_many_held_out_pairs_are_in_training(small) -> None:
    """Ann's newest item is her oldest too; Cleo's second newest is, which is not what her test is on."""
    lists = [[0, 1, 2, 0], [3, 3], [1, 1, 3]]
    again = replace(small, interactions=Interactions.from_lists(lists, n_items=5))
    found = describe(again)["repeats"]
    assert (found["distinct_pairs"], found["with_held_out_item"], found["test_in_training"]) == (6, 2, 1)
    assert "the held-out pair of 1 of 2 users is in training too" in found["warning"]
    assert "only for comparison with others under the protocol published" in found["warning"]
    assert describe(small)["repeats"] is None


def test_ties_at_the_cut_are_counted(small) -> None:
    """Ann's two newest items share a timestamp; Cleo's second and third newest do."""
    assert tie_shares(small) == {"test": 0.5, "validation": 1.0}
    assert tie_shares(replace(small, timestamps=None)) is None
