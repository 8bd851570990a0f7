"""What the text files of all MovieLens releases share: rows of ratings, titles that end in a year, genres."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securerec.data.text_rows import AGAIN, whole_numbers
from securerec.errors import DataError

LICENCE = "MovieLens: research use only, no redistribution without permission, no commercial use"
RATING_COLUMNS = 4
_TITLE_WITH_YEAR = re.compile(r"(?P<title>.+?) ?\((?P<year>\d{4})\)(?: \(V\))?")


@dataclass(frozen=True)
class Film:
    """A film as its file describes it; the title still ends in the year."""

    item_id: str
    title_with_year: str
    genres: frozenset[str]


def rating_rows(file: str, content: bytes, separator: bytes, *, first_line: int = 1) -> NDArray[np.int64]:
    """Rows of user, item, rating, unix seconds: `(n_rows, 4) int64`.

    `first_line` is the number of the content's first line in the file. Raises DataError that names the file and line.
    """
    return whole_numbers(file, content, separator, RATING_COLUMNS, first_line=first_line)


def titles_and_years(films: list[Film]) -> tuple[tuple[str, ...], NDArray[np.int16]]:
    """Titles without their year, and the years `(n_items,) int16`, 0 where the title names none."""
    titles, years = [], np.zeros(len(films), dtype=np.int16)
    for number, film in enumerate(films):
        title = " ".join(film.title_with_year.split())
        match = _TITLE_WITH_YEAR.fullmatch(title)
        titles.append(match["title"] if match else title)
        years[number] = int(match["year"]) if match else 0
    return tuple(titles), years


def genre_table(films: list[Film], genres: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which film is of which genre, `(n_items, n_genres) bool`."""
    return np.array([[genre in film.genres for genre in genres] for film in films], dtype=bool)


def positions(column: NDArray[np.integer], ids: tuple[str, ...], what: str) -> NDArray[np.int64]:
    """The position in `ids` of each identifier in the column. Raises DataError for one that is not there, or twice."""
    numbers = {identifier: number for number, identifier in enumerate(ids)}
    if len(numbers) != len(ids):
        raise DataError(f"a MovieLens {what} is described twice; {AGAIN}")
    present = np.unique(column)
    unknown = [str(identifier) for identifier in present if str(identifier) not in numbers]
    if unknown:
        raise DataError(f"ratings name {what} {unknown[0]}, which is not described; {AGAIN}")
    found = np.array([numbers[str(identifier)] for identifier in present], dtype=np.int64)
    return found[np.searchsorted(present, column)]
