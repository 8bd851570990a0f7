from dataclasses import replace
from pathlib import Path

import pytest

from securerec.data import csv_attributes
from securerec.data.csv_attributes import Described, with_items, with_users
from securerec.data.dataset import Dataset
from securerec.errors import DataError

ITEMS = (
    "item,year,extra,title,genres\nc,2001,x,Cedar tree,tall|hard\na,1990,x,,tall\nb,,x,Birch,\n"
    "e,1975.0,x,Ébène, hard | \nz,1,x,Z,new\n"
)
USERS = "age,user,town\n31,bob,Ayr\n,ann,\n8,zoe,Bonn\n"


def items(tmp_path: Path, dataset: Dataset, content: str | bytes, **options: str) -> Described:
    path = tmp_path / "items.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return with_items(dataset, path, **options)


def users(tmp_path: Path, dataset: Dataset, content: str) -> Described:
    path = tmp_path / "users.csv"
    path.write_bytes(content.encode())
    return with_users(dataset, path)


def test_titles_years_and_genres_reach_the_items_they_name(tmp_path: Path, small: Dataset) -> None:
    bare = replace(small, titles=small.item_ids, years=small.years * 0, genres=small.genres[:, :0], genre_names=())
    found = items(tmp_path, bare, ITEMS)
    assert found.dataset.titles == ("a", "Birch", "Cedar tree", "d", "Ébène")
    assert found.dataset.years.tolist() == [1990, 0, 2001, 0, 1975]
    assert found.dataset.genre_names == ("hard", "tall")
    assert found.dataset.genres.tolist() == [[0, 1], [0, 0], [1, 1], [0, 0], [1, 0]]
    assert (found.described, found.not_described, found.not_used) == (4, 1, 1)
    assert found.dataset.digest() == small.digest()


def test_what_the_file_has_no_column_for_stays(tmp_path: Path, small: Dataset) -> None:
    found = items(tmp_path, small, "item;title\na;Ash tree\n", delimiter=";").dataset
    assert found.titles == ("Ash tree", *small.titles[1:])
    assert found.years.tolist() == small.years.tolist()


def test_users_get_every_other_column_as_an_attribute_and_empty_ones_where_not_described(
    tmp_path: Path, small: Dataset
) -> None:
    found = users(tmp_path, small, USERS)
    assert found.dataset.user_attributes == {"age": ("", "31", ""), "town": ("", "Ayr", "")}
    assert (found.described, found.not_described, found.not_used) == (2, 1, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "items.csv, header: no column 'item'"),
        ("itm,year\na,1\n", "items.csv, header: no column 'item': did you mean 'itm'"),
        ("item,note\na,1\n", "items.csv, header: none of title, year, genres there once"),
        ("item,year,year\na,1,1\n", "none of title, year, genres there once"),
        ("item,year\na,1990\na,1991\n", "items.csv, line 3: item 'a' comes in line 2 too: keep one of both"),
        ("item,year\na,1990\nb\n", "items.csv, line 3: 1 fields where the header names 2"),
        ("item,year\n,1990\n", "items.csv, line 2: item is empty"),
        ("item,year\na,in 1990\n", "items.csv, line 2: year is 'in 1990': write it like 1995"),
        ("item,year\na,1990.5\n", "items.csv, line 2: year is '1990.5'"),
        ("item,year\na,-3\n", "items.csv, line 2: year is '-3'"),
        ("item,year\na,99999\n", "items.csv, line 2: year is '99999'"),
        ("item,year\na,nan\n", "items.csv, line 2: year is 'nan'"),
        ("item,year\na,inf\n", "items.csv, line 2: year is 'inf'"),
        (f"item,genres\na,{'x' * 65}\n", "items.csv, line 2: a genre has more than 64 characters"),
        (f"item,genres\na,{'|'.join(map(str, range(257)))}\n", "items.csv: 257 different genres, at most 256"),
        ("item,year\nq,1990\n", "items.csv describes no item of the data set, such as 'a': are identifiers the same?"),
        (b"item,title\na,caf\xe9\n", "items.csv, line 2: byte 6 is not UTF-8"),
    ],
)
def test_each_kind_of_bad_item_file_is_refused_with_its_line(
    tmp_path: Path, small: Dataset, content: str | bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        items(tmp_path, small, content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user\nann\n", "users.csv, header: beside user it must name 1 to 32 attributes, each once"),
        ("user,age,age\nann,1,2\n", "1 to 32 attributes, each once"),
        ("user,\nann,2\n", "1 to 32 attributes, each once"),
        ("user," + ",".join(f"a{k}" for k in range(33)) + "\n", "1 to 32 attributes"),
        ("user,age\nann,3\nann,4\n", "users.csv, line 3: user 'ann' comes in line 2 too"),
        ("user,age\nzoe,3\n", "users.csv describes no user of the data set, such as 'ann'"),
    ],
)
def test_each_kind_of_bad_user_file_is_refused(tmp_path: Path, small: Dataset, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        users(tmp_path, small, content)


def test_files_that_are_not_there_or_too_long_are_refused(
    tmp_path: Path, small: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="nowhere.csv cannot be read"):
        with_items(small, tmp_path / "nowhere.csv")
    monkeypatch.setattr(csv_attributes, "MOST_ROWS", 2)
    with pytest.raises(DataError, match="items.csv, line 4: more than 2 rows"):
        items(tmp_path, small, ITEMS)
