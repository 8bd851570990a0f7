"""MovieLens 100K from either of the two text forms it is published in, to one and the same data set.

GroupLens' own files: `u.data` and tab, `u.item` and `u.user` with `|`, latin-1, titles such as "Some Film (1995)".
RecBole's atomic files: a header line, tabs, UTF-8, title and year apart. Where RecBole's conversion lost something
(it writes "unkonwn" for the film without a name, and "V" for the year of a title that ends in "(1995) (V)"), its two
columns are joined to GroupLens' title again, and one rule splits both.
"""

import io
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securerec.data.dataset import BY_TIMESTAMP, Dataset
from securerec.data.interactions import Interactions, chronological
from securerec.errors import DataError

NAME = "ml-100k"
SOURCE = "MovieLens 100K, GroupLens Research, University of Minnesota"
LICENCE = "MovieLens: research use only, no redistribution without permission, no commercial use"
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
USER_ATTRIBUTES = ("age", "gender", "occupation", "zip")
_TITLE_WITH_YEAR = re.compile(r"(?P<title>.+) \((?P<year>\d{4})\)(?: \(V\))?")


@dataclass(frozen=True)
class _Item:
    item_id: str
    title_with_year: str
    genres: frozenset[str]


def from_grouplens(data: bytes, item: bytes, user: bytes) -> Dataset:
    """From the contents of `u.data`, `u.item` and `u.user`. Raises DataError that names the file and line."""
    items = []
    for number, fields in _lines("u.item", item, "latin-1", "|", 5 + len(GENRES)):
        flags = fields[5:]
        if not set(flags) <= {"0", "1"}:
            raise DataError(f"u.item, line {number}: genre flags must be 0 or 1; fetch the data set again")
        genres = frozenset(genre for genre, flag in zip(GENRES, flags, strict=True) if flag == "1")
        items.append(_Item(fields[0], fields[1], genres))
    users = [fields for _, fields in _lines("u.user", user, "latin-1", "|", 1 + len(USER_ATTRIBUTES))]
    return _build(_ratings("u.data", data), items, users)


def from_recbole(inter: bytes, item: bytes, user: bytes) -> Dataset:
    """From the contents of `ml-100k.inter`, `.item` and `.user`. Raises DataError that names the file and line."""
    header, _, inter = inter.partition(b"\n")
    if header.rstrip(b"\r") != b"user_id:token\titem_id:token\trating:float\ttimestamp:float":
        raise DataError("ml-100k.inter, line 1: the columns are not the expected ones; fetch the data set again")
    items = []
    for number, (item_id, title, year, genres) in _lines("ml-100k.item", item, "utf-8", "\t", 4)[1:]:
        names = frozenset(genres.split())
        if not names <= set(GENRES):
            raise DataError(f"ml-100k.item, line {number}: unknown genre in {genres!r}; fetch the data set again")
        if title == year == "unkonwn":
            items.append(_Item(item_id, "unknown", names))
        else:
            items.append(_Item(item_id, f"{title} ({year})", names))
    users = [fields for _, fields in _lines("ml-100k.user", user, "utf-8", "\t", 1 + len(USER_ATTRIBUTES))[1:]]
    return _build(_ratings("ml-100k.inter", inter), items, users)


def _lines(file: str, content: bytes, encoding: str, separator: str, n_fields: int) -> list[tuple[int, list[str]]]:
    """The non-empty lines as `(line number, fields)`."""
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not {encoding} text (byte {error.start}); fetch the data set again") from None
    lines = []
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.rstrip("\r").split(separator)
        if fields == [""]:
            continue
        if len(fields) != n_fields:
            raise DataError(
                f"{file}, line {number}: {len(fields)} fields, expected {n_fields}; fetch the data set again"
            )
        lines.append((number, fields))
    return lines


def _ratings(file: str, content: bytes) -> NDArray[np.int64]:
    """Rows of user, item, rating, unix seconds: `(n_rows, 4) int64`."""
    if not content.strip():
        raise DataError(f"{file} is empty; fetch the data set again")
    try:
        rows = np.loadtxt(io.BytesIO(content), dtype=np.int64, delimiter="\t", comments=None, ndmin=2)
    except ValueError as error:
        raise DataError(
            f"{file} does not hold whole numbers in four columns ({error}); fetch the data set again"
        ) from None
    if rows.shape[1] != 4:
        raise DataError(f"{file} must have rows of four columns, found {rows.shape}; fetch the data set again")
    return rows


def _build(ratings: NDArray[np.int64], items: list[_Item], users: list[list[str]]) -> Dataset:
    user_ids = tuple(fields[0] for fields in users)
    item_ids = tuple(item.item_id for item in items)
    user_numbers = _numbers(ratings[:, 0], user_ids, "user")
    item_numbers = _numbers(ratings[:, 1], item_ids, "item")
    times = ratings[:, 3].astype(np.float64)
    order = chronological(user_numbers, times)
    titles, years = [], np.zeros(len(items), dtype=np.int16)
    for number, item in enumerate(items):
        title = " ".join(item.title_with_year.split())
        match = _TITLE_WITH_YEAR.fullmatch(title)
        titles.append(match["title"] if match else title)
        years[number] = int(match["year"]) if match else 0
    return Dataset(
        name=NAME,
        interactions=Interactions.from_sorted(user_numbers[order], item_numbers[order], len(users), len(items)),
        user_ids=user_ids,
        item_ids=item_ids,
        titles=tuple(titles),
        years=years,
        genres=np.array([[genre in item.genres for genre in GENRES] for item in items], dtype=bool),
        genre_names=GENRES,
        user_attributes={name: tuple(fields[1 + k] for fields in users) for k, name in enumerate(USER_ATTRIBUTES)},
        licence=LICENCE,
        source=SOURCE,
        tie_rule=BY_TIMESTAMP,
        timestamps=times[order],
    )


def _numbers(column: NDArray[np.int64], ids: tuple[str, ...], what: str) -> NDArray[np.int64]:
    """The position in `ids` of each identifier in the column."""
    numbers = {identifier: number for number, identifier in enumerate(ids)}
    if len(numbers) != len(ids):
        raise DataError(f"a MovieLens {what} is described twice; fetch the data set again")
    present = np.unique(column)
    unknown = [str(identifier) for identifier in present if str(identifier) not in numbers]
    if unknown:
        raise DataError(f"ratings name {what} {unknown[0]}, which is not described; fetch the data set again")
    positions = np.array([numbers[str(identifier)] for identifier in present], dtype=np.int64)
    return positions[np.searchsorted(present, column)]
