"""A data set from a CSV file with named columns, read line by line, with one clear error for each kind of bad row."""

import math
from array import array
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from securerec.data.cache import canonical_name
from securerec.data.csv_rows import check_delimiter, check_fields, identifier, number, position, records
from securerec.data.dataset import BY_ROW, BY_TIMESTAMP, Dataset
from securerec.data.interactions import Interactions, chronological
from securerec.data.text_rows import clean_title
from securerec.errors import DataError

MOST_ROWS = 50_000_000


@dataclass(frozen=True)
class Columns:
    """Which columns of the file mean what. `minimum_rating` keeps only rows rated at least this."""

    user: str
    item: str
    rating: str | None = None
    minimum_rating: float | None = None
    timestamp: str | None = None
    title: str | None = None

    def __post_init__(self) -> None:
        if (self.rating is None) != (self.minimum_rating is None):
            raise DataError("--rating-column and --minimum-rating only make sense together: give both or neither")
        if self.minimum_rating is not None and not math.isfinite(self.minimum_rating):
            raise DataError(f"--minimum-rating must be a finite number, not {self.minimum_rating}")
        used = self.used()
        if len(set(used)) != len(used):
            raise DataError(f"each column may be named once, but these were: {', '.join(used)}")

    def used(self) -> list[str]:
        return [name for name in (self.user, self.item, self.rating, self.timestamp, self.title) if name is not None]


@dataclass(frozen=True)
class Imported:
    """The data set, and what became of the file's rows: rows = duplicates + below_minimum + interactions."""

    dataset: Dataset
    rows: int
    duplicates: int
    below_minimum: int
    short_users: int


def import_csv(path: Path, name: str, columns: Columns, *, delimiter: str = ",") -> Imported:
    """Read a UTF-8 CSV file whose first line names the columns. The result is not stored yet.

    Rows of the same user and item count once, the newest; the rating filter comes after that. Users with fewer than 3
    items stay in training only and are counted. Users and items are numbered by first appearance in the file.
    Identifiers and titles lose surrounding white space. Blank lines are skipped. Timestamps are all numbers or all ISO
    8601 dates (without a zone: UTC). At most 50 million rows, 1 MiB a line, 131,072 characters a field and 256 an
    identifier.

    Raises DataError at the first bad row: its line number, what is wrong with it and how to put it right.
    """
    name = canonical_name(name)
    check_delimiter(delimiter)
    try:
        with path.open("rb") as file:
            table = _read(file, path.name, columns, delimiter)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from None
    return _assemble(table, name, path.name, columns)


class _Table:
    """Kept columns of the rows read so far, with identifiers numbered by first appearance."""

    def __init__(self) -> None:
        self.users: dict[str, int] = {}
        self.items: dict[str, int] = {}
        self.titles: dict[int, str] = {}
        self.user_numbers = array("q")
        self.item_numbers = array("q")
        self.ratings = array("d")
        self.times = array("d")


def _read(file: BinaryIO, file_name: str, columns: Columns, delimiter: str) -> _Table:
    reader = records(file, delimiter)
    first = next(reader, None)
    if first is None:
        raise DataError(f"{file_name} is empty: the first line must name the columns")
    header = [name.strip() for name in first[1]]
    user_at, item_at = position(header, columns.user), position(header, columns.item)
    rating_at = None if columns.rating is None else position(header, columns.rating)
    time_at = None if columns.timestamp is None else position(header, columns.timestamp)
    title_at = None if columns.title is None else position(header, columns.title)
    table = _Table()
    clock = Clock(columns.timestamp or "")
    for line, fields in reader:
        check_fields(header, fields, line, delimiter)
        if len(table.user_numbers) == MOST_ROWS:
            raise DataError(f"line {line}: more than {MOST_ROWS} rows: import a part of the file")
        user = identifier(fields[user_at], columns.user, line)
        item = identifier(fields[item_at], columns.item, line)
        nth_item = table.items.setdefault(item, len(table.items))
        table.user_numbers.append(table.users.setdefault(user, len(table.users)))
        table.item_numbers.append(nth_item)
        if rating_at is not None:
            table.ratings.append(_rating(fields[rating_at], columns.rating or "", line))
        if time_at is not None:
            table.times.append(clock.read(fields[time_at], line))
        if title_at is not None and nth_item not in table.titles:
            title = clean_title(fields[title_at])
            if title:
                table.titles[nth_item] = title
    if not table.user_numbers:
        raise DataError(f"{file_name} has a header but no rows: nothing to import")
    return table


def _assemble(table: _Table, name: str, file_name: str, columns: Columns) -> Imported:
    users = np.frombuffer(table.user_numbers, dtype=np.int64)
    items = np.frombuffer(table.item_numbers, dtype=np.int64)
    times = np.frombuffer(table.times, dtype=np.float64) if columns.timestamp is not None else None
    order = chronological(users, times)
    rows = order.size
    newest_first = (users * len(table.items) + items)[order][::-1]
    _, latest = np.unique(newest_first, return_index=True)
    order = order[np.sort(rows - 1 - latest)]
    duplicates = rows - order.size
    if columns.minimum_rating is not None:
        order = order[np.frombuffer(table.ratings, dtype=np.float64)[order] >= columns.minimum_rating]
        if order.size == 0:
            raise DataError(f"no row is rated at least {columns.minimum_rating:g}: lower --minimum-rating")
    user_ids, user_numbers = _renumber(list(table.users), users, order)
    item_ids, item_numbers = _renumber(list(table.items), items, order)
    titles = tuple(table.titles.get(table.items[item_id], item_id) for item_id in item_ids)
    dataset = Dataset(
        name=name,
        interactions=Interactions.from_sorted(user_numbers, item_numbers, len(user_ids), len(item_ids)),
        user_ids=user_ids,
        item_ids=item_ids,
        titles=titles,
        years=np.zeros(len(item_ids), dtype=np.int16),
        genres=np.zeros((len(item_ids), 0), dtype=bool),
        genre_names=(),
        user_attributes={},
        licence="as you obtained it; imported by you",
        source=f"imported from {''.join(c for c in file_name if c.isprintable())}",
        tie_rule=BY_ROW if times is None else BY_TIMESTAMP,
        timestamps=None if times is None else times[order],
    )
    return Imported(
        dataset=dataset,
        rows=rows,
        duplicates=duplicates,
        below_minimum=rows - duplicates - order.size,
        short_users=int(np.count_nonzero(dataset.interactions.counts() < 3)),
    )


def _renumber(
    ids: list[str], numbers: NDArray[np.int64], order: NDArray[np.int64]
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The identifiers that still have a row, by first appearance in the file, and each kept row's new number."""
    kept, renumbered = np.unique(numbers[order], return_inverse=True)
    return tuple(ids[number] for number in kept), renumbered.astype(np.int64)


def _rating(field: str, column: str, line: int) -> float:
    text = field.strip()
    value = number(text)
    if value is None:
        raise DataError(f"line {line}: {column} is {text[:40]!r}, not a number: write it like 3.5, or delete the row")
    if not math.isfinite(value):
        raise DataError(f"line {line}: {column} is {text[:40]!r}, not finite: give a rating or delete the row")
    return value


class Clock:
    """Reads timestamps, all of the kind that the first one had."""

    def __init__(self, column: str) -> None:
        self.column = column
        self.dates: bool | None = None

    def read(self, field: str, line: int) -> float:
        text = field.strip()
        value = number(text)
        date = value is None
        if value is None:
            try:
                moment = datetime.fromisoformat(text)
                value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
            except (ValueError, OverflowError):
                raise DataError(
                    f"line {line}: {self.column} is {text[:40]!r}, neither a number nor an ISO 8601 date: write it "
                    "like 881250949 or 1997-12-04T15:55:49Z"
                ) from None
        if not math.isfinite(value):
            raise DataError(f"line {line}: {self.column} is {text[:40]!r}, not finite: give a time or delete the row")
        if self.dates is not None and self.dates != date:
            kinds = ("a date", "numbers") if date else ("a number", "dates")
            raise DataError(f"line {line}: {self.column} is {kinds[0]} but {kinds[1]} came before: write all alike")
        self.dates = date
        return value
