import hashlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from securerec.data import cache, download, movielens, sources
from securerec.data.dataset import Dataset
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
    with pytest.raises(DataError, match="choose from ml-100k, my-films"):
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
    monkeypatch.setattr(sources, "_RECBOLE_FILES", dict(zip(sources._RECBOLE_FILES, hashes, strict=True)))
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
    local_wheel("recbole", "1.2.1", dict(zip(sources._RECBOLE_FILES, movie_files.recbole, strict=True)))
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
    local_wheel("recbole", "1.2.1", dict(zip(sources._RECBOLE_FILES, contents, strict=True)))
    with pytest.raises(
        DataError, match=r"ml-100k.user in the recbole wheel is not the file expected \(sha256 differs\)"
    ):
        sources.load("ml-100k", notify=lambda _: None)
