"""`securerec audit`: attacks on what was recorded of a run, or on every defence of a data set."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from attacks.errors import AttackError
from securerec.audit.grid import attack_grid
from securerec.audit.whole import audit_run
from securerec.cli.audit_tables import attack_list, audit_tables, grid_tables
from securerec.cli.output import JsonFile, emit
from securerec.data import sources
from securerec.errors import ConfigError
from securerec.federation.folder import RunFolder
from securerec.machine import usable_cores


def audit_command(
    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="A run's folder, with recorded views.")] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", metavar="NAME", help="Train under each defence on this data set, and attack each."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="With --dataset: where the grid's runs lie [dim](default: audits/NAME)[/dim]."
        ),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option("--rounds", min=1, metavar="N", help="With --dataset: fewer rounds, for a quick look.")
    ] = None,
    keep_views: Annotated[
        bool, typer.Option("--keep-views", help="With --dataset: keep the recorded views, which are secret data.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Seed of all that an audit draws.")] = 0,
    listed: Annotated[bool, typer.Option("--list", help="Explain each attack, its adversary and its source.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Attack what adversaries saw of a run that was made with --record-views, or every defence of a data set.

    Each attack's result stands beside a control that needs no view, popularity or chance, with 95% intervals: an attack
    is worth something as far as it gets beyond its control.
    """
    console = Console(stderr=True)
    if listed:
        Console(stderr=json_file == "-").print(attack_list(), highlight=False)
    elif (run is None) == (dataset is None):
        raise ConfigError("name a RUN to attack, or --dataset NAME to train and attack every defence on it")
    elif run is not None:
        _audit_run(run, seed, console, json_file)
    else:
        _audit_grid(str(dataset), out, seed, rounds, keep_views, console, json_file)


def _audit_run(run: Path, seed: int, console: Console, json_file: str | None) -> None:
    folder = RunFolder.open(run)
    with _progress(console) as say:
        audit = audit_run(folder, sources.load(folder.config().data.dataset), seed=seed, step=say)
    emit({"run": str(run)} | audit.to_json(), json_file, *audit_tables(audit))
    if audit.broken:
        raise typer.Exit(AttackError.exit_code)


def _audit_grid(
    name: str,
    out: Path | None,
    seed: int,
    rounds: int | None,
    keep_views: bool,
    console: Console,
    json_file: str | None,
) -> None:
    data, folder = sources.load_distinct(name), out or Path("audits") / name
    console.print(f"Grid folder: {folder} (run the same command again to go on after a stop)", soft_wrap=True)
    with _progress(console) as say:
        rows = attack_grid(
            folder, data, seed=seed, workers=usable_cores(), step=say, rounds=rounds, keep_views=keep_views
        )
    figures = [{"defence": row.defence, "utility": row.utility, "findings": row.findings} for row in rows]
    emit({"dataset": name, "seed": seed, "defences": figures}, json_file, *grid_tables(rows))


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[str], None]]:
    """A line that says what goes on; Ctrl-C leaves with 130."""
    try:
        with console.status("starting ...") as status:
            yield lambda step: status.update(f"{step} ...")
    except KeyboardInterrupt:
        console.print("Stopped.")
        raise typer.Exit(130) from None
