import contextlib
import io
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from securerec.cli import main

REDIRECTIONS = (contextlib.redirect_stdout, contextlib.redirect_stderr)
Securerec = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def securerec(monkeypatch: pytest.MonkeyPatch) -> Iterator[Securerec]:
    """Runs the command with these arguments and checks its exit code (not if None); a traceback is never right.

    In this process, which saves seconds a call; `test_interruption.py` starts real ones.
    """

    def call(*arguments: str | Path, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr("sys.argv", ["securerec", *map(str, arguments)])
        streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2)]
        out, err = (redirect(s) for redirect, s in zip(REDIRECTIONS, streams, strict=True))
        with out, err, pytest.raises(SystemExit) as left:
            main()
        output, errors = (stream.buffer.getvalue().decode() for stream in streams)
        found = left.value.code or 0
        assert isinstance(found, int)
        assert code is None or found == code, errors
        return subprocess.CompletedProcess(list(arguments), found, output, errors)

    yield call
