"""`securerec run` and `securerec resume`: the rounds, live, then the figures."""

import math
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from securerec.audit.recording import recorder_of, view_bytes
from securerec.cli.figures import run_tables
from securerec.cli.options import merged, with_settings
from securerec.cli.output import JsonFile, emit
from securerec.config import make_config, read_config
from securerec.data import sources
from securerec.errors import ConfigError, RunError
from securerec.federation import results
from securerec.federation.continuing import open_run
from securerec.federation.folder import RunFolder
from securerec.federation.run import Progress as RoundProgress
from securerec.federation.run import Run
from securerec.machine import usable_cores

MOST_VIEWS = 4 << 30
"""Bytes of views that are recorded without being asked twice."""

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")]


@with_settings
def run_command(
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder of the run [dim](default: a new one in runs/)[/dim]."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML; flags go before them.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help=f"Record views also where they may take more than {MOST_VIEWS >> 30} GiB.")
    ] = False,
    json_file: JsonFile = None,
    settings: dict[str, Any] | None = None,
) -> None:
    """Train a federated recommender: every upload clipped, noised, encrypted, and opened only as a sum.

    Without any option it trains on MovieLens-100K at a central epsilon of 8 for each user, with CKKS, and ends with the
    figures under three evaluation protocols beside their baselines. Ctrl-C stops it; `securerec resume RUN` goes on.
    """
    file = read_config(config) if config else {}
    make_config(file)
    settled = make_config(merged(file, settings or {}))
    dataset = sources.load_distinct(settled.data.dataset)
    resolved = settled.resolved(dataset.interactions.n_users, dataset.interactions.n_items)
    size = view_bytes(resolved, dataset)
    if size > MOST_VIEWS and not yes:
        raise ConfigError(
            f"the views of {len(resolved.views.view_rounds or ())} rounds may take {size / 2**30:.1f} GiB: record "
            "fewer with --view-rounds, or say --yes"
        )
    path = out or Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{dataset.name}"
    execute(Run.create(path, resolved, dataset), json_file)


def resume_command(run: RunPath, json_file: JsonFile = None) -> None:
    """Go on with a run that was stopped or killed; it ends with the same model and figures as without the stop.

    A finished run prints its figures again.
    """
    folder = RunFolder.open(run)
    if folder.results() is None:
        execute(open_run(folder, sources.load(folder.config().data.dataset)), json_file)
    else:
        with folder.locked():
            folder.clear_rounds()
        _print(folder, json_file)


def execute(run: Run, json_file: str | None) -> None:
    """Play what is missing of a run, and print its figures."""
    console = Console(stderr=json_file == "-")
    processes = run.config.protocol.workers or usable_cores()
    recorder = None
    if run.config.views.record_views:
        recorder = recorder_of(run)
    _announce(run, console)
    with _bar(console) as bar:
        task = bar.add_task("rounds", total=run.rounds, state="starting", completed=0)
        try:
            results.execute(run, processes, lambda progress: _show(bar, task, run, progress), recorder)
        except KeyboardInterrupt:
            bar.stop()
            console.print(Text(f"Stopped. Go on with: securerec resume {run.folder.path}"), soft_wrap=True)
            raise typer.Exit(130) from None
    _print(run.folder, json_file)


def _print(folder: RunFolder, json_file: str | None) -> None:
    figures = (folder.results() or {}) | {"run": str(folder.path), "seconds": folder.seconds()}
    try:
        tables = run_tables(figures)
    except KeyError as error:
        raise RunError(f"{folder.path / 'results.json'} lacks {error}: it is damaged or of another version") from None
    emit(figures, json_file, *tables)


def _announce(run: Run, console: Console) -> None:
    config = run.config
    console.print(Text(f"Run folder: {run.folder.path}"), soft_wrap=True)
    if not config.privacy.privacy:
        console.print(
            "[bold red]NO PRIVACY: uploads are neither clipped nor noised; no epsilon holds for this run.[/bold red]"
        )
    if config.privacy.unit == "interaction":
        console.print(
            "[bold yellow]Unit: one interaction. Whether one item is in a history cannot be told; "
            f"{results.NO_USER_LEVEL}.[/bold yellow]"
        )
    if config.protocol.protocol == "plain":
        console.print(
            "[bold yellow]Protocol plain: the server sees every upload in the clear. For experiments.[/bold yellow]"
        )
    if config.seed is not None and config.privacy.privacy:
        console.print(
            "[yellow]--seed: the noise is reproducible, so the epsilons below hold in simulation only.[/yellow]"
        )
    if config.views.record_views:
        size = view_bytes(config, run.dataset) / 2**20
        text = Text(
            f"Recording views in {run.folder.views}, {size:,.0f} MiB at most: that folder is secret data.",
            style="yellow",
        )
        console.print(text, soft_wrap=True)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("round {task.completed:>3.0f}/{task.total:.0f}"),
        BarColumn(bar_width=12),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
        console=console,
        refresh_per_second=4,
    )


def _show(bar: Progress, task: Any, run: Run, progress: RoundProgress) -> None:
    spent = progress.spent
    epsilon = "no epsilon" if math.isinf(spent.epsilon) else f"{spent.unit} epsilon {spent.epsilon:.2f}"
    bar.update(
        task, completed=progress.round_number,
        state=f"loss {progress.loss:.3f}, {run.headline} {progress.validation:.3f}, {epsilon}, "
        + ("no bytes sent" if progress.bytes_sent is None else f"{progress.bytes_sent / 1e6:,.0f} MB"),
    )  # fmt: skip
    if progress.round_number == progress.rounds:
        bar.console.print("Rounds done; evaluating the model and its baselines ...")
