"""Files that a person has already: in a folder, or in the zip file they came in."""

import io
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath

from securerec.data import download
from securerec.errors import DataError

Files = Mapping[str, Callable[[], bytes]]
"""What reads each file, by its name without folders."""


def files_at(path: Path, *, most_bytes: int) -> Files:
    """The files in a folder, or in a zip file under whatever folders it has; each at most `most_bytes` when read.

    Raises DataError when the path is neither or cannot be read. So does reading a file that is too large, damaged,
    unreadable, or one of two in the zip file with the same name.
    """
    if not path.exists():
        raise DataError(f"{path} is missing: give the folder or the zip file that holds the data set's files")
    if path.is_dir():
        return {entry.name: partial(_read, entry, most_bytes) for entry in _entries(path) if entry.is_file()}
    found = files_in(_read(path, most_bytes), most_bytes=most_bytes) if path.is_file() else None
    if found is None:
        raise DataError(f"{path} is neither a folder nor a whole zip file: give one that holds the data set's files")
    return found


def files_in(archive: bytes, *, most_bytes: int) -> Files | None:
    """The files in a zip file's bytes, as `files_at` gives them; None when they are no zip file."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            members = [name for name in opened.namelist() if not name.endswith("/")]
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError):
        return None
    by_name: dict[str, list[str]] = {}
    for member in members:
        by_name.setdefault(PurePosixPath(member).name, []).append(member)
    return {name: partial(_member, archive, found, most_bytes) for name, found in by_name.items()}


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise _unreadable(folder, error) from None


def _read(path: Path, most_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise _unreadable(path, error) from None
    if len(content) > most_bytes:
        raise DataError(f"{path.name} is larger than the {most_bytes} bytes expected at most")
    return content


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path} cannot be read ({error.strerror}): check the path and its permissions")


def _member(archive: bytes, found: list[str], most_bytes: int) -> bytes:
    if len(found) > 1:
        raise DataError(
            f"the zip file holds {' and '.join(found[:2])}: unpack it and give the folder with the right one"
        )
    return download.members(archive, found, most_bytes=most_bytes)[0]
