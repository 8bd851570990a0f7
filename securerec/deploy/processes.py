"""The processes of a federation on one machine: starting them, finding them again, ending them.

A process is born with a lock on `logs/NAME.lock`, which its death releases however it dies, and its number stands in
that file: who is alive is never guessed from a number alone.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from securerec.deploy.layout import Layout, Public, write_superlink
from securerec.errors import RunError

ENV = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
"""Many processes share the cores, and sums of floats must not depend on how many threads share them."""

PATIENCE = 10.0
"""Seconds between asking a process to end and ending it."""


@dataclass(frozen=True, slots=True)
class Process:
    """name: of its folder. number: the operating system's, None while it does not run. log: its file."""

    name: str
    number: int | None
    log: Path


def names_of(layout: Layout) -> list[str]:
    """All processes of a federation, in the order in which they start."""
    parties = [path.name for path in (*layout.decryptors(), *layout.nodes())]
    return ["superlink", "server", *parties]


def logs_of(layout: Layout) -> Path:
    return layout.path / "logs"


def processes(layout: Layout) -> list[Process]:
    """All of them, alive or not."""
    return [Process(name, _alive(layout, name), logs_of(layout) / f"{name}.log") for name in names_of(layout)]


def start(layout: Layout, name: str, *options: str) -> "subprocess.Popen[bytes]":
    """Start a process in a session of its own, so that a Ctrl-C meant for its starter does not reach it.

    It is alive, to everybody who asks, from before it is there: it is born with its lock. Raises RunError where it runs
    already.
    """
    logs = logs_of(layout)
    logs.mkdir(mode=0o700, exist_ok=True)
    command = [sys.executable, "-m", "securerec", "deploy", *command_of(layout, name), *options]
    with open(logs / f"{name}.lock", "a") as lock, open(logs / f"{name}.log", "ab") as log:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _runs_already(layout, name) from None
        lock.truncate(0)
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, **ENV}, pass_fds=(lock.fileno(),),
        )  # fmt: skip
        lock.write(str(child.pid))
    return child


def refuse_if_any_runs(layout: Layout) -> None:
    """Raises RunError where a process of the federation is alive on this machine."""
    for process in processes(layout):
        if process.number is not None:
            raise _runs_already(layout, process.name)


def _runs_already(layout: Layout, name: str) -> RunError:
    return RunError(f"{name} runs already: `securerec deploy down {layout.path}` ends this federation's processes")


def command_of(layout: Layout, name: str) -> list[str]:
    """What starts a process, after `securerec deploy`."""
    kind = name if name in ("superlink", "server") else "party"
    return [kind, str(layout.path / name), "--public", str(layout.public)]


def _alive(layout: Layout, name: str) -> int | None:
    path = logs_of(layout) / f"{name}.lock"
    try:
        with path.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: who looks is not what lives
            except BlockingIOError:
                text = file.read()
                return int(text) if text.isdigit() else None
    except OSError:
        return None
    return None


def down(layout: Layout) -> int:
    """End what runs, the SuperLink last, so that the others can say goodbye. Returns how many there were."""
    alive = [process for process in processes(layout) if process.number is not None]
    parties = [process for process in alive if process.name != "superlink"]
    for group in (parties, [process for process in alive if process.name == "superlink"]):
        _end(layout, group)
    return len(alive)


def _end(layout: Layout, group: list[Process]) -> None:
    for process in group:
        if process.number is not None:
            with suppress(ProcessLookupError):
                os.kill(process.number, signal.SIGTERM)
    end = time.monotonic() + PATIENCE
    while any(_alive(layout, process.name) for process in group) and time.monotonic() < end:
        time.sleep(0.05)
    for process in group:
        number = _alive(layout, process.name)
        if number is not None:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


def end_children(children: Mapping[str, "subprocess.Popen[bytes]"]) -> None:
    """End what this process has started, and nothing else; the SuperLink last. They are gone when it returns."""
    parties = [child for name, child in children.items() if name != "superlink"]
    for group in (parties, [child for name, child in children.items() if name == "superlink"]):
        for child in group:
            child.terminate()
        end = time.monotonic() + PATIENCE
        for child in group:
            try:
                child.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def choose_port(layout: Layout) -> None:
    """Keep the SuperLink's port on this machine if it is free, and write another one down if it is not."""
    host, _, port = Public.open(layout.public).superlink().rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family) as trial:
        try:
            trial.bind((host.strip("[]"), int(port)))
            return
        except OSError:
            trial.bind((host.strip("[]"), 0))
            write_superlink(layout.public, f"{host}:{trial.getsockname()[1]}")
