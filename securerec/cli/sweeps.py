"""What the commands that sweep have in common: a bar of cells, failed cells, figures with their intervals."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from securerec.evaluation.intervals import Interval
from securerec.experiments.sweeps.cells import Cell
from securerec.experiments.sweeps.sweep import Swept

CELL_FAILED = 1
"""Exit code where a cell failed and the others went on."""


@contextmanager
def sweep_progress(console: Console, folder: Path, cells: Sequence[Cell]) -> Iterator[Callable[[Cell, bool], None]]:
    """A bar of settled cells; Ctrl-C leaves with 130."""
    bar = Progress(
        TextColumn("{task.completed:>3.0f}/{task.total:.0f} cells"), BarColumn(bar_width=16),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[state]}"),
        console=console, refresh_per_second=2,
    )  # fmt: skip
    try:
        with bar:
            task = bar.add_task("cells", total=len({cell.digest() for cell in cells}), state="starting")
            yield lambda cell, kept: bar.update(task, advance=1, state=f"{cell}{' (kept)' if kept else ''}")
    except KeyboardInterrupt:
        console.print(Text(f"Stopped. Run the same command with --out {folder} to go on."), soft_wrap=True)
        raise typer.Exit(130) from None


def failures_of(cells: Sequence[Cell], swept: Swept) -> dict[str, str]:
    """Why a cell failed, by what it is called."""
    return {str(cell): swept.failed[cell.digest()] for cell in cells if cell.digest() in swept.failed}


def shown(interval: Interval | None, *, signed: bool = False) -> str:
    if interval is None:
        return ""
    mean = f"{interval.mean:+.3f}" if signed else f"{interval.mean:.3f}"
    return f"{mean} ±{(interval.high - interval.low) / 2:.3f}"
