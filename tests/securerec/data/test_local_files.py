import io
import os
import zipfile
from pathlib import Path

import pytest

from securerec.data.local_files import files_at
from securerec.errors import DataError


def zipped(path: Path, **members: bytes) -> Path:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    path.write_bytes(buffer.getvalue())
    return path


def test_a_folder_and_a_zip_file_read_alike(tmp_path: Path) -> None:
    (tmp_path / "folder" / "deeper").mkdir(parents=True)
    (tmp_path / "folder" / "a").write_bytes(b"1")
    (tmp_path / "folder" / "b").write_bytes(b"22")
    archive = zipped(tmp_path / "f.zip", top__a=b"1", top__b=b"22")
    for path in (tmp_path / "folder", archive):
        files = files_at(path, most_bytes=1000)
        assert {name: read() for name, read in files.items()} == {"a": b"1", "b": b"22"}


def test_a_file_beyond_the_limit_is_refused_from_either(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 2001)
    with pytest.raises(DataError, match="a is larger than the 2000 bytes"):
        files_at(tmp_path, most_bytes=2000)["a"]()
    archive = zipped(tmp_path / "f.zip", a=b"\0" * 100_000)
    with pytest.raises(DataError, match="a unpacks to more than the 2000 bytes"):
        files_at(archive, most_bytes=2000)["a"]()
    with pytest.raises(DataError, match="f.zip is larger than the 50 bytes"):
        files_at(archive, most_bytes=50)


def test_what_is_neither_folder_nor_zip_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"hello")
    with pytest.raises(DataError, match="text is neither a folder nor a whole zip file"):
        files_at(tmp_path / "text", most_bytes=100)
    with pytest.raises(DataError, match="gone is missing: give the folder or the zip file"):
        files_at(tmp_path / "gone", most_bytes=100)


def test_one_of_two_files_with_the_same_name_is_refused_when_it_is_read(tmp_path: Path) -> None:
    files = files_at(zipped(tmp_path / "f.zip", one__a=b"1", two__a=b"2", b=b"3"), most_bytes=1000)
    assert files["b"]() == b"3"
    with pytest.raises(DataError, match="holds one/a and two/a: unpack it"):
        files["a"]()


def test_what_cannot_be_opened_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    files = files_at(tmp_path, most_bytes=10)
    (tmp_path / "a").unlink()
    with pytest.raises(DataError, match=r"a cannot be read \(No such file"):
        files["a"]()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert files_at(tmp_path, most_bytes=10) == {}
    with pytest.raises(DataError, match="pipe is neither a folder nor a whole zip file"):
        files_at(tmp_path / "pipe", most_bytes=10)
