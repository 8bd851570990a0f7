import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Securerec = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def securerec() -> Securerec:
    """Runs the command as a user would, and checks its exit code; a traceback is never right."""

    def call(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "securerec", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return call
