"""Last.fm of HetRec 2011: which user tagged which artist, from any of the three forms it is passed on in.

HetRec's `user_taggedartists-timestamps.dat` (user, artist, tag, milliseconds since 1970) and `user_taggedartists.dat`
(user, artist, tag, day, month, year) are separated by tabs; `user_taggedartists_full.csv` holds the columns of both.
All three start with a header. The times are midnights in Madrid, 98% of them the first of a month, and become the UTC
midnight of the same day, so that all forms give the same data.

A user tags an artist with several tags, so the same pair recurs. `distinct_pairs` keeps one interaction a pair, at the
time of the *first* tag: a recommendation is for an artist one has not tagged yet, so what is held out was new at its
time, and all of the training items were known by then. `tag_assignments` keeps every repeat, which only the published
protocol's figures need: there the held-out pair of half the users is in training too.

Artists are numbered roughly by popularity, and nearly half of all users have equal times at the cut, so ordering equal
times by artist would decide how popular the held-out items are. `distinct_pairs` orders them by a digest instead.
"""

import hashlib
from collections.abc import Mapping
from datetime import date

import numpy as np
from numpy.typing import NDArray

from securerec.data.dataset import BY_TIMESTAMP_THEN_IDENTIFIER, Dataset
from securerec.data.interactions import Interactions
from securerec.data.text_rows import AGAIN, clean_title, whole_numbers
from securerec.errors import DataError

PAIRS, TAGS = "lastfm-2k", "lastfm-2k-tags"
LICENCE = "Last.fm (HetRec 2011): non-commercial use only"
SOURCE = "Last.fm, HetRec 2011, Universidad Autonoma de Madrid and Last.fm"
BY_FIRST_TAG = "by the day of a pair's first tag; equal days in the order of a digest of user and artist"
LEAST_ROWS = 5
"""Users with fewer tag assignments are left out, as in the published figures."""

_DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1).toordinal()


def rows_of_timestamps(content: bytes) -> NDArray[np.int64]:
    """Rows of user, artist, tag, days since 1970, `(n_rows, 4) int64`, from `user_taggedartists-timestamps.dat`.

    Raises DataError that names file and line.
    """
    rows = _body("user_taggedartists-timestamps.dat", content, b"\t", b"userID artistID tagID timestamp")
    return _with_days(rows, _days(rows[:, 3]))


def rows_of_dates(content: bytes) -> NDArray[np.int64]:
    """The same rows from `user_taggedartists.dat`."""
    file = "user_taggedartists.dat"
    rows = _body(file, content, b"\t", b"userID artistID tagID day month year")
    dates, which = np.unique(rows[:, 3:], axis=0, return_inverse=True)
    days = np.empty(len(dates), dtype=np.int64)
    for number, (day, month, year) in enumerate(dates.tolist()):
        try:
            days[number] = date(year, month, day).toordinal() - _EPOCH
        except (ValueError, OverflowError):
            line = 2 + int(np.flatnonzero(which.ravel() == number)[0])
            raise DataError(f"{file}, line {line}: {day}.{month}.{year} is not a date; {AGAIN}") from None
    return _with_days(rows, days[which.ravel()])


def rows_of_csv(content: bytes) -> NDArray[np.int64]:
    """The same rows from `user_taggedartists_full.csv`; the date's own columns are not looked at."""
    header = b"userID artistID tagID day month year timestamp_ms"
    rows = _body("user_taggedartists_full.csv", content, b",", header)
    return _with_days(rows, _days(rows[:, 6]))


def artist_names(content: bytes) -> dict[int, str]:
    """Names by artist from `artists.dat`: a header, then identifier, name and addresses, tabs between.

    Only identifier and name are looked at, and bytes that are not UTF-8 are replaced, since names are for reading and
    nothing is computed from them. Raises DataError that names the line.
    """
    names = {}
    for number, line in enumerate(content.decode("utf-8", errors="replace").split("\n")[1:], start=2):
        fields = line.rstrip("\r").split("\t")
        if fields == [""]:
            continue
        if len(fields) < 2 or not (fields[0].isascii() and fields[0].isdigit() and len(fields[0]) < 10):
            raise DataError(f"artists.dat, line {number}: not an identifier, a tab and a name; {AGAIN}")
        names[int(fields[0])] = clean_title(fields[1])
    return names


def distinct_pairs(rows: NDArray[np.int64], names: Mapping[int, str]) -> Dataset:
    """`lastfm-2k`: each user's artists once, by the day of the first tag."""
    rows = _of_active_users(rows)
    rows = rows[np.lexsort((rows[:, 3], rows[:, 1], rows[:, 0]))]
    rows = rows[np.unique(rows[:, :2], axis=0, return_index=True)[1]]
    digests = [hashlib.sha256(f"{user},{artist}".encode()).digest()[:8] for user, artist in rows[:, :2].tolist()]
    ties = np.frombuffer(b"".join(digests), dtype=">u8")
    return _build(PAIRS, rows[np.lexsort((ties, rows[:, 3], rows[:, 0]))], names, BY_FIRST_TAG)


def tag_assignments(rows: NDArray[np.int64], names: Mapping[int, str]) -> Dataset:
    """`lastfm-2k-tags`: every tag assignment, so with repeats of the same user and artist.

    Of equal days the higher artist, then tag, counts as older: with the file's order by user, artist and tag this is
    how the published split ranks them.
    """
    rows = _of_active_users(rows)
    order = np.lexsort((-rows[:, 2], -rows[:, 1], rows[:, 3], rows[:, 0]))
    return _build(TAGS, rows[order], names, BY_TIMESTAMP_THEN_IDENTIFIER)


def _body(file: str, content: bytes, separator: bytes, columns: bytes) -> NDArray[np.int64]:
    header, _, body = content.partition(b"\n")
    names = columns.split()
    if header.rstrip(b"\r").split(separator) != names:
        raise DataError(f"{file}, line 1: the columns are not the expected ones; {AGAIN}")
    rows = whole_numbers(file, body, separator, len(names), first_line=2)
    if rows[:, :3].min() < 0:
        line = 2 + int(np.flatnonzero(rows[:, :3].min(axis=1) < 0)[0])
        raise DataError(f"{file}, line {line}: an identifier is negative; {AGAIN}")
    return rows


def _days(milliseconds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Midnight in Madrid is 22:00 or 23:00 of the day before in UTC: the nearest day is the one meant."""
    return (milliseconds + _DAY_MS // 2) // _DAY_MS


def _with_days(rows: NDArray[np.int64], days: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.column_stack((rows[:, :3], days))


def _of_active_users(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    _, which, counts = np.unique(rows[:, 0], return_inverse=True, return_counts=True)
    kept = rows[counts[which] >= LEAST_ROWS]
    if kept.size == 0:
        raise DataError(f"no user has at least {LEAST_ROWS} tag assignments; {AGAIN}")
    return kept


def _build(name: str, rows: NDArray[np.int64], names: Mapping[int, str], tie_rule: str) -> Dataset:
    """From rows grouped by user, oldest first. Users and artists are numbered by rising identifier."""
    users, user_numbers = np.unique(rows[:, 0], return_inverse=True)
    artists, artist_numbers = np.unique(rows[:, 1], return_inverse=True)
    return Dataset(
        name=name,
        interactions=Interactions.from_sorted(user_numbers, artist_numbers, len(users), len(artists)),
        user_ids=tuple(map(str, users.tolist())),
        item_ids=tuple(map(str, artists.tolist())),
        titles=tuple(names.get(artist) or str(artist) for artist in artists.tolist()),
        years=np.zeros(len(artists), dtype=np.int16),
        genres=np.zeros((len(artists), 0), dtype=bool),
        genre_names=(),
        user_attributes={},
        licence=LICENCE,
        source=SOURCE,
        tie_rule=tie_rule,
        timestamps=(rows[:, 3] * 86_400).astype(np.float64),
    )
