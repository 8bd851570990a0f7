"""What waits on the disk: gives back what it was given, is nobody else's, and is gone with the round."""

import errno
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securerec.errors import RunError
from securerec.federation.spool import Spool

STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "delete", "clear"]), st.integers(0, 5), st.binary(max_size=2000)), max_size=40
)


@settings(deadline=None, max_examples=50)
@given(STEPS)
def test_it_holds_what_a_dictionary_would(tmp_path_factory: pytest.TempPathFactory, steps: Any) -> None:
    model: dict[int, bytes] = {}
    with Spool(tmp_path_factory.getbasetemp()) as spool:
        for act, number, data in steps:
            if act == "set":
                spool[number] = memoryview(data)
                model[number] = data
            elif act == "delete" and number in model:
                del spool[number], model[number]
            elif act == "clear":
                spool.clear()
                model.clear()
            assert dict(spool) == model and len(spool) == len(model)
        with pytest.raises(KeyError):
            spool[6]


def test_the_file_has_no_name_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool[1] = b"an upload"
        assert list(tmp_path.iterdir()) == []
        status = os.fstat(spool._file.fileno())
        assert status.st_mode & 0o777 == 0o600 and status.st_nlink == 0 and status.st_size == 9
        spool.clear()
        assert os.fstat(spool._file.fileno()).st_size == 0


def test_it_is_gone_when_the_round_ends_in_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Spool(tmp_path) as spool:
        spool[1] = b"an upload"
        raise ZeroDivisionError
    with pytest.raises(ValueError, match="closed file"):
        spool[1]


def test_memory_does_not_grow_with_what_waits(tmp_path: Path) -> None:
    data = bytes(200_000)
    with Spool(tmp_path) as spool:
        tracemalloc.start()
        for number in range(100):
            spool[number] = data
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert spool[99] == data and os.fstat(spool._file.fileno()).st_size == 100 * len(data)
    assert peak < len(data)


def test_a_full_disk_is_said_in_one_line_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Spool(tmp_path) as spool:
        spool[1] = b"first"
        with monkeypatch.context() as patched:
            patched.setattr(os, "pwrite", full)
            with pytest.raises(RunError, match="cannot wait in .*No space left on device.*: make room there"):
                spool[1] = b"second"
        assert spool[1] == b"first"


def test_short_writes_and_reads_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, read = os.pwrite, os.pread
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: write(file, data[:3], at))
    monkeypatch.setattr(os, "pread", lambda file, size, at: read(file, min(size, 2), at))
    with Spool(tmp_path) as spool:
        spool[1], spool[2] = b"0123456789", b"abc"
        assert spool[1] == b"0123456789" and spool[2] == b"abc"


def test_a_folder_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="uploads cannot wait in .*No such file"):
        Spool(tmp_path / "nowhere")
