import gzip
import io
import tracemalloc
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from securerec.data import download
from securerec.errors import DataError


class Response(io.BytesIO):
    def __init__(self, body: bytes, url: str) -> None:
        super().__init__(body)
        self.url = url

    def geturl(self) -> str:
        return self.url


def answer(monkeypatch: pytest.MonkeyPatch, body: bytes, url: str = "https://example.org/a") -> None:
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Response(body, url))


def test_a_body_up_to_the_limit_arrives_and_one_beyond_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, b"x" * 1000)
    assert download.get("https://example.org/a", most_bytes=1000) == b"x" * 1000
    with pytest.raises(DataError, match="more than the 999 bytes"):
        download.get("https://example.org/a", most_bytes=999)


def test_nothing_is_read_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, b"x", url="http://example.org/a")
    with pytest.raises(DataError, match="redirects to http://example.org/a"):
        download.get("https://example.org/a", most_bytes=10)
    with pytest.raises(DataError, match="not an https address"):
        download.get("http://example.org/a", most_bytes=10)


def test_an_address_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, b"x" * 10)
    with pytest.raises(DataError, match="not done after 0 s"):
        download.get("https://example.org/a", most_bytes=10, total_seconds=0)


@pytest.mark.parametrize("error", [urllib.error.URLError("no route"), TimeoutError("no route"), OSError("no route")])
def test_an_unreachable_address_says_why(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    with pytest.raises(DataError, match=r"https://example.org/a cannot be reached \(no route\)"):
        download.get("https://example.org/a", most_bytes=10)


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_members_come_in_the_order_asked_for() -> None:
    assert download.members(zipped(a=b"1", b=b"22"), ["b", "a"], most_bytes=2) == [b"22", b"1"]


def test_a_member_that_unpacks_beyond_the_limit_is_refused() -> None:
    bomb = zipped(a=b"\0" * 5_000_000)
    assert len(bomb) < 20_000
    with pytest.raises(DataError, match="a unpacks to more than the 1000000 bytes"):
        download.members(bomb, ["a"], most_bytes=1_000_000)


def test_a_missing_member_and_a_damaged_archive_are_refused() -> None:
    archive = zipped(a=b"hello" * 100)
    with pytest.raises(DataError, match="lacks a file.*'b'"):
        download.members(archive, ["b"], most_bytes=1000)
    for damaged in (b"", b"not a zip", archive[:-30], archive.replace(archive[35:40], b"\xff" * 5)):
        with pytest.raises(DataError, match="damaged"):
            download.members(damaged, ["a"], most_bytes=1000)


def test_pip_brings_the_wheel_asked_for_and_says_why_it_cannot(local_wheel: Callable[..., Path]) -> None:
    pytest.importorskip("pip")
    path = local_wheel("tinydata", "1.0", {"tinydata/a.txt": b"hello"})
    assert download.wheel("tinydata==1.0", most_bytes=10_000) == path.read_bytes()
    with pytest.raises(DataError, match="larger than the 10 bytes"):
        download.wheel("tinydata==1.0", most_bytes=10)
    with pytest.raises(DataError, match="pip cannot download tinydata==2.0 .*No matching distribution"):
        download.wheel("tinydata==2.0", most_bytes=10_000)


def test_gunzip_gives_what_was_packed_and_no_more_than_allowed() -> None:
    packed = gzip.compress(b"x" * 5000)
    assert download.gunzip("a.gz", packed, most_bytes=5000) == b"x" * 5000
    with pytest.raises(DataError, match="a.gz unpacks to more than the 4999 bytes"):
        download.gunzip("a.gz", packed, most_bytes=4999)


def test_gunzip_stops_at_the_limit_whatever_the_file_would_unpack_to() -> None:
    bomb = gzip.compress(bytes(1 << 26))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="unpacks to more"):
            download.gunzip("a.gz", bomb, most_bytes=1 << 16)
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda packed: packed[:-1], "it is cut short"),
        (lambda packed: packed[:20], "it is cut short"),
        (lambda packed: b"", "it is cut short"),
        (lambda packed: packed + b"x", "something follows its end"),
        (lambda packed: packed + packed, "something follows its end"),
        (lambda packed: packed[:-8] + bytes(4) + packed[-4:], "damaged"),
        (lambda packed: b"no gzip", "damaged"),
    ],
)
def test_gunzip_refuses_damaged_files(change, message: str) -> None:
    with pytest.raises(DataError, match=f"a.gz is damaged.*{message if 'damaged' not in message else ''}"):
        download.gunzip("a.gz", change(gzip.compress(b"some text to pack")), most_bytes=1000)
