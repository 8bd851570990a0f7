import io
import re
import zipfile

import numpy as np
import pytest

from securerec.data.dataset import BY_ROW, BY_TIMESTAMP
from securerec.data.movielens_1m import GENRES, OCCUPATIONS, from_grouplens, from_npz
from securerec.errors import DataError


def ids(dataset) -> list[list[str]]:
    interactions = dataset.interactions
    return [[dataset.item_ids[item] for item in interactions.of(user)] for user in range(interactions.n_users)]


def test_both_forms_give_the_same_data_but_for_timestamps_and_the_order_within_a_second(movie_files_1m) -> None:
    timed, ordered = from_grouplens(*movie_files_1m.grouplens), from_npz(*movie_files_1m.arrays)
    assert ids(timed) == [["1", "9", "3"], ["9", "7", "1"], ["7", "1", "3", "9"]]
    assert ids(ordered) == [["9", "1", "3"], ["9", "7", "1"], ["3", "7", "1", "9"]]
    assert timed.timestamps.tolist() == [900, 900, 901, 800, 801, 802, 500, 500, 500, 700]
    assert ordered.timestamps is None
    assert timed.unordered_digest() == ordered.unordered_digest()
    assert timed.content_digest() != ordered.content_digest()
    assert (timed.tie_rule, ordered.tie_rule) == (BY_TIMESTAMP, BY_ROW)
    assert timed.source != ordered.source


def test_only_films_that_somebody_rated_are_kept(movie_files_1m) -> None:
    dataset = from_npz(*movie_files_1m.arrays)
    assert dataset.item_ids == ("1", "3", "7", "9")
    assert list(zip(dataset.titles, dataset.years.tolist(), strict=True)) == [
        ("Paper Lanterns", 1991),
        ("Été à la Ferme, L' (Summer on the Farm)", 1994),
        ("Little Dragon (Dragon, Le)", 1982),
        ("2002: Silence", 1968),
    ]
    genres = [[g for g, on in zip(dataset.genre_names, row, strict=True) if on] for row in dataset.genres]
    assert genres == [["Drama"], ["Comedy", "Romance"], ["Animation", "Children's"], ["Drama", "Sci-Fi", "War"]]
    assert len(GENRES) == 18


def test_attributes_are_named_and_worded_as_people_read_them(movie_files_1m) -> None:
    assert from_npz(*movie_files_1m.arrays).user_attributes == {
        "age": ("1", "56", "25"),
        "gender": ("F", "M", "M"),
        "occupation": ("K-12 student", "self-employed", "other"),
        "zip": ("48067", "70072-1234", "90210"),
    }
    assert len(OCCUPATIONS) == len(set(OCCUPATIONS)) == 21


def test_users_are_numbered_as_in_users_dat_whatever_the_order_of_the_arrays(movie_files_1m) -> None:
    arrays, users, movies = movie_files_1m.arrays
    columns = {"user_id": [3, 1, 2], "indptr": [0, 4, 7, 10], "movie_id": [3, 7, 1, 9, 9, 1, 3, 9, 7, 1]}
    other = npz(**columns)
    assert from_npz(other, users, movies).content_digest() == from_npz(arrays, users, movies).content_digest()


def npz(**columns) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: np.asarray(values) for name, values in columns.items()})
    return buffer.getvalue()


GOOD = {"user_id": [1, 2, 3], "indptr": [0, 3, 6, 10], "movie_id": [9, 1, 3, 9, 7, 1, 3, 7, 1, 9]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indptr": [0, 3, 6]}, "indptr: 3 offsets for 3 users"),
        ({"indptr": [0, 6, 3, 10]}, "indptr: must rise from 0 to 10"),
        ({"indptr": [0, 3, 6, 9]}, "indptr: must rise from 0 to 10"),
        ({"indptr": [1, 3, 6, 10]}, "indptr: must rise from 0 to 10"),
        ({"indptr": [0, -(2**63), 2**62, 10]}, "indptr: must rise from 0 to 10"),
        ({"user_id": [1, 2, 2]}, "user_id: a user comes twice"),
        ({"user_id": [1, 2, 9]}, "ratings name user 9"),
        ({"movie_id": [9, 1, 3, 9, 7, 1, 3, 7, 1, 2]}, "ratings name film 2"),
        ({"movie_id": [9, 1, 3, 9, 7, 1, 3, 7, 3, 9]}, "rated a film twice"),
        ({"movie_id": []}, "movie_id: not a one-dimensional array of whole numbers"),
        ({"movie_id": np.zeros(0, np.int16), "indptr": [0, 0, 0, 0]}, "movie_id: empty"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(movie_files_1m, change: dict, message: str) -> None:
    _, users, movies = movie_files_1m.arrays
    with pytest.raises(DataError, match=message):
        from_npz(npz(**GOOD | change), users, movies, file="order.npz")


@pytest.mark.parametrize(
    ("part", "old", "new", "message"),
    [
        (0, b"::901", b"::9o1", "ratings.dat, line 1: not 4 whole numbers"),
        (0, b"2::7::2::801", b"2::7::801", "ratings.dat, line 5: not 4 whole numbers"),
        (0, b"2::7::2::801", b"2::7::2\t801", "ratings.dat, line 5: not 4 whole numbers"),
        (0, b"2::7::2::801", b"2:7::2::801", "ratings.dat, line 5: not 4 whole numbers"),
        (0, b"2::7::2::801", b"9::7::2::801", "ratings name user 9"),
        (0, b"2::7::2::801", b"2::5::2::801", "ratings name film 5"),
        (0, b"2::7::2::801", b"2::9::2::801", "rated a film twice"),
        (1, b"1::F", b"1::f", "users.dat, line 1: gender must be F or M"),
        (1, b"::56::", b"::57::", "users.dat, line 2: age must be one of 1, 18"),
        (1, b"::16::", b"::21::", "users.dat, line 2: occupation must be 0 to 20"),
        (1, b"::16::", b"::1_6::", "users.dat, line 2: occupation must be 0 to 20"),
        (1, b"::90210", b"", "users.dat, line 3: 4 fields, expected 5"),
        (1, b"3::M", b"2::M", "a MovieLens user is described twice"),
        (2, b"Romance", b"Romanze", "movies.dat, line 2: unknown genre"),
        (2, b"::Drama", b"::", "movies.dat, line 1: unknown genre"),
        (2, b"7::Little", b"3::Little", "a MovieLens film is described twice"),
        (2, b"7::Little", b"7::Lit::tle", "movies.dat, line 4: 4 fields, expected 3"),
    ],
)
def test_damaged_files_are_refused_by_file_and_line(
    movie_files_1m, part: int, old: bytes, new: bytes, message: str
) -> None:
    contents = list(movie_files_1m.grouplens)
    assert old in contents[part]
    contents[part] = contents[part].replace(old, new, 1)
    with pytest.raises(DataError, match=re.escape(message)):
        from_grouplens(*contents)


def test_empty_ratings_are_refused(movie_files_1m) -> None:
    with pytest.raises(DataError, match="ratings.dat is empty"):
        from_grouplens(b"\n", *movie_files_1m.grouplens[1:])


def test_pickled_arrays_are_never_loaded(movie_files_1m) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, user_id=np.array([{"a": 1}], dtype=object), indptr=np.arange(2), movie_id=np.arange(1))
    with pytest.raises(DataError, match="user_id: not a one-dimensional array of whole numbers"):
        from_npz(buffer.getvalue(), *movie_files_1m.arrays[1:])


def test_an_array_file_that_lacks_a_column_or_is_no_zip_is_refused(movie_files_1m) -> None:
    _, users, movies = movie_files_1m.arrays
    with pytest.raises(DataError, match="order.npz: the archive lacks a file.*indptr"):
        from_npz(npz(user_id=[1], movie_id=[1]), users, movies, file="order.npz")
    with pytest.raises(DataError, match="order.npz: the archive is damaged"):
        from_npz(b"no zip", users, movies, file="order.npz")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in GOOD:
            archive.writestr(f"{name}.npy", b"not an array")
    with pytest.raises(DataError, match="order.npz, user_id: not a one-dimensional array"):
        from_npz(buffer.getvalue(), users, movies, file="order.npz")
