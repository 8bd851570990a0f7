from dataclasses import fields

import numpy as np
import pytest

from securerec.data.dataset import Dataset
from securerec.data.movielens import from_grouplens, from_recbole
from securerec.errors import DataError


def test_both_published_forms_give_the_same_data_set_to_the_byte(movie_files) -> None:
    one, other = from_grouplens(*movie_files.grouplens), from_recbole(*movie_files.recbole)
    for field in fields(Dataset):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, np.ndarray):
            assert mine.dtype == theirs.dtype and mine.tobytes() == theirs.tobytes()
        elif field.name == "interactions":
            assert mine.items.tobytes() == theirs.items.tobytes() and mine.offsets.tobytes() == theirs.offsets.tobytes()
        else:
            assert mine == theirs
    assert one.content_digest() == other.content_digest()


def test_titles_lose_their_year_and_oddities_are_mended(movie_files) -> None:
    dataset = from_grouplens(*movie_files.grouplens)
    assert list(zip(dataset.titles, dataset.years.tolist(), strict=True)) == [
        ("Paper Lanterns", 1991),
        ("Été à la Ferme, L' (Summer on the Farm)", 1994),
        ("unknown", 0),
        ("Little Dragon III: Homeward", 1995),
        ("Shadow Portrait: A Life", 1996),
        ("2002: Silence", 1968),
    ]
    genres = [[g for g, on in zip(dataset.genre_names, row, strict=True) if on] for row in dataset.genres]
    assert genres[3] == ["Animation", "Children's"] and genres[4] == ["Documentary", "Film-Noir"]


def test_items_are_oldest_first_and_equal_timestamps_keep_file_order(movie_files) -> None:
    dataset = from_recbole(*movie_files.recbole)
    ids = [[dataset.item_ids[item] for item in dataset.interactions.of(user)] for user in range(3)]
    assert ids == [["5", "4", "2", "1"], ["6", "1", "3", "5"], ["3", "2"]]
    assert dataset.timestamps.tolist() == [799, 800, 800, 800, 899, 900, 900, 901, 5, 5]
    assert dataset.user_attributes == {
        "age": ("31", "52", "8"),
        "gender": ("F", "M", "F"),
        "occupation": ("gardener", "other", "none"),
        "zip": ("T1A2B", "01002", "90210"),
    }


def test_the_canonical_form_does_not_drift(movie_files) -> None:
    """The registry pins a digest of this form: whoever changes the form must pin that one anew."""
    expected = "578eaef55a021b76686b221d5302ffae96bbad8575848cebf52d89dd281dde62"
    assert from_recbole(*movie_files.recbole).content_digest() == expected


@pytest.mark.parametrize(
    ("part", "old", "new", "message"),
    [
        (0, b"\t5\t", b"\tfive\t", "u.data, line 2: not 4 whole numbers"),
        (0, b"2\t1\t3\t900", b"2\t99\t3\t900", "ratings name item 99"),
        (0, b"2\t1\t3\t900", b"99\t1\t3\t900", "ratings name user 99"),
        (1, b"|0|0|", b"|0|2|", "u.item, line 1: genre flags"),
        (1, b"||http", b"|http", "u.item, line 1: 23 fields, expected 24"),
        (2, b"|F|", b"|", "u.user, line 1: 4 fields, expected 5"),
        (2, b"3|8|", b"2|8|", "a MovieLens user is described twice"),
    ],
)
def test_damaged_grouplens_files_are_refused_by_name(
    movie_files, part: int, old: bytes, new: bytes, message: str
) -> None:
    contents = list(movie_files.grouplens)
    assert old in contents[part]
    contents[part] = contents[part].replace(old, new, 1)
    with pytest.raises(DataError, match=message):
        from_grouplens(*contents)


@pytest.mark.parametrize(
    ("part", "old", "new", "message"),
    [
        (0, b"rating:float\t", b"", "line 1: the columns"),
        (0, b"\t901", b"", "ml-100k.inter, line 8: not 4 whole numbers"),
        (1, b"Comedy", b"Comedie", "line 3: unknown genre"),
        (1, "É".encode(), b"\xc9", "ml-100k.item is not utf-8"),
        (2, b"31\t", b"", "ml-100k.user, line 2: 4 fields"),
    ],
)
def test_damaged_recbole_files_are_refused_by_name(
    movie_files, part: int, old: bytes, new: bytes, message: str
) -> None:
    contents = list(movie_files.recbole)
    assert old in contents[part]
    contents[part] = contents[part].replace(old, new, 1)
    with pytest.raises(DataError, match=message):
        from_recbole(*contents)


def test_empty_ratings_are_refused(movie_files) -> None:
    with pytest.raises(DataError, match="u.data is empty"):
        from_grouplens(b"", *movie_files.grouplens[1:])
