"""Where a server keeps on a disk what waits until a later phase of a round."""

import errno
import os
import tempfile
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from types import TracebackType
from typing import Self

from securerec.errors import RunError


class Spool(MutableMapping[int, bytes | memoryview]):
    """Bytes by number, in one file without a name in a folder: no other process finds it, and it is gone when it is
    closed, however that comes about. Only the owner may read and write it.

    In memory is where each entry lies, about 200 bytes. What is taken out leaves its place in the file until `clear`.
    Use it in a `with`.
    """

    def __init__(self, folder: Path) -> None:
        """Raises RunError where the folder takes no file."""
        self._folder = folder
        self._where: dict[int, tuple[int, int]] = {}
        self._end = 0
        try:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        except OSError as error:
            raise self._refusal(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __repr__(self) -> str:
        return f"Spool({self._folder}, entries={len(self)}, bytes={self._end})"

    def __setitem__(self, number: int, data: bytes | memoryview) -> None:
        """Raises RunError for a full disk; what was there before stays."""
        left, at = memoryview(data), self._end
        try:
            while len(left):
                written = os.pwrite(self._file.fileno(), left, at)
                left, at = left[written:], at + written
        except OSError as error:
            raise self._refusal(error) from None
        self._where[number] = self._end, at - self._end
        self._end = at

    def __getitem__(self, number: int) -> bytes:
        start, size = self._where[number]
        data = os.pread(self._file.fileno(), size, start)
        while len(data) < size:
            more = os.pread(self._file.fileno(), size - len(data), start + len(data))
            if not more:
                raise RunError(f"what waited on the disk in {self._folder} is cut short: the round cannot go on")
            data += more
        return data

    def __delitem__(self, number: int) -> None:
        del self._where[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._where)

    def __len__(self) -> int:
        return len(self._where)

    def clear(self) -> None:
        """Take everything out, and give its room on the disk back."""
        self._where.clear()
        self._end = 0
        self._file.truncate(0)

    def _refusal(self, error: OSError) -> RunError:
        way_out = "make room there" if error.errno == errno.ENOSPC else "choose another folder"
        return RunError(f"uploads cannot wait in {self._folder} ({error.strerror}): {way_out}")
