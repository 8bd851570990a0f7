"""The same targets, guided by coverage: atheris (libFuzzer for Python) looks for bytes that reach new code.

The first byte of what it tries says how the rest is taken: even, as it is; odd, as the body of a message that its
sender signed. Loops that numba compiles cannot be watched, and are left as they are.
"""

import pkgutil
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import protocols
from protocols.codec import read_frame
from protocols.errors import ProtocolError
from protocols.fuzzing.targets import Target, WronglyAccepted, targets
from protocols.identity import SIGNATURE_BYTES, Identity

TIMEOUT_SECONDS = 5
"""For one message. More than the campaign's second: watched code is slower."""

ALLOCATION_MB = 64

_START = """
import sys, atheris
with atheris.instrument_imports(include=["protocols"], exclude=sys.argv[2].split(",")):
    from protocols.fuzzing.guided import fuzz
fuzz(sys.argv[1], [sys.argv[0], *sys.argv[3:]])
"""


def installed() -> bool:
    """Whether there is an atheris to run."""
    return find_spec("atheris") is not None


def guided(target: Target, *, seconds: int) -> tuple[bool, str]:
    """(whether nothing was found, the last lines of the report) of a run in a process of its own.

    The process must be one of its own because code is watched from its import on, and a finding ends it.
    """
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as folder:
        for number, seed in enumerate(_seeds(target)):
            (Path(folder) / f"seed-{number}").write_bytes(seed)
        flags = [
            f"-max_total_time={seconds}",
            f"-timeout={TIMEOUT_SECONDS}",
            f"-malloc_limit_mb={ALLOCATION_MB}",
            f"-max_len={len(target.sample) + 1024}",
            f"-artifact_prefix={folder}/",
            "-print_final_stats=1",
        ]
        command = [sys.executable, "-c", _START, target.name, ",".join(_compiled()), *flags, folder]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    return done.returncode == 0, done.stderr[-4000:]


def executions(report: str) -> int:
    """How many messages a report says were tried."""
    found = re.search(r"number_of_executed_units:\s*(\d+)", report)
    return int(found[1]) if found else 0


def fuzz(name: str, arguments: list[str]) -> None:
    """The process itself; never returns. arguments: libFuzzer's."""
    atheris: Any = import_module("atheris")
    target = targets()[name]

    def one(data: bytes) -> None:
        signed = bool(data) and data[0] & 1 and target.signer is not None
        message = target.signed(data[1:]) if signed else data[1:]
        try:
            target.make()(message)
        except ProtocolError:
            return
        if target.signer is not None and not signed and message != target.sample:
            raise WronglyAccepted("not signed")

    atheris.Setup(arguments, one)
    atheris.Fuzz()


def _seeds(target: Target) -> Iterator[bytes]:
    yield b"\0" + target.sample
    if target.signer is not None:
        if isinstance(target.signer, Identity):
            yield b"\1" + read_frame(target.sample).body
        else:
            yield b"\1" + target.sample[:-SIGNATURE_BYTES]


def _compiled() -> list[str]:
    """Modules whose loops numba compiles: it cannot compile what atheris has changed."""
    found = []
    for module in pkgutil.walk_packages(protocols.__path__, "protocols."):
        spec = find_spec(module.name)
        if spec is not None and spec.origin and "from numba import" in Path(spec.origin).read_text():
            found.append(module.name)
    return found
