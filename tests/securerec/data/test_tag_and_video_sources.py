import gzip
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from securerec.data import amazon_video, cache, download, lastfm, origins, sources
from securerec.data.dataset import Dataset
from securerec.errors import DataError

TAGGED = [(user, artist, tag) for user in (4, 8) for artist in (5, 6, 7) for tag in (1, 2) if artist != 6 or tag == 1]
DATES = "userID\tartistID\ttagID\tday\tmonth\tyear\r\n" + "".join(
    f"{u}\t{a}\t{t}\t1\t2\t2010\r\n" for u, a, t in TAGGED
)
TIMES = "userID\tartistID\ttagID\ttimestamp\r\n" + "".join(f"{u}\t{a}\t{t}\t1264978800000\r\n" for u, a, t in TAGGED)
BOTH = "userID,artistID,tagID,day,month,year,timestamp_ms\n" + "".join(
    f"{u},{a},{t},1,2,2010,1264978800000\n" for u, a, t in TAGGED
)
ARTISTS = "id\tname\turl\tpictureURL\r\n5\tFive\tx\ty\r\n6\tSix\tx\t\r\n"
RATINGS = "".join(
    f"A{'ABC'[user] * 9},B{item:09d},4.0,{86400 * item}\n" for user in range(3) for item in range(3 + 2 * user)
)


@pytest.fixture(autouse=True)
def pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry's entries, pinned to the small data instead of the real ones."""
    rows = lastfm.rows_of_csv(BOTH.encode())
    known = [
        lastfm.distinct_pairs(rows, {}),
        lastfm.tag_assignments(rows, {}),
        amazon_video.from_ratings(RATINGS.encode()),
    ]
    for dataset in known:
        entry = replace(sources.REGISTRY[dataset.name], digest=dataset.content_digest())
        monkeypatch.setitem(sources.REGISTRY, dataset.name, entry)


def folder(path: Path, **contents: str | bytes) -> Path:
    path.mkdir()
    for name, content in contents.items():
        (path / name.replace("__", ".").replace("_timestamps", "-timestamps")).write_bytes(
            content if isinstance(content, bytes) else content.encode()
        )
    return path


def archive(**contents: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in contents.items():
            opened.writestr(name.replace("__", ".").replace("_timestamps", "-timestamps"), content)
    return buffer.getvalue()


def fetched(name: str, path: Path) -> Dataset:
    return sources.fetch_from(name, path, notify=lambda _: None)


@pytest.mark.parametrize("name", ["lastfm-2k", "lastfm-2k-tags"])
def test_last_fm_is_read_from_each_of_its_files_packed_or_not(tmp_path: Path, name: str) -> None:
    folders = [
        folder(tmp_path / "a", user_taggedartists__dat=DATES),
        folder(tmp_path / "b", user_taggedartists_timestamps__dat=TIMES, user_taggedartists__dat="not looked at"),
        folder(tmp_path / "c", user_taggedartists_full__csv__gz=gzip.compress(BOTH.encode())),
        folder(tmp_path / "d", user_taggedartists__dat=DATES, artists__dat=ARTISTS),
    ]
    found = [fetched(name, path) for path in folders]
    assert len({dataset.digest() for dataset in found}) == 1
    assert [dataset.titles for dataset in found] == [("5", "6", "7")] * 3 + [("Five", "Six", "7")]
    assert sources.load(name).titles == ("Five", "Six", "7")


def test_pairs_and_assignments_are_two_data_sets_of_the_same_users_and_items(tmp_path: Path) -> None:
    path = folder(tmp_path / "a", user_taggedartists__dat=DATES)
    pairs, tags = fetched("lastfm-2k", path), fetched("lastfm-2k-tags", path)
    assert (pairs.user_ids, pairs.item_ids) == (tags.user_ids, tags.item_ids)
    assert (pairs.interactions.n_interactions, tags.interactions.n_interactions) == (6, 10)
    assert [dataset.has_repeats for dataset in (pairs, tags)] == [
        sources.REGISTRY[name].has_repeats for name in ("lastfm-2k", "lastfm-2k-tags")
    ]


def test_last_fm_comes_from_grouplens_zip_with_names(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    body = archive(user_taggedartists_timestamps__dat=TIMES, user_taggedartists__dat=DATES, artists__dat=ARTISTS)
    monkeypatch.setattr(download, "get", lambda url, **_: asked.append(url) or body)
    lines: list[str] = []
    assert sources.load("Lastfm-2K", notify=lines.append).titles == ("Five", "Six", "7")
    assert asked == ["https://files.grouplens.org/datasets/hetrec2011/hetrec2011-lastfm-2k.zip"]
    assert "non-commercial" in lines[0]
    monkeypatch.setattr(download, "get", lambda url, **_: b"<html>moved</html>")
    with pytest.raises(DataError, match="hetrec2011-lastfm-2k.zip is not a zip file.*--from FOLDER"):
        sources.load("lastfm-2k-tags", notify=lines.append)


def test_names_may_differ_between_sources_but_nothing_else_may(tmp_path: Path) -> None:
    other = DATES.replace("8\t7\t2\t1\t2", "8\t7\t2\t1\t3")
    with pytest.raises(DataError, match="not what was published"):
        fetched("lastfm-2k-tags", folder(tmp_path / "a", user_taggedartists__dat=other))
    assert cache.stored_names() == []


def test_amazon_video_is_read_from_either_file_packed_or_not(tmp_path: Path) -> None:
    active = "".join(line for line in RATINGS.splitlines(keepends=True) if not line.startswith("AA"))
    folders = [
        folder(tmp_path / "a", ratings__dat=active),
        folder(tmp_path / "b", ratings__dat__gz=gzip.compress(active.encode())),
        folder(tmp_path / "c", ratings_Amazon_Instant_Video__csv=RATINGS),
    ]
    assert len({fetched("amazon-video", path).content_digest() for path in folders}) == 1


def test_amazon_video_comes_from_everybodys_ratings_over_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "get", lambda url, **_: RATINGS.encode())
    lines: list[str] = []
    assert sources.load("amazon-video", notify=lines.append).user_ids == ("ABBBBBBBBB", "ACCCCCCCCC")
    assert "research use only" in lines[0]
    assert sources.read_stored("amazon-video").interactions.counts().tolist() == [5, 7]


def test_files_that_are_missing_damaged_or_too_large_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = folder(tmp_path / "empty")
    with pytest.raises(
        DataError, match="none of user_taggedartists-timestamps.dat, .* there, nor one of them with .gz"
    ):
        fetched("lastfm-2k", empty)
    with pytest.raises(DataError, match="none of ratings.dat, ratings_Amazon_Instant_Video.csv there"):
        fetched("amazon-video", empty)
    short = folder(tmp_path / "short", ratings__dat__gz=gzip.compress(RATINGS.encode())[:-4])
    with pytest.raises(DataError, match=r"ratings.dat.gz is damaged \(it is cut short\)"):
        fetched("amazon-video", short)
    bad = folder(tmp_path / "bad", ratings__dat__gz=gzip.compress(RATINGS.replace("4.0", "4", 1).encode()))
    with pytest.raises(DataError, match="bad: ratings.dat.gz, line 1: not a user, a product"):
        fetched("amazon-video", bad)
    monkeypatch.setattr(origins, "MOST_FILE_BYTES", 400)
    with pytest.raises(DataError, match="ratings.dat.gz unpacks to more than the 400 bytes"):
        fetched("amazon-video", folder(tmp_path / "large", ratings__dat__gz=gzip.compress(RATINGS.encode())))
