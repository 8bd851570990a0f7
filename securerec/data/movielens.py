"""MovieLens 100K from either of the two text forms it is published in, to one and the same data set.

GroupLens' own files: `u.data` and tab, `u.item` and `u.user` with `|`, latin-1, titles such as "Some Film (1995)".
RecBole's atomic files: a header line, tabs, UTF-8, title and year apart. Where RecBole's conversion lost something
(it writes "unkonwn" for the film without a name, and "V" for the year of a title that ends in "(1995) (V)"), its two
columns are joined to GroupLens' title again, and one rule splits both.
"""

import numpy as np
from numpy.typing import NDArray

from securerec.data.dataset import BY_TIMESTAMP, Dataset
from securerec.data.interactions import Interactions, chronological
from securerec.data.movielens_text import LICENCE, Film, genre_table, positions, rating_rows, titles_and_years
from securerec.data.text_rows import AGAIN, text_lines
from securerec.errors import DataError

NAME = "ml-100k"
SOURCE = "MovieLens 100K, GroupLens Research, University of Minnesota"
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
USER_ATTRIBUTES = ("age", "gender", "occupation", "zip")


def from_grouplens(data: bytes, item: bytes, user: bytes) -> Dataset:
    """From the contents of `u.data`, `u.item` and `u.user`. Raises DataError that names the file and line."""
    films = []
    for number, fields in text_lines("u.item", item, "latin-1", "|", 5 + len(GENRES)):
        flags = fields[5:]
        if not set(flags) <= {"0", "1"}:
            raise DataError(f"u.item, line {number}: genre flags must be 0 or 1; {AGAIN}")
        genres = frozenset(genre for genre, flag in zip(GENRES, flags, strict=True) if flag == "1")
        films.append(Film(fields[0], fields[1], genres))
    users = [fields for _, fields in text_lines("u.user", user, "latin-1", "|", 1 + len(USER_ATTRIBUTES))]
    return _build(rating_rows("u.data", data, b"\t"), films, users)


def from_recbole(inter: bytes, item: bytes, user: bytes) -> Dataset:
    """From the contents of `ml-100k.inter`, `.item` and `.user`. Raises DataError that names the file and line."""
    header, _, inter = inter.partition(b"\n")
    if header.rstrip(b"\r") != b"user_id:token\titem_id:token\trating:float\ttimestamp:float":
        raise DataError(f"ml-100k.inter, line 1: the columns are not the expected ones; {AGAIN}")
    films = []
    for number, (item_id, title, year, genres) in text_lines("ml-100k.item", item, "utf-8", "\t", 4)[1:]:
        names = frozenset(genres.split())
        if not names <= set(GENRES):
            raise DataError(f"ml-100k.item, line {number}: unknown genre in {genres!r}; {AGAIN}")
        if title == year == "unkonwn":
            films.append(Film(item_id, "unknown", names))
        else:
            films.append(Film(item_id, f"{title} ({year})", names))
    users = [fields for _, fields in text_lines("ml-100k.user", user, "utf-8", "\t", 1 + len(USER_ATTRIBUTES))[1:]]
    return _build(rating_rows("ml-100k.inter", inter, b"\t", first_line=2), films, users)


def _build(ratings: NDArray[np.int64], films: list[Film], users: list[list[str]]) -> Dataset:
    user_ids = tuple(fields[0] for fields in users)
    item_ids = tuple(film.item_id for film in films)
    user_numbers = positions(ratings[:, 0], user_ids, "user")
    item_numbers = positions(ratings[:, 1], item_ids, "item")
    times = ratings[:, 3].astype(np.float64)
    order = chronological(user_numbers, times)
    titles, years = titles_and_years(films)
    return Dataset(
        name=NAME,
        interactions=Interactions.from_sorted(user_numbers[order], item_numbers[order], len(users), len(films)),
        user_ids=user_ids,
        item_ids=item_ids,
        titles=titles,
        years=years,
        genres=genre_table(films, GENRES),
        genre_names=GENRES,
        user_attributes={name: tuple(fields[1 + k] for fields in users) for k, name in enumerate(USER_ATTRIBUTES)},
        licence=LICENCE,
        source=SOURCE,
        tie_rule=BY_TIMESTAMP,
        timestamps=times[order],
    )
