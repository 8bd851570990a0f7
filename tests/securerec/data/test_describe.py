import json
from dataclasses import replace

import pytest

from securerec.data.describe import describe, tie_shares


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


def test_ties_at_the_cut_are_counted(small) -> None:
    """Ann's two newest items share a timestamp; Cleo's second and third newest do."""
    assert tie_shares(small) == {"test": 0.5, "validation": 1.0}
    assert tie_shares(replace(small, timestamps=None)) is None
