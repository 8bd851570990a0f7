"""What is known of items and of users, from CSV files beside the interactions, put into a data set."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from securerec.data.csv_rows import check_delimiter, check_fields, identifier, number, position, records
from securerec.data.dataset import Dataset
from securerec.data.text_rows import clean_title
from securerec.errors import DataError

MOST_ROWS = 10_000_000
MOST_GENRES = 256
MOST_GENRE_CHARACTERS = 64
MOST_USER_ATTRIBUTES = 32
MOST_YEAR = 9999
_ITEM_COLUMNS = ("title", "year", "genres")


@dataclass(frozen=True)
class Described:
    """The data set with what a file says, how many of its users or items the file describes, and how many it does not;
    `not_used` rows of the file describe others."""

    dataset: Dataset
    described: int
    not_described: int
    not_used: int


def with_items(dataset: Dataset, path: Path, *, delimiter: str = ",") -> Described:
    """Titles, years and genres from a UTF-8 CSV file with the column `item` and any of `title`, `year` and `genres`.

    Genres stand in one field with `|` between. An empty field says nothing, and other columns are not looked at. At
    most 256 different genres of 64 characters; otherwise the limits of `import_csv`. Raises DataError that names the
    file and the line, when an item comes twice, or when no item of the data set is described.
    """
    header, rows = _table(path, "item", delimiter)
    at = {name: header.index(name) for name in _ITEM_COLUMNS if header.count(name) == 1}
    if not at:
        raise DataError(f"{path.name}, header: none of {', '.join(_ITEM_COLUMNS)} there once: nothing to add")
    titles, years, genres = list(dataset.titles), dataset.years.copy(), {}
    for nth, item_id in enumerate(dataset.item_ids):
        line, fields = rows.get(item_id, (0, []))
        if not fields:
            continue
        if "title" in at:
            titles[nth] = clean_title(fields[at["title"]]) or titles[nth]
        if "year" in at:
            years[nth] = _year(fields[at["year"]], path.name, line)
        if "genres" in at:
            genres[nth] = _genres(fields[at["genres"]], path.name, line)
    names = sorted({name for own in genres.values() for name in own})
    if len(names) > MOST_GENRES:
        raise DataError(f"{path.name}: {len(names)} different genres, at most {MOST_GENRES}: merge the rare ones")
    table = np.zeros((len(titles), len(names)), dtype=bool)
    columns = {name: column for column, name in enumerate(names)}
    for nth, own in genres.items():
        table[nth, [columns[name] for name in own]] = True
    new = replace(dataset, titles=tuple(titles), years=years, genres=table, genre_names=tuple(names))
    return _described(new, rows, dataset.item_ids, path.name, "item")


def with_users(dataset: Dataset, path: Path, *, delimiter: str = ",") -> Described:
    """Attributes from a UTF-8 CSV file with the column `user`: each other column is one, of that name.

    Users that the file does not describe get empty ones. At most 32 attributes; otherwise as `with_items`.
    """
    header, rows = _table(path, "user", delimiter)
    at = position(header, "user")
    names = [name for nth, name in enumerate(header) if nth != at]
    if not 0 < len(names) <= MOST_USER_ATTRIBUTES or len(set(names)) < len(names) or not all(map(clean_title, names)):
        raise DataError(
            f"{path.name}, header: beside user it must name 1 to {MOST_USER_ATTRIBUTES} attributes, each once"
        )
    attributes = {}
    for nth, name in enumerate(header):
        if nth != at:
            values = (rows[user][1][nth] if user in rows else "" for user in dataset.user_ids)
            attributes[clean_title(name)] = tuple(map(clean_title, values))
    return _described(replace(dataset, user_attributes=attributes), rows, dataset.user_ids, path.name, "user")


_Rows = dict[str, tuple[int, list[str]]]


def _table(path: Path, key: str, delimiter: str) -> tuple[list[str], _Rows]:
    """The header, and each row with the number of its first line, by its identifier."""
    check_delimiter(delimiter)
    rows: _Rows = {}
    try:
        with path.open("rb") as file:
            reader = records(file, delimiter)
            header = [name.strip() for name in next(reader, (1, []))[1]]
            at = position(header, key)
            for line, fields in reader:
                check_fields(header, fields, line, delimiter)
                own = identifier(fields[at], key, line)
                if own in rows:
                    raise DataError(f"line {line}: {key} {own!r} comes in line {rows[own][0]} too: keep one of both")
                if len(rows) == MOST_ROWS:
                    raise DataError(f"line {line}: more than {MOST_ROWS} rows: leave out what is not used")
                rows[own] = (line, fields)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from None
    except DataError as error:
        raise DataError(f"{path.name}, {error}") from None
    return header, rows


def _year(field: str, file: str, line: int) -> int:
    """The year, 0 for an empty field. `1995.0`, as programs write a column with gaps, is a year too."""
    text = field.strip()
    value = number(text) if text else 0.0
    if value is None or not (0 <= value <= MOST_YEAR and value.is_integer()):
        raise DataError(f"{file}, line {line}: year is {text[:40]!r}: write it like 1995, or leave it empty")
    return int(value)


def _genres(field: str, file: str, line: int) -> frozenset[str]:
    names = frozenset(clean_title(name) for name in field.split("|")) - {""}
    if any(len(name) > MOST_GENRE_CHARACTERS for name in names):
        raise DataError(f"{file}, line {line}: a genre has more than {MOST_GENRE_CHARACTERS} characters: use | between")
    return names


def _described(dataset: Dataset, rows: _Rows, ids: tuple[str, ...], file: str, what: str) -> Described:
    described = sum(own in rows for own in ids)
    if described == 0:
        raise DataError(f"{file} describes no {what} of the data set, such as {ids[0]!r}: are identifiers the same?")
    return Described(dataset, described, len(ids) - described, len(rows) - described)
