import re
from collections import Counter, defaultdict
from datetime import UTC, datetime

import numpy as np
import pytest

from securerec.data.lastfm import (
    artist_names,
    distinct_pairs,
    rows_of_csv,
    rows_of_dates,
    rows_of_timestamps,
    tag_assignments,
)
from securerec.errors import DataError

# user, artist, tag, day, month, year, midnight in Madrid in ms: winter, summer, and long before 1970
WINTER, SUMMER, BEFORE = (1, 2, 2010, 1264978800000), (1, 4, 2009, 1238536800000), (1, 6, 1956, -428720400000)
ASSIGNMENTS = [
    (2, 52, 13, *WINTER), (2, 52, 15, *SUMMER), (2, 63, 13, *WINTER), (2, 7, 14, *BEFORE), (2, 7, 16, *WINTER),
    (2, 9, 1, *SUMMER), (10, 7, 13, *SUMMER), (10, 7, 14, *SUMMER), (10, 7, 15, *SUMMER), (10, 52, 15, *SUMMER),
    (10, 52, 17, *SUMMER), (3, 63, 1, *WINTER), (3, 99, 1, *WINTER), (3, 7, 1, *WINTER), (3, 9, 1, *WINTER),
]  # fmt: skip
NAMES = (
    "id\tname\turl\tpictureURL\n7\tThe Été\thttp://example.org/7\thttp://example.org/7.jpg\n52\tB  \x07 Sides\tx\t\n"
)


def text(columns: str, rows: list[tuple[int, ...]], separator: str, end: str = "\n") -> bytes:
    lines = [separator.join(columns.split()), *(separator.join(map(str, row)) for row in rows)]
    return "".join(line + end for line in lines).encode()


def as_csv(rows: list[tuple[int, ...]] = ASSIGNMENTS) -> bytes:
    return text("userID artistID tagID day month year timestamp_ms", rows, ",")


def as_timestamps(end: str = "\n") -> bytes:
    return text("userID artistID tagID timestamp", [(*row[:3], row[6]) for row in ASSIGNMENTS], "\t", end)


def as_dates(end: str = "\n") -> bytes:
    return text("userID artistID tagID day month year", [row[:6] for row in ASSIGNMENTS], "\t", end)


def artists_of(dataset) -> dict[str, list[str]]:
    own = dataset.interactions
    return {name: [dataset.item_ids[item] for item in own.of(user)] for user, name in enumerate(dataset.user_ids)}


@pytest.mark.parametrize("build", [distinct_pairs, tag_assignments])
def test_the_three_forms_give_one_and_the_same_data_set(build) -> None:
    forms = [rows_of_csv(as_csv()), rows_of_timestamps(as_timestamps("\r\n")), rows_of_dates(as_dates("\r\n"))]
    assert len({build(rows, {}).content_digest() for rows in forms}) == 1
    shuffled = as_csv([ASSIGNMENTS[k] for k in np.random.default_rng(0).permutation(len(ASSIGNMENTS))])
    assert build(rows_of_csv(shuffled), {}).content_digest() == build(forms[0], {}).content_digest()


def test_times_are_the_midnight_of_the_day_that_the_date_names() -> None:
    days = rows_of_timestamps(as_timestamps())[:, 3]
    for row, day in zip(ASSIGNMENTS, days.tolist(), strict=True):
        expected = datetime(row[5], row[4], row[3], tzinfo=UTC)
        assert day * 86400 == expected.timestamp()


def test_users_with_fewer_than_five_assignments_are_left_out_and_artists_only_they_tagged() -> None:
    for build in (distinct_pairs, tag_assignments):
        dataset = build(rows_of_csv(as_csv()), {})
        assert dataset.user_ids == ("2", "10")
        assert dataset.item_ids == ("7", "9", "52", "63")


def test_a_pair_counts_once_at_the_day_of_its_first_tag() -> None:
    dataset = distinct_pairs(rows_of_csv(as_csv()), {})
    assert not dataset.has_repeats
    assert artists_of(dataset)["2"][0] == "7" and artists_of(dataset)["2"][3] == "63"
    assert sorted(artists_of(dataset)["2"][1:3]) == ["52", "9"]
    assert [len(items) for items in artists_of(dataset).values()] == [4, 2]


def test_every_assignment_is_kept_with_the_lowest_artist_the_newest_of_a_day() -> None:
    dataset = tag_assignments(rows_of_csv(as_csv()), {})
    assert dataset.has_repeats
    assert artists_of(dataset) == {"2": ["7", "52", "9", "63", "52", "7"], "10": ["52", "52", "7", "7", "7"]}


def test_the_newest_row_is_the_one_that_a_descending_rank_by_first_appearance_puts_first() -> None:
    """The published split on a file sorted by user, artist and tag: newest time, of equal ones the first row."""
    rng = np.random.default_rng(1)
    rows = {(int(u), int(a), int(t)) for u, a, t in rng.integers(1, [6, 8, 6], size=(150, 3))}
    table = [(*row, 1, int(rng.integers(1, 5)), 2010, 0) for row in sorted(rows)]
    dataset = tag_assignments(
        rows_of_dates(text("userID artistID tagID day month year", [r[:6] for r in table], "\t")), {}
    )
    by_user = defaultdict(list)
    for row in table:
        by_user[str(row[0])].append(row)
    for user, own in by_user.items():
        newest_first = sorted(own, key=lambda row: -row[4])  # stable: equal months keep the file's order
        assert artists_of(dataset)[user][::-1] == [str(row[1]) for row in newest_first]


def test_artists_of_equal_day_are_not_ordered_by_their_number() -> None:
    """Numbers go with popularity, so order by them would make held-out items popular, or unpopular."""
    rows = [(user, artist, 1, *SUMMER) for user in range(1, 201) for artist in range(1, 8)]
    dataset = distinct_pairs(rows_of_csv(as_csv(rows)), {})
    newest = Counter(items[-1] for items in artists_of(dataset).values())
    assert min(newest[str(artist)] for artist in range(1, 8)) >= 10


def test_titles_are_the_artists_names_and_identifiers_where_there_is_none() -> None:
    names = artist_names(NAMES.encode() + b"9\tbad \xff byte\tx\t\n")
    dataset = distinct_pairs(rows_of_csv(as_csv()), names)
    assert dataset.titles == ("The Été", "bad \ufffd byte", "B Sides", "63")
    assert dataset.digest() == distinct_pairs(rows_of_csv(as_csv()), {}).digest()


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (rows_of_csv, as_csv().replace(b"tagID", b"tag"), "user_taggedartists_full.csv, line 1: the columns"),
        (rows_of_csv, as_csv().replace(b"2,52,15", b"2,52,1x5"), "user_taggedartists_full.csv, line 3: not 7 whole"),
        (rows_of_csv, as_csv().replace(b"2,52,15", b"2,-52,15"), "line 3: an identifier is negative"),
        (rows_of_csv, as_csv().split(b"\n")[0] + b"\n", "user_taggedartists_full.csv is empty"),
        (rows_of_csv, b"", "line 1: the columns"),
        (rows_of_timestamps, as_dates(), "user_taggedartists-timestamps.dat, line 1: the columns"),
        (rows_of_timestamps, as_timestamps().replace(b"\t13\t", b"\t", 1), "timestamps.dat, line 2: not 4 whole"),
        (rows_of_timestamps, as_timestamps() + b"2\t7\t14\t99999999999999999999\n", "line 17: not 4 whole"),
        (rows_of_dates, as_dates().replace(b"1\t4\t2009", b"31\t4\t2009", 1), "dat, line 3: 31.4.2009 is not a date"),
        (rows_of_dates, as_dates().replace(b"\t2009", b"\t0", 1), "line 3: 1.4.0 is not a date"),
        (artist_names, b"id\tname\n7 seven\n", "artists.dat, line 2: not an identifier"),
        (artist_names, b"id\tname\n7\tseven\n-8\teight\n", "artists.dat, line 3: not an identifier"),
    ],
)
def test_damaged_files_are_refused_by_file_and_line(read, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        read(content)


def test_a_file_without_active_users_is_refused() -> None:
    with pytest.raises(DataError, match="no user has at least 5 tag assignments"):
        distinct_pairs(rows_of_csv(as_csv(ASSIGNMENTS[:4])), {})
