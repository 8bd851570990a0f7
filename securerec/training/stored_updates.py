"""Everybody's changes of a round in a file, which stands in for what in life lies on as many devices.

In memory is where each client's lie, 32 bytes a client; a change is read when it is asked for, and read anew each time.
"""

import errno
import os
import tempfile
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from securerec.errors import RunError
from securerec.training.updates import Change, CohortUpdate, digest_of, place_of

_BUFFER = 1 << 20
_NUMBER = 4
"""Bytes of an item number and of a number of its row."""


@dataclass(frozen=True, eq=False)
class StoredUpdates:
    """Client `clients[i]` changed `counts[i]` rows. At byte `rows_at[i]` of a file are their numbers, int32, and at
    `delta_at[i]` their change, float32, `width` numbers a row.

    clients: (n,) int64, rising; the others (n,) int64. owner: what keeps the file there, None where something else
    does.
    """

    path: Path
    clients: NDArray[np.int64]
    counts: NDArray[np.int64]
    rows_at: NDArray[np.int64]
    delta_at: NDArray[np.int64]
    width: int
    owner: Any = field(default=None, repr=False)

    def of(self, client: int) -> Change:
        """One client's, read-only. Raises RunError where the file is gone or too short."""
        place = place_of(self.clients, client)
        count = int(self.counts[place])
        try:
            file = os.open(self.path, os.O_RDONLY)
            try:
                rows = self._read(file, int(self.rows_at[place]), count * _NUMBER)
                delta = self._read(file, int(self.delta_at[place]), count * self.width * _NUMBER)
            finally:
                os.close(file)
        except OSError as error:
            raise RunError(f"{self.path} cannot be read: {error.strerror}") from None
        return np.frombuffer(rows, np.int32), np.frombuffer(delta, np.float32).reshape(count, self.width)

    def _read(self, file: int, start: int, size: int) -> bytes:
        data = os.pread(file, size, start)
        while len(data) < size:
            more = os.pread(file, size - len(data), start + len(data))
            if not more:
                raise RunError(f"{self.path} is cut short: the devices' own views of the items are lost with it")
            data += more
        return data

    def digest(self) -> str:
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return digest_of(self, self.clients, self.counts)

    def part(self, clients: NDArray[np.int64]) -> "StoredUpdates":
        """Where these clients' changes lie; the file stays only as long as the whole does."""
        places = np.array([place_of(self.clients, int(client)) for client in clients], np.int64)
        return replace(
            self, clients=clients, counts=self.counts[places], rows_at=self.rows_at[places],
            delta_at=self.delta_at[places], owner=None,
        )  # fmt: skip


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


class UpdateStore:
    """Takes changes as a round gives them to `keep` of `RowTrainer.stream`, from several threads at once.

    Only the owner may read the file, and it goes when what was stored there is not used any more. One that a killed
    process leaves has a name that `RunFolder.locked` clears away.
    """

    def __init__(self, folder: Path, n_clients: int, width: int) -> None:
        """Raises RunError where the folder takes no file."""
        self._folder, self._width, self._end = folder, width, 0
        self._counts, self._at = np.zeros(n_clients, np.int64), np.zeros(n_clients, np.int64)
        self._lock = threading.Lock()
        try:
            self._file = tempfile.NamedTemporaryFile(  # noqa: SIM115
                dir=folder, prefix=".changes.", suffix=".tmp", buffering=_BUFFER, delete=False
            )
        except OSError as error:
            raise self._refusal(error) from None
        # who deletes the whole folder in the meantime has done it already
        weakref.finalize(self._file, _remove, self._file.name)

    def __call__(self, first: int, update: CohortUpdate) -> None:
        """Changes of consecutive clients, the first of which has the number `first`. Raises RunError for a full
        disk.
        """
        n_clients, sizes = len(update.counts), update.counts * (1 + self._width) * _NUMBER
        with self._lock:
            self._counts[first : first + n_clients] = update.counts
            self._at[first : first + n_clients] = self._end + np.cumsum(sizes) - sizes
            self._end += int(sizes.sum())
            try:
                for client in range(n_clients):
                    for part in update.of(client):
                        self._file.write(part.data)
                self._file.flush()
            except OSError as error:
                raise self._refusal(error) from None

    def stored(self) -> StoredUpdates:
        """All that was taken; nobody changed anything who is not among it."""
        return StoredUpdates(
            Path(self._file.name), np.arange(len(self._counts)), self._counts, self._at,
            self._at + self._counts * _NUMBER, self._width, self._file,
        )  # fmt: skip

    def _refusal(self, error: OSError) -> RunError:
        way_out = "make room there" if error.errno == errno.ENOSPC else "choose another folder"
        return RunError(f"the devices' changes cannot be kept in {self._folder} ({error.strerror}): {way_out}")
