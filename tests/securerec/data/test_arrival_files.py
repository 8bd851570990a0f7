"""Files that people bring to a run: read strictly, with one sentence for each thing that is wrong."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from securerec.data.arrival_files import read_history, with_new_items
from securerec.data.dataset import BY_TIMESTAMP, Dataset
from securerec.data.grown import grown
from securerec.errors import DataError


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text(text, encoding="utf-8")
    return path


def item_of(text: str) -> int:
    if not text.startswith("i"):
        raise DataError(f"there is no {text}")
    return int(text[1:])


def test_a_history_is_in_order_of_time_and_counts_an_item_where_it_is_newest(tmp_path: Path) -> None:
    assert read_history(written(tmp_path, "item\ni3\ni1\ni3\ni2\n"), item_of) == [1, 3, 2]
    timed = "timestamp,item\n30,i3\n10,i1\n10,i4\n20,i2\n"
    assert read_history(written(tmp_path, timed), item_of) == [1, 4, 2, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("item\n", "at least one item"),
        ("thing\ni1\n", "no column 'item'"),
        ("item,user\ni1,u1\n", "column 'user' is not known here"),
        ("item,item\ni1,i1\n", "2 columns are called 'item'"),
        ("item\ni1\nx\n", "line 3: there is no x"),
        ("item\ni1,2\n", "line 2: 2 fields"),
        ("item,timestamp\ni1,soon\n", "neither a number nor an ISO 8601 date"),
    ],
)
def test_bad_histories_are_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_history(written(tmp_path, text), item_of)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_history(tmp_path / "nothing.csv", item_of)


def test_new_items_stand_after_the_others_with_what_is_known_of_them(tmp_path: Path, toy: Dataset) -> None:
    wider = with_new_items(toy, written(tmp_path, "item,title,year,genres\nn1,A film,2001,Drama\nn2,,,\n"))
    assert wider.item_ids[-2:] == ("n1", "n2") and wider.titles[-2:] == ("A film", "n2")
    assert wider.years[-2:].tolist() == [2001, 0] and wider.genres[-2:, 0].tolist() == [True, False]
    assert np.array_equal(wider.interactions.items, toy.interactions.items)
    assert wider.interactions.n_items == toy.interactions.n_items + 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item\ni3\n", "has an item 'i3' already"),
        ("item\nn1\nn1\n", "line 3: toy has an item 'n1' already"),
        ("item,year\nn1,soon\n", "line 2: year is 'soon'"),
        ("item,year\nn1,12345\n", "line 2: year is '12345'"),
        ("item,genres\nn1,Dramma\n", "no genre 'Dramma'; it has Drama"),
        ("item\n", "at least one item"),
    ],
)
def test_bad_new_items_are_refused_by_line(tmp_path: Path, toy: Dataset, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        with_new_items(toy, written(tmp_path, text))


def test_what_came_later_follows_what_was_there(tmp_path: Path, toy: Dataset) -> None:
    known = toy.interactions.of(2)
    fresh = np.setdiff1d(np.arange(50), known)[:2]
    rows = f"user,item,timestamp\nu2,i{fresh[0]},20\nu2,i{fresh[1]},10\nu2,i{known[0]},30\nnew,i7,5\n"
    later, left_out = grown(toy, written(tmp_path, rows))
    assert left_out == 1 and later.user_ids == (*toy.user_ids, "new") and later.name.startswith("toy-")
    assert later.interactions.of(2).tolist() == [*known, fresh[1], fresh[0]]
    assert later.interactions.of(24).tolist() == [7]
    for user in (0, 1, 3):
        assert np.array_equal(later.interactions.of(user), toy.interactions.of(user))
    assert later.user_attributes["age"][-1] == ""


def test_with_timestamps_of_both_lists_are_in_their_order(tmp_path: Path, toy: Dataset) -> None:
    times = np.concatenate([np.arange(count, dtype=np.float64) * 10 for count in toy.interactions.counts()])
    timed = replace(toy, timestamps=times, tie_rule=BY_TIMESTAMP)
    known = timed.interactions.of(0).tolist()
    fresh = int(np.setdiff1d(np.arange(50), known)[0])
    later, _ = grown(timed, written(tmp_path, f"user,item,timestamp\nu0,i{fresh},15\n"))
    assert later.interactions.of(0).tolist() == [*known[:2], fresh, *known[2:]]
    assert later.timestamps is not None and later.timestamps[:4].tolist() == [0, 10, 15, 20]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,item\nu1,n9\n", "no item 'n9': describe it in --new-items"),
        ("user\nu1\n", "no column 'item'"),
        ("user,item\n", "nothing to go on with"),
        ("user,item\n,i1\n", "line 2: user is empty"),
    ],
)
def test_bad_interactions_are_refused(tmp_path: Path, toy: Dataset, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        grown(toy, written(tmp_path, text))
