"""Files that people bring to a finished run: a list of items somebody took, and items that are new."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from securerec.data.csv_import import Clock
from securerec.data.csv_rows import check_fields, identifier, position, records
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.data.text_rows import clean_title
from securerec.errors import DataError

MOST_ROWS = 100_000
LAST_YEAR = 9999
_DELIMITER = ","
_REMEDY = "columns are separated by commas here"


def read_history(path: Path, item_of: Callable[[str], int]) -> list[int]:
    """Items from a CSV file with a column `item` and perhaps `timestamp`, oldest first.

    Without timestamps, or among equal ones, the order is that of the rows. An item that comes twice counts once, where
    it is newest. item_of: an item's number; raises DataError for one that is not known. Raises DataError that names the
    line.
    """
    times: list[float] = []
    items: list[int] = []
    with rows_of(path, ("item",), ("timestamp",)) as rows:
        clock = Clock("timestamp")
        for line, fields in rows:
            name = identifier(fields["item"], "item", line)
            try:
                items.append(item_of(name))
            except DataError as error:
                raise DataError(f"line {line}: {error}") from None
            times.append(clock.read(fields["timestamp"], line) if "timestamp" in fields else 0.0)
    if not items:
        raise DataError(f"{path.name} has a header but no rows: give at least one item")
    ordered = [items[row] for row in np.argsort(times, kind="stable")]
    newest_first = dict.fromkeys(reversed(ordered))
    return list(newest_first)[::-1]


def with_new_items(dataset: Dataset, path: Path) -> Dataset:
    """The data set with the items of a CSV file after its own, which nobody has touched.

    Columns: `item`, an identifier that the data set does not have; perhaps `title`, `year`, and `genres`, names of the
    data set's with | between. Raises DataError that names the line.
    """
    known, genre_place = set(dataset.item_ids), {name: at for at, name in enumerate(dataset.genre_names)}
    ids: list[str] = []
    titles: list[str] = []
    years: list[int] = []
    genres: list[np.ndarray] = []
    with rows_of(path, ("item",), ("title", "year", "genres")) as rows:
        for line, fields in rows:
            item = identifier(fields["item"], "item", line)
            if item in known:
                raise DataError(f"line {line}: {dataset.name} has an item {item!r} already: new items need new names")
            known.add(item)
            ids.append(item)
            titles.append(clean_title(fields.get("title", "")) or item)
            years.append(_year(fields.get("year", ""), line))
            has = np.zeros(len(genre_place), np.bool_)
            for name in filter(None, map(str.strip, fields.get("genres", "").split("|"))):
                if name not in genre_place:
                    near = get_close_matches(name, genre_place, n=1) or list(genre_place)[:3]
                    shown = ", ".join(near) if near else "none at all"
                    raise DataError(f"line {line}: {dataset.name} has no genre {name[:40]!r}; it has {shown}")
                has[genre_place[name]] = True
            genres.append(has)
    if not ids:
        raise DataError(f"{path.name} has a header but no rows: give at least one item")
    old = dataset.interactions
    return replace(
        dataset, interactions=Interactions(old.offsets, old.items, old.n_items + len(ids)),
        item_ids=(*dataset.item_ids, *ids), titles=(*dataset.titles, *titles),
        years=np.append(dataset.years, np.array(years, np.int16)), genres=np.concatenate([dataset.genres, genres]),
    )  # fmt: skip


def _year(text: str, line: int) -> int:
    text = text.strip()
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:5]) <= LAST_YEAR):
        raise DataError(f"line {line}: year is {text[:40]!r}: write it like 1997, or leave it empty")
    return int(text)


@contextmanager
def rows_of(
    path: Path, needed: tuple[str, ...], optional: tuple[str, ...]
) -> Iterator[Iterator[tuple[int, dict[str, str]]]]:
    """Line numbers and fields by column. Raises DataError for a column that is not known, and as `records`.

    Errors name the file, those of its rows that are raised under the `with` among them.
    """
    try:
        with path.open("rb") as file:
            lines = records(file, _DELIMITER)
            first = next(lines, None)
            if first is None:
                raise DataError("line 1: the file is empty: the first line must name the columns")
            header = [name.strip() for name in first[1]]
            for name in needed:
                position(header, name, remedy=_REMEDY)
            for name in header:
                if name not in (*needed, *optional):
                    raise DataError(
                        f"header: column {name[:40]!r} is not known here: keep {', '.join((*needed, *optional))}"
                    )
                position(header, name)
            yield _fields(lines, header)
    except DataError as error:
        raise DataError(f"{path.name}, {error}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from None


def _fields(lines: Iterator[tuple[int, list[str]]], header: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    for row, (line, fields) in enumerate(lines):
        if row == MOST_ROWS:
            raise DataError(
                f"line {line}: more than {MOST_ROWS} rows: split the file, and take its parts one after the other"
            )
        yield line, dict(zip(header, check_fields(header, fields, line, _DELIMITER, remedy=""), strict=True))
