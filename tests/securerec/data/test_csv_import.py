import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from securerec.data import csv_import
from securerec.data.csv_import import Columns, Imported, import_csv
from securerec.errors import DataError

ALL = Columns("user", "item", rating="stars", minimum_rating=3, timestamp="when", title="title")


def run(folder: Path, content: str | bytes, columns: Columns = ALL, **options: str) -> Imported:
    path = folder / "events.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return import_csv(path, "mine", columns, **options)


def histories(imported: Imported) -> dict[str, list[str]]:
    dataset = imported.dataset
    return {
        user: [dataset.item_ids[item] for item in dataset.interactions.of(number)]
        for number, user in enumerate(dataset.user_ids)
    }


def test_rows_become_histories_oldest_first_with_titles(tmp_path: Path) -> None:
    imported = run(
        tmp_path,
        "when,user,item,stars,title,extra\n"
        '30,ann,x,5,"Xylophone, the",\n'
        "10, ann ,y,3,,1\n"
        "\n"
        "20,ann,z,4,Zither,2\n"
        "5,bob,y,2.9,Yo,3\n"
        "6,bob,x,4,Another name,3\n",
    )
    assert histories(imported) == {"ann": ["y", "z", "x"], "bob": ["x"]}
    assert imported.dataset.titles == ("Xylophone, the", "Yo", "Zither")
    assert (imported.rows, imported.duplicates, imported.below_minimum, imported.short_users) == (5, 0, 1, 1)
    assert imported.dataset.timestamps.tolist() == [10, 20, 30, 6]


def test_the_newest_of_a_repeated_pair_counts_even_when_it_is_rated_too_low(tmp_path: Path) -> None:
    imported = run(tmp_path, "user,item,stars,when,title\na,x,5,1,\na,x,1,2,\na,y,1,9,\na,y,5,9,\na,z,4,3,\n")
    assert histories(imported) == {"a": ["z", "y"]}
    assert (imported.duplicates, imported.below_minimum) == (2, 1)


rows_of_csv = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("vwxyz"), st.integers(1, 5), st.integers(0, 4)),
    min_size=1,
    max_size=40,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows_of_csv, st.booleans(), st.booleans())
def test_import_agrees_with_a_plain_dictionary(tmp_path: Path, rows: list, timed: bool, filtered: bool) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([("user", "item", "stars", "when"), *rows])
    columns = Columns("user", "item", "stars" if filtered else None, 3 if filtered else None, "when" if timed else None)
    in_order = sorted(rows, key=lambda row: row[3]) if timed else rows
    expected: dict[str, dict[str, int]] = {}
    for user, item, stars, _ in in_order:
        history = expected.setdefault(user, {})
        history.pop(item, None)
        history[item] = stars
    kept = {u: [i for i, stars in h.items() if not filtered or stars >= 3] for u, h in expected.items()}
    kept = {user: items for user, items in kept.items() if items}
    if not kept:
        with pytest.raises(DataError, match="lower --minimum-rating"):
            run(tmp_path, text.getvalue(), columns)
        return
    imported = run(tmp_path, text.getvalue(), columns)
    assert histories(imported) == kept
    assert imported.rows == len(rows) == imported.duplicates + imported.below_minimum + sum(map(len, kept.values()))
    assert imported.short_users == sum(len(items) < 3 for items in kept.values())


def test_row_order_is_the_order_without_timestamps_and_this_is_said(tmp_path: Path) -> None:
    imported = run(tmp_path, "user,item\na,x\nb,y\na,y\na,x\n", Columns("user", "item"))
    assert histories(imported) == {"a": ["y", "x"], "b": ["y"]}
    assert "row order" in imported.dataset.tie_rule and imported.dataset.timestamps is None


def test_dates_are_read_as_utc_unless_they_name_a_zone(tmp_path: Path) -> None:
    imported = run(
        tmp_path,
        "user,item,when\na,x,1970-01-02\na,y,1970-01-01T01:00:00+01:00\na,z,1970-01-01 00:00:01.5Z\n",
        Columns("user", "item", timestamp="when"),
    )
    assert histories(imported) == {"a": ["y", "z", "x"]}
    assert imported.dataset.timestamps.tolist() == [0, 1.5, 86400]


def test_other_delimiters_byte_order_marks_and_line_ends_are_read(tmp_path: Path) -> None:
    imported = run(
        tmp_path, b"\xef\xbb\xbfuser;item\r\na;x\r\na;\xc3\xa9t\xc3\xa9\r\n", Columns("user", "item"), delimiter=";"
    )
    assert histories(imported) == {"a": ["x", "été"]}


HEADER = "user,item,stars,when,title\n"
GOOD = HEADER + "a,x,5,1,T\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "events.csv is empty: the first line must name the columns"),
        ("\n\n", "events.csv is empty"),
        (HEADER, "has a header but no rows"),
        ("user,itme,stars,when,title\na,x,1,1,T\n", "header: no column 'item': did you mean 'itme'?"),
        ("user;item;stars;when;title\na;x;1;1;T\n", "is --delimiter right?|did you mean"),
        ("user,item,item,stars,when,title\n", "header: 2 columns are called 'item': rename all but one"),
        (GOOD + "a,x,5\n", "line 3: 3 fields where the header names 5: quote fields that contain ','"),
        (GOOD + "a,x,5,1,T,U\n", "line 3: 6 fields where the header names 5"),
        (GOOD + " ,x,5,1,T\n", "line 3: user is empty: fill it in or delete the row"),
        (GOOD + "\na,,5,1,T\n", "line 4: item is empty"),
        (GOOD + "a,x\x1b[2J,5,1,T\n", "line 3: item contains a control character"),
        (GOOD + f"a,{'x' * 257},5,1,T\n", "line 3: item has 257 characters, at most 256"),
        (GOOD + "a,x,good,1,T\n", "line 3: stars is 'good', not a number: write it like 3.5"),
        (GOOD + "a,x,,1,T\n", "line 3: stars is '', not a number"),
        (GOOD + "a,x,1_0,1,T\n", "line 3: stars is '1_0', not a number"),
        (GOOD + "a,x,nan,1,T\n", "line 3: stars is 'nan', not finite"),
        (GOOD + "a,x,1e999,1,T\n", "line 3: stars is '1e999', not finite"),
        (GOOD + "a,x,5,soon,T\n", "line 3: when is 'soon', neither a number nor an ISO 8601 date: write it like"),
        (GOOD + "a,x,5,inf,T\n", "line 3: when is 'inf', not finite"),
        (GOOD + "a,x,5,2020-01-01,T\n", "line 3: when is a date but numbers came before: write all alike"),
        (HEADER + "a,x,5,2020-01-01,T\na,y,5,7,T\n", "line 3: when is a number but dates came before"),
        (GOOD.encode() + b"a,caf\xe9,5,1,T\n", "line 3: byte 6 is not UTF-8: save the file as UTF-8"),
        (GOOD.encode("utf-16"), "line 1: the file is UTF-16: save it as UTF-8"),
        (GOOD + "a,x\0,5,1,T\n", "line 3: a NUL byte"),
        (GOOD + f"a,x,5,1,{'x' * 140_000}\n", "line 3: a field has more than 131072 characters"),
        (GOOD + "a,x,5,1," + "x" * (1 << 20) + "\n", "line 3: longer than 1048576 bytes"),
        (GOOD + 'a,x,5,1,"open\nb,y,5,1,T\n', "line 3: a quote opened in this row is never closed"),
        (GOOD + 'a,x,5,1,"T"U\n', "line 3: not well-formed CSV .*: double any quote inside a quoted field"),
        (GOOD + "a,x,5,1,T\rb,y,5,1,T\n", "line 3: a bare carriage return: save the file with line ends"),
        (HEADER + "a,x,2,1,T\n", "no row is rated at least 3: lower --minimum-rating"),
    ],
)
def test_each_kind_of_bad_file_is_refused_with_its_line_and_the_way_out(tmp_path: Path, content, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        run(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_a_quoted_field_over_several_lines_keeps_line_numbers_right(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 5: user is empty"):
        run(tmp_path, GOOD + 'a,y,5,1,"a title\nin two lines"\n,z,5,1,T\n')


def test_more_rows_than_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_import, "MOST_ROWS", 2)
    with pytest.raises(DataError, match="line 4: more than 2 rows"):
        run(tmp_path, "user,item\na,x\na,y\na,z\n", Columns("user", "item"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere.csv cannot be read .*: check the path"):
        import_csv(tmp_path / "nowhere.csv", "mine", ALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rating": "stars"}, "give both or neither"),
        ({"minimum_rating": 3.0}, "give both or neither"),
        ({"rating": "stars", "minimum_rating": float("nan")}, "must be a finite number"),
        ({"title": "item"}, "each column may be named once"),
    ],
)
def test_columns_that_contradict_each_other_are_refused(change: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Columns("user", "item", **change)


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n", "\0"])
def test_impossible_delimiters_are_refused(tmp_path: Path, delimiter: str) -> None:
    with pytest.raises(DataError, match="--delimiter must be one character"):
        run(tmp_path, GOOD, delimiter=delimiter)


def test_titles_lose_control_characters(tmp_path: Path) -> None:
    imported = run(tmp_path, HEADER + 'a,x,5,1,"red\x1b[31m\n alert"\n')
    assert imported.dataset.titles == ("red[31m alert",)
    assert np.array_equal(imported.dataset.years, [0])
