import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from securerec.data.dataset import BY_TIMESTAMP, Dataset
from securerec.data.interactions import Interactions

FILMS = [
    # id, title as GroupLens writes it, title and year as RecBole writes them, genres
    ("1", "Paper Lanterns (1991)", ("Paper Lanterns", "1991"), ["Drama"]),
    (
        "2",
        "Été à la Ferme, L' (Summer on the Farm) (1994)",
        ("Été à la Ferme, L' (Summer on the Farm)", "1994"),
        ["Comedy"],
    ),
    ("3", "unknown", ("unkonwn", "unkonwn"), ["unknown"]),
    (
        "4",
        "Little Dragon III: Homeward (1995) (V)",
        ("Little Dragon III: Homeward (1995)", "V"),
        ["Animation", "Children's"],
    ),
    ("5", "Shadow Portrait: A Life (1996) ", ("Shadow Portrait: A Life", "1996"), ["Documentary", "Film-Noir"]),
    ("6", "2002: Silence (1968)", ("2002: Silence", "1968"), ["Drama", "Sci-Fi", "War"]),
]
PEOPLE = [("1", "31", "F", "gardener", "T1A2B"), ("2", "52", "M", "other", "01002"), ("3", "8", "F", "none", "90210")]
# user, item, rating, unix seconds
RATINGS = [
    tuple(row.split())
    for row in (
        "2 1 3 900", "1 4 5 800", "1 2 1 800", "2 6 4 899", "3 3 2 5",
        "1 5 5 799", "2 5 4 901", "1 1 5 800", "3 2 2 5", "2 3 1 900",
    )
]  # fmt: skip


@dataclass(frozen=True)
class MovieFiles:
    """The same small data set in both published text forms."""

    grouplens: tuple[bytes, bytes, bytes]
    recbole: tuple[bytes, bytes, bytes]


@pytest.fixture
def movie_files() -> MovieFiles:
    from securerec.data.movielens import GENRES

    u_item = "".join(
        f"{i}|{title}|01-Jan-1990||http://example.org/{i}|{'|'.join(str(int(g in genres)) for g in GENRES)}\n"
        for i, title, _, genres in FILMS
    )
    r_item = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n" + "".join(
        f"{i}\t{title}\t{year}\t{' '.join(genres)}\n" for i, _, (title, year), genres in FILMS
    )
    rows = "".join("\t".join(row) + "\n" for row in RATINGS)
    r_user = "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    return MovieFiles(
        (rows.encode(), u_item.encode("latin-1"), "".join("|".join(p) + "\n" for p in PEOPLE).encode("latin-1")),
        (
            ("user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + rows).encode(),
            r_item.encode(),
            (r_user + "".join("\t".join(p) + "\n" for p in PEOPLE)).encode(),
        ),
    )


FILMS_1M = [
    (1, "Paper Lanterns (1991)", "Drama"),
    (3, "Été à la Ferme, L' (Summer on the Farm) (1994)", "Comedy|Romance"),
    (4, "Never Rated (1960)", "Film-Noir|Western"),
    (7, "Little Dragon (Dragon, Le)(1982)", "Animation|Children's"),
    (9, "2002: Silence (1968)", "Drama|Sci-Fi|War"),
]
PEOPLE_1M = [(1, "F", 1, 10, "48067"), (2, "M", 56, 16, "70072-1234"), (3, "M", 25, 0, "90210")]
# user, film, rating, unix seconds; the order within a second is the file's
RATINGS_1M = [
    (1, 3, 5, 901), (1, 1, 3, 900), (1, 9, 4, 900),
    (2, 9, 4, 800), (2, 7, 2, 801), (2, 1, 5, 802),
    (3, 7, 1, 500), (3, 1, 1, 500), (3, 3, 1, 500), (3, 9, 2, 700),
]  # fmt: skip


def npz_bytes(**arrays: np.ndarray) -> bytes:
    """What `numpy.savez_compressed` writes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


@dataclass(frozen=True)
class MovieFiles1M:
    """The same small data set as GroupLens' three files, and with arrays in place of the ratings."""

    grouplens: tuple[bytes, bytes, bytes]
    arrays: tuple[bytes, bytes, bytes]

    def with_order(self, user: int, order: list[int]) -> bytes:
        """The arrays with the films of this user (counted from 0) in another order."""
        with np.load(io.BytesIO(self.arrays[0])) as loaded:
            columns = {name: loaded[name] for name in loaded.files}
        span = slice(columns["indptr"][user], columns["indptr"][user + 1])
        columns["movie_id"][span] = columns["movie_id"][span][order]
        return npz_bytes(**columns)


@pytest.fixture
def movie_files_1m() -> MovieFiles1M:
    ratings = "".join("::".join(map(str, row)) + "\n" for row in RATINGS_1M).encode()
    users = "".join("::".join(map(str, row)) + "\n" for row in PEOPLE_1M).encode("latin-1")
    movies = "".join("::".join(map(str, row)) + "\n" for row in FILMS_1M).encode("latin-1")
    arrays = npz_bytes(
        user_id=np.array([1, 2, 3], np.int16),
        indptr=np.array([0, 3, 6, 10], np.int32),
        movie_id=np.array([9, 1, 3, 9, 7, 1, 3, 7, 1, 9], np.int16),
    )
    return MovieFiles1M((ratings, users, movies), (arrays, users, movies))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("SECUREREC_HOME", str(folder))
    return folder


@pytest.fixture
def small() -> Dataset:
    return Dataset(
        name="small",
        interactions=Interactions.from_lists([[0, 1, 2, 3], [3, 2], [1, 0, 3]], n_items=5),
        user_ids=("ann", "bob", "cleo"),
        item_ids=("a", "b", "c", "d", "e"),
        titles=("Ash", "Birch", "Cedar", "Dogwood", "Ébène"),
        years=np.array([1990, 0, 2001, 1990, 1975], dtype=np.int16),
        genres=np.array([[1, 0], [0, 1], [1, 1], [0, 0], [0, 1]], dtype=bool),
        genre_names=("tall", "hard"),
        user_attributes={"gender": ("F", "M", "F")},
        licence="free",
        source="written for a test",
        tie_rule=BY_TIMESTAMP,
        timestamps=np.array([1, 2, 3, 3, 5, 6, 7, 7, 9], dtype=np.float64),
    )


@pytest.fixture
def local_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, dict[str, bytes]], Path]:
    """Makes a minimal wheel of these files; pip finds it, and nothing else, without a network."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)

    def make(name: str, version: str, files: dict[str, bytes]) -> Path:
        info = f"{name}-{version}.dist-info"
        path = folder / f"{name}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in files.items():
                archive.writestr(member, content)
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        return path

    return make
