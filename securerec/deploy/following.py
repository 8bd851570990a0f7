"""How far a federation's run is, from the server's own files and log, and following it live."""

import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from securerec.deploy.layout import Layout, Public
from securerec.deploy.logs import parsed, read_log
from securerec.deploy.processes import Process, logs_of

_LOOK_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class RunProgress:
    """rounds: planned. opened: names of the attempts that were opened. given_up: of those that were not. epsilon:
    central, None before the first or without privacy.
    """

    rounds: int
    releases: int
    opened: tuple[str, ...]
    given_up: tuple[str, ...]
    epsilon: float | None
    seconds: float

    @property
    def rounds_done(self) -> int:
        return sum(name.startswith("round ") for name in self.opened)

    @property
    def done(self) -> bool:
        return len(self.opened) == self.releases

    def sentence(self) -> str:
        """For a title."""
        epsilon = "" if self.epsilon is None else f", central epsilon {self.epsilon:.2f}"
        lost = f", {len(self.given_up)} attempts given up" if self.given_up else ""
        state = "done" if self.done else self.opened[-1] + " opened" if self.opened else "nothing opened yet"
        return f"round {self.rounds_done} of {self.rounds}: {state}{epsilon}{lost}"

    def figures(self) -> dict[str, Any]:
        return {
            "rounds": self.rounds, "rounds_done": self.rounds_done, "opened": list(self.opened),
            "given_up": list(self.given_up), "central_epsilon": self.epsilon, "seconds": self.seconds,
        }  # fmt: skip

    @staticmethod
    def last_event(process: Process) -> str:
        """Of a process's log."""
        last = ""
        for line in read_log(process.log):
            because = f": {line['because']}" if "because" in line else ""
            last = f"{line['event']}{because}"
        return last[:120]


def progress_of(layout: Layout, public: Public) -> RunProgress:
    """From `rounds.jsonl`, which the server writes whole."""
    path = layout.server / "run" / "rounds.jsonl"
    lines = [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []
    opened = tuple(line["attempt"] for line in lines if line["outcome"] == "opened")
    rounds = public.config.training.rounds or 0
    before = sum(release != "round" for release in public.start.releases)
    epsilon = lines[-1]["central_epsilon"] if lines else None
    seconds = sum(sum(line["seconds"].values()) for line in lines)
    given_up = tuple(line["attempt"] for line in lines if line["outcome"] != "opened")
    return RunProgress(rounds, before + rounds, opened, given_up, epsilon, seconds)


@dataclass(slots=True)
class _Tail:
    """What was added to a log since the last look."""

    path: Path
    at: int = 0
    rest: str = field(default="", repr=False)

    def lines(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        with self.path.open(errors="replace") as file:
            file.seek(self.at)
            text = self.rest + file.read()
            self.at = file.tell()
        *whole, self.rest = text.split("\n")
        return [parsed(line) for line in whole if line]


def follow(
    layout: Layout, public: Public, children: Mapping[str, "subprocess.Popen[bytes]"], console: Console
) -> int:  # fmt: skip
    """Show the run until the server's process ends. Returns its exit status, or 1 where the SuperLink ended before."""
    log = logs_of(layout) / "server.log"
    tail = _Tail(log, log.stat().st_size if log.exists() else 0)
    known = progress_of(layout, public)
    columns = (TextColumn("{task.completed:>3.0f}/{task.total:.0f}"), BarColumn(bar_width=12))
    state = TextColumn("{task.fields[state]}", markup=False)
    gone: set[str] = set()
    with Progress(*columns, state, TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("releases", total=known.releases, completed=len(known.opened), state="starting")
        while True:
            ended = children["server"].poll()
            for line in tail.lines():
                _show(line, bar, task)
            bar.update(task, completed=len(progress_of(layout, public).opened))
            for name, child in children.items():
                if name not in gone and name != "server" and child.poll() is not None:
                    gone.add(name)
                    bar.console.print(Text(f"{name} ended with status {child.returncode}", style="yellow"))
            if ended is not None:
                break
            if "superlink" in gone:
                bar.console.print(Text(f"see {logs_of(layout) / 'superlink.log'}"), soft_wrap=True)
                return 1
            time.sleep(_LOOK_SECONDS)
    now = progress_of(layout, public)
    console.print(Text(now.sentence()))
    if ended:
        console.print(Text(f"the server ended with status {ended}: securerec deploy logs {layout.path} server"))
    elif now.done:
        console.print(Text(f"Model: {layout.server / 'run' / 'model.safetensors'}"), soft_wrap=True)
    return int(ended)


def _show(line: Mapping[str, Any], bar: Progress, task: Any) -> None:
    match line.get("event"):
        case "phase over":
            state = f"{line['attempt']}: {line['phase']}, {line['heard']} of {line['asked']} in {line['seconds']:.1f} s"
            bar.update(task, state=state)
        case "attempt over":
            epsilon = line.get("central_epsilon")
            spent = "" if epsilon is None else f", central epsilon {epsilon:.2f}"
            what = "opened" if line["outcome"] == "opened" else f"given up: {line['reason']}"
            bar.console.print(
                Text(
                    f"{line['attempt']} {what}: {line['survivors']} survivors, {line['seconds']:.1f} s, "
                    f"{(line['sent'] + line['received']) / 1e6:.1f} MB{spent}"
                )
            )
        case "metrics":
            bar.console.print(Text(f"Metrics: {line['address']}"), soft_wrap=True)
        case "ended":
            bar.console.print(Text(f"error: {line.get('because', '')}", style="red"), soft_wrap=True)
