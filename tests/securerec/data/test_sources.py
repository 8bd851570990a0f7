import hashlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from securerec.data import cache, download, movielens, movielens_1m, origins, sources
from securerec.data.dataset import BY_ROW, Dataset
from securerec.data.sources import Known, Origin
from securerec.errors import DataError


def refuse(reason: str) -> Callable[[], Dataset]:
    def read() -> Dataset:
        raise DataError(reason)

    return read


@pytest.fixture
def known(small: Dataset, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Register `small` with these ways to read it."""

    def register(*reads: Callable[[], Dataset]) -> None:
        origins = tuple(Origin(f"place {number}", read) for number, read in enumerate(reads))
        entry = Known("small", "Small", "free", 3, 5, 9, small.content_digest(), origins)
        monkeypatch.setitem(sources.REGISTRY, "small", entry)

    return register


def test_load_fetches_once_and_then_reads_from_disk(small: Dataset, known: Callable[..., None]) -> None:
    reads: list[str] = []
    known(lambda: reads.append("read") or small)
    lines: list[str] = []
    first = sources.load("Small", notify=lines.append)
    again = sources.load("SMALL", notify=lines.append)
    assert reads == ["read"]
    assert first.digest() == again.digest() == small.digest()
    assert lines[0] == "small: licence: free"


def test_fetch_goes_on_to_the_next_place_when_one_is_unreachable_or_sends_something_else(
    small: Dataset, known: Callable[..., None]
) -> None:
    other = replace(small, titles=("x", *small.titles[1:]))
    known(refuse("no network"), lambda: other, lambda: small)
    lines: list[str] = []
    assert sources.fetch("small", notify=lines.append).content_digest() == small.content_digest()
    assert "small: place 0: no network" in lines
    assert any("place 1: the content is not what was published" in line for line in lines)


def test_when_no_place_works_each_reason_is_named_and_nothing_is_stored(known: Callable[..., None]) -> None:
    known(refuse("no network"), refuse("no pip"))
    with pytest.raises(DataError, match="place 0: no network. place 1: no pip. Check the network"):
        sources.fetch("small", notify=lambda _: None)
    assert cache.stored_names() == []


def test_a_stored_file_that_is_whole_but_not_as_published_is_refused(
    small: Dataset, known: Callable[..., None]
) -> None:
    known(lambda: small)
    cache.save_dataset(replace(small, titles=("x", *small.titles[1:])))
    with pytest.raises(DataError, match=r"not small as published: fetch it again \(securerec data fetch small\)"):
        sources.load("small")


def test_a_damaged_file_is_refused_and_fetching_again_mends_it(small: Dataset, known: Callable[..., None]) -> None:
    known(lambda: small)
    path = cache.save_dataset(small)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="damaged: fetch it again"):
        sources.load("small")
    sources.fetch("small", notify=lambda _: None)
    assert sources.load("small").digest() == small.digest()


def test_unknown_names_are_answered_with_the_nearest(small: Dataset) -> None:
    cache.save_dataset(replace(small, name="my-films"))
    with pytest.raises(DataError, match="did you mean ml-100k?"):
        sources.load("ml-100")
    with pytest.raises(DataError, match="did you mean my-films?"):
        sources.load("my-film")
    with pytest.raises(DataError, match="choose from amazon-video, lastfm-2k, .*, ml-100k, ml-1m, my-films"):
        sources.load("zzz")
    with pytest.raises(DataError, match="cannot be fetched"):
        sources.fetch("my-films")
    assert sources.load("My-Films").digest() == small.digest()


@pytest.fixture
def published(movie_files, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """The registry's ml-100k entry, pinned to the small films instead of the real ones."""
    dataset = movielens.from_recbole(*movie_files.recbole)
    monkeypatch.setitem(
        sources.REGISTRY, "ml-100k", replace(sources.REGISTRY["ml-100k"], digest=dataset.content_digest())
    )
    hashes = [hashlib.sha256(content).hexdigest() for content in movie_files.recbole]
    monkeypatch.setattr(origins, "_RECBOLE_FILES", dict(zip(origins._RECBOLE_FILES, hashes, strict=True)))
    return dataset


def unreachable(url: str, **_: object) -> bytes:
    raise DataError(f"{url} cannot be reached")


def test_ml_100k_comes_from_grouplens_zip(
    movie_files, published: Dataset, local_wheel: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for part, content in zip(("data", "item", "user"), movie_files.grouplens, strict=True):
            archive.writestr(f"ml-100k/u.{part}", content)
    monkeypatch.setattr(download, "get", lambda url, **_: buffer.getvalue())
    lines: list[str] = []
    assert sources.load("ML-100K", notify=lines.append).content_digest() == published.content_digest()
    assert not any("recbole" in line for line in lines)


def test_ml_100k_comes_from_the_recbole_wheel_when_grouplens_cannot_be_reached(
    movie_files, published: Dataset, local_wheel: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pip")
    monkeypatch.setattr(download, "get", unreachable)
    local_wheel("recbole", "1.2.1", dict(zip(origins._RECBOLE_FILES, movie_files.recbole, strict=True)))
    lines: list[str] = []
    assert sources.load("ml-100k", notify=lines.append).content_digest() == published.content_digest()
    assert any("research use only" in line for line in lines)


def test_a_wheel_whose_files_were_altered_is_refused(
    movie_files, published: Dataset, local_wheel: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pip")
    monkeypatch.setattr(download, "get", unreachable)
    inter, item, user = movie_files.recbole
    contents = (inter, item, user.replace(b"gardener", b"Gardener"))
    local_wheel("recbole", "1.2.1", dict(zip(origins._RECBOLE_FILES, contents, strict=True)))
    with pytest.raises(
        DataError, match=r"ml-100k.user in the recbole wheel is not the file expected \(sha256 differs\)"
    ):
        sources.load("ml-100k", notify=lambda _: None)


@pytest.fixture
def small_ml_1m(movie_files_1m, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """The registry's ml-1m entry, pinned to the small films instead of the real ones, in the form with timestamps."""
    dataset = movielens_1m.from_grouplens(*movie_files_1m.grouplens)
    order_only = movielens_1m.from_npz(*movie_files_1m.arrays)
    known = replace(
        sources.REGISTRY["ml-1m"], digest=order_only.content_digest(), unordered_digest=dataset.unordered_digest()
    )
    monkeypatch.setitem(sources.REGISTRY, "ml-1m", known)
    monkeypatch.setattr(origins, "_ML_1M_RATINGS", hashlib.sha256(movie_files_1m.grouplens[0]).hexdigest())
    monkeypatch.setattr(download, "get", unreachable)
    return dataset


def unpacked(folder: Path, names: tuple[str, ...], contents: tuple[bytes, ...]) -> Path:
    folder.mkdir()
    for name, content in zip(names, contents, strict=True):
        (folder / name).write_bytes(content)
    return folder


GROUPLENS_1M = ("ratings.dat", "users.dat", "movies.dat")
ARRAYS_1M = ("order.npz", "users.dat", "movies.dat")


def ml_1m_zip(contents: tuple[bytes, ...]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("ml-1m/README", "read me")
        for name, content in zip(GROUPLENS_1M, contents, strict=True):
            archive.writestr(f"ml-1m/{name}", content)
    return buffer.getvalue()


def test_ml_1m_comes_from_grouplens_zip(movie_files_1m, small_ml_1m: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "get", lambda url, **_: ml_1m_zip(movie_files_1m.grouplens))
    dataset = sources.load("ML-1M", notify=lambda _: None)
    assert dataset.content_digest() == small_ml_1m.content_digest()
    assert sources.read_stored("ml-1m").timestamps is not None


def test_without_network_the_way_out_is_the_files_on_disk(small_ml_1m: Dataset) -> None:
    with pytest.raises(DataError, match="cannot be reached.*or give its files: securerec data fetch ml-1m --from"):
        sources.load("ml-1m", notify=lambda _: None)


def test_ml_1m_is_read_from_a_folder_or_a_zip_file_on_disk(
    movie_files_1m, small_ml_1m: Dataset, tmp_path: Path
) -> None:
    folder = unpacked(tmp_path / "folder", GROUPLENS_1M, movie_files_1m.grouplens)
    archive = tmp_path / "ml-1m.zip"
    archive.write_bytes(ml_1m_zip(movie_files_1m.grouplens))
    for path in (folder, archive):
        lines: list[str] = []
        dataset = sources.fetch_from("ml-1m", path, notify=lines.append)
        assert dataset.content_digest() == small_ml_1m.content_digest()
        assert "research use only" in lines[0]


def test_ml_1m_without_timestamps_is_stored_as_such(movie_files_1m, small_ml_1m: Dataset, tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "folder", ARRAYS_1M, movie_files_1m.arrays)
    sources.fetch_from("ml-1m", folder, notify=lambda _: None)
    stored = sources.load("ml-1m")
    assert stored.timestamps is None and stored.tie_rule == BY_ROW
    assert stored.unordered_digest() == small_ml_1m.unordered_digest()


def test_ratings_are_preferred_to_arrays_since_they_have_timestamps(
    movie_files_1m, small_ml_1m: Dataset, tmp_path: Path
) -> None:
    names, contents = (*GROUPLENS_1M, "order.npz"), (*movie_files_1m.grouplens, movie_files_1m.arrays[0])
    folder = unpacked(tmp_path / "folder", names, contents)
    assert sources.fetch_from("ml-1m", folder, notify=lambda _: None).timestamps is not None


def test_altered_ml_1m_files_are_refused_and_nothing_is_stored(
    movie_files_1m, small_ml_1m: Dataset, tmp_path: Path
) -> None:
    ratings, users, movies = movie_files_1m.grouplens
    later = ratings.replace(b"::900\n", b"::950\n", 1)
    with pytest.raises(DataError, match="folder: ratings.dat is not the file that GroupLens publishes"):
        sources.fetch_from("ml-1m", unpacked(tmp_path / "folder", GROUPLENS_1M, (later, users, movies)))
    other = users.replace(b"90210", b"90211")
    for name, contents in (("a", (ratings, other, movies)), ("b", (movie_files_1m.arrays[0], other, movies))):
        names = GROUPLENS_1M if name == "a" else ARRAYS_1M
        with pytest.raises(DataError, match="not what was published"):
            sources.fetch_from("ml-1m", unpacked(tmp_path / name, names, contents))
    swapped = movie_files_1m.with_order(1, [0, 2, 1])
    with pytest.raises(DataError, match="not what was published"):
        sources.fetch_from("ml-1m", unpacked(tmp_path / "c", ARRAYS_1M, (swapped, users, movies)))
    assert cache.stored_names() == []


def test_files_that_are_missing_are_named(movie_files_1m, small_ml_1m: Dataset, tmp_path: Path) -> None:
    empty = unpacked(tmp_path / "empty", (), ())
    with pytest.raises(DataError, match="no ratings.dat there, and no .npz file"):
        sources.fetch_from("ml-1m", empty)
    half = unpacked(tmp_path / "half", GROUPLENS_1M[:2], movie_files_1m.grouplens[:2])
    with pytest.raises(DataError, match="movies.dat missing there"):
        sources.fetch_from("ml-1m", half)
    two = unpacked(tmp_path / "two", ("a.npz", "b.npz"), (b"", b""))
    with pytest.raises(DataError, match="and 2 .npz files"):
        sources.fetch_from("ml-1m", two)


def test_ml_100k_is_read_from_files_on_disk_too(movie_files, published: Dataset, tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "folder", ("u.data", "u.item", "u.user"), movie_files.grouplens)
    assert sources.fetch_from("ml-100k", folder).content_digest() == published.content_digest()


def test_only_known_data_sets_are_read_from_their_files(small: Dataset, known, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="did you mean ml-1m"):
        sources.fetch_from("ml1m", tmp_path)
    known(lambda: small)
    with pytest.raises(DataError, match="small cannot be read from files"):
        sources.fetch_from("small", tmp_path)
