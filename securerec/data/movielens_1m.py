"""MovieLens 1M: from GroupLens' own files, or with the interactions as arrays that keep only their order.

GroupLens' `ratings.dat`, `users.dat` and `movies.dat` are latin-1 with `::` between fields. The `.npz` form replaces
`ratings.dat`: user u has rated `movie_id[indptr[u]:indptr[u + 1]]`, oldest first, `u` being a row of `user_id`. Ratings
and timestamps are gone, and with them what could order films rated in the same second. Both forms give the same users,
films and pairs, hence the same `unordered_digest`; only `ratings.dat` gives timestamps.

Films nobody rated are left out (177 of 3,883). The attribute `age` is the first year of GroupLens' age band (1, 18, 25,
35, 45, 50 or 56); `occupation` is the wording of GroupLens' README for its number.
"""

import numpy as np
from numpy.typing import NDArray

from securerec.data import npz
from securerec.data.dataset import BY_ROW, BY_TIMESTAMP, Dataset
from securerec.data.interactions import Interactions, chronological
from securerec.data.movielens import GENRES as _GENRES_OF_100K
from securerec.data.movielens_text import LICENCE, Film, genre_table, positions, rating_rows, titles_and_years
from securerec.data.text_rows import AGAIN, text_lines
from securerec.errors import DataError

NAME = "ml-1m"
SOURCE = "MovieLens 1M, GroupLens Research, University of Minnesota"
ORDER_ONLY = f"{SOURCE} (order of interactions only, without ratings and timestamps)"
GENRES = _GENRES_OF_100K[1:]
AGES = ("1", "18", "25", "35", "45", "50", "56")
OCCUPATIONS = (
    "other", "academic/educator", "artist", "clerical/admin", "college/grad student", "customer service",
    "doctor/health care", "executive/managerial", "farmer", "homemaker", "K-12 student", "lawyer", "programmer",
    "retired", "sales/marketing", "scientist", "self-employed", "technician/engineer", "tradesman/craftsman",
    "unemployed", "writer",
)  # fmt: skip
MOST_FILE_BYTES = 64 << 20


def from_grouplens(ratings: bytes, users: bytes, movies: bytes) -> Dataset:
    """From the contents of `ratings.dat`, `users.dat` and `movies.dat`. Raises DataError that names file and line."""
    rows = rating_rows("ratings.dat", ratings, b"::")
    people, films = _people(users), _films(movies)
    user_numbers = positions(rows[:, 0], people[0], "user")
    film_numbers = positions(rows[:, 1], tuple(film.item_id for film in films), "film")
    times = rows[:, 3].astype(np.float64)
    order = chronological(user_numbers, times)
    return _build(user_numbers[order], film_numbers[order], times[order], people, films)


def from_npz(arrays: bytes, users: bytes, movies: bytes, *, file: str = "the .npz file") -> Dataset:
    """From the contents of the `.npz` file, called `file` in errors, of `users.dat` and of `movies.dat`.

    Raises DataError that names the file and the array or line.
    """
    names = ("user_id", "indptr", "movie_id")
    user_id, indptr, movie_id = npz.integer_columns(file, arrays, names, most_bytes=MOST_FILE_BYTES)
    if movie_id.size == 0:
        raise DataError(f"{file}, movie_id: empty; {AGAIN}")
    if indptr.size != user_id.size + 1:
        raise DataError(f"{file}, indptr: {indptr.size} offsets for {user_id.size} users; {AGAIN}")
    if indptr[0] != 0 or indptr[-1] != movie_id.size or np.any(indptr[1:] < indptr[:-1]):
        raise DataError(f"{file}, indptr: must rise from 0 to {movie_id.size}; {AGAIN}")
    people, films = _people(users), _films(movies)
    if np.unique(user_id).size != user_id.size:
        raise DataError(f"{file}, user_id: a user comes twice; {AGAIN}")
    user_numbers = positions(np.repeat(user_id, np.diff(indptr)), people[0], "user")
    film_numbers = positions(movie_id, tuple(film.item_id for film in films), "film")
    order = chronological(user_numbers, None)
    return _build(user_numbers[order], film_numbers[order], None, people, films)


_People = tuple[tuple[str, ...], dict[str, tuple[str, ...]]]


def _people(content: bytes) -> _People:
    """Identifiers and attributes, in the order of the file."""
    rows = []
    for number, (user_id, gender, age, occupation, zip_code) in text_lines("users.dat", content, "latin-1", "::", 5):
        if gender not in ("F", "M"):
            raise DataError(f"users.dat, line {number}: gender must be F or M; {AGAIN}")
        if age not in AGES:
            raise DataError(f"users.dat, line {number}: age must be one of {', '.join(AGES)}; {AGAIN}")
        if not (occupation.isascii() and occupation.isdigit() and len(occupation) < 3) or int(occupation) > 20:
            raise DataError(f"users.dat, line {number}: occupation must be 0 to 20; {AGAIN}")
        rows.append((user_id, age, gender, OCCUPATIONS[int(occupation)], zip_code))
    names = ("age", "gender", "occupation", "zip")
    return tuple(row[0] for row in rows), {name: tuple(row[1 + k] for row in rows) for k, name in enumerate(names)}


def _films(content: bytes) -> list[Film]:
    films = []
    for number, (item_id, title, genres) in text_lines("movies.dat", content, "latin-1", "::", 3):
        found = frozenset(genres.split("|"))
        if not found <= set(GENRES):
            raise DataError(f"movies.dat, line {number}: unknown genre in {genres[:80]!r}; {AGAIN}")
        films.append(Film(item_id, title, found))
    return films


def _build(
    users: NDArray[np.int64],
    all_films: NDArray[np.int64],
    times: NDArray[np.float64] | None,
    people: _People,
    films: list[Film],
) -> Dataset:
    """From rows grouped by user, oldest first."""
    user_ids, attributes = people
    pairs = users * len(films) + all_films
    if np.unique(pairs).size != pairs.size:
        raise DataError(f"a user has rated a film twice; {AGAIN}")
    rated, items = np.unique(all_films, return_inverse=True)
    kept = [films[number] for number in rated]
    titles, years = titles_and_years(kept)
    return Dataset(
        name=NAME,
        interactions=Interactions.from_sorted(users, items, len(user_ids), len(kept)),
        user_ids=user_ids,
        item_ids=tuple(film.item_id for film in kept),
        titles=titles,
        years=years,
        genres=genre_table(kept, GENRES),
        genre_names=GENRES,
        user_attributes=attributes,
        licence=LICENCE,
        source=ORDER_ONLY if times is None else SOURCE,
        tie_rule=BY_ROW if times is None else BY_TIMESTAMP,
        timestamps=times,
    )
