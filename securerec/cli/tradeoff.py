"""`securerec tradeoff`: what privacy costs, over epsilons, kinds of trust, methods, seeds and data sets."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.box import SIMPLE
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from securerec.cli.output import JsonFile, emit
from securerec.cli.sweeps import CELL_FAILED, failures_of, shown, sweep_progress
from securerec.config import read_config
from securerec.data import sources
from securerec.experiments.sweeps.cells import Kind
from securerec.experiments.sweeps.sweep import sweep
from securerec.experiments.tradeoff.methods import KINDS, METHODS
from securerec.experiments.tradeoff.pictures import write_pictures
from securerec.experiments.tradeoff.plan import Plan
from securerec.experiments.tradeoff.records import write_records
from securerec.experiments.tradeoff.summary import AS_IF, NOT_CHARGED, SIMULATED, Point, kind_label, points
from securerec.experiments.tradeoff.tuning import ASSUMPTIONS, MOST_TRIALS
from securerec.machine import usable_cores

_DEFAULT_METHODS = ("auto", "pfedrec")
_KINDS = "; ".join(f"{name}: {label}" for name, label in KINDS.items())
_METHODS = "; ".join(f"{method.name}: {method.sentence}" for method in METHODS.values())


def tradeoff_command(
    dataset: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Data set; repeatable [dim](default: ml-100k)[/dim].")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"Method; repeatable [dim](default: auto, pfedrec)[/dim]. {_METHODS}."),
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help=f"Trust; repeatable [dim](default: all)[/dim]. {_KINDS}.")
    ] = None,
    epsilon: Annotated[
        list[float] | None, typer.Option(metavar="X", help="Epsilon; repeatable [dim](default: 8, 4, 2, 1)[/dim].")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Seeds, from 0.")] = 3,
    protocol: Annotated[
        str, typer.Option(metavar="NAME", help="How sums are taken; the figures are the same under each.")
    ] = "plain",
    attacks: Annotated[
        bool, typer.Option("--attacks/--no-attacks", help="Also attack what each kind of server sees.")
    ] = True,
    account_tuning: Annotated[
        float | None,
        typer.Option(
            min=1, max=MOST_TRIALS, metavar="K",
            help="Also state each epsilon as if the settings had been the best of about K private trials.",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings of every run in TOML; a method's own go before them.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where cells are kept and reused [dim](default: new in tradeoffs/)[/dim]."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes side by side [dim](default: one a core)[/dim].")
    ] = None,
    pictures: Annotated[bool, typer.Option("--pictures/--no-pictures", help="Draw pictures, PNG and SVG.")] = True,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Sweep epsilon under a secure sum, under local noise, with nothing uploaded and without privacy.

    Each run is kept in DIR as it is finished; the same command with that --out goes on after a stop, and a larger one
    measures only what is missing. Writes records.csv and pictures there. After a change of the program take a new DIR.
    """
    console = Console(stderr=True)
    plan = Plan(
        methods=tuple(method or _DEFAULT_METHODS), kinds=cast(tuple[Kind, ...], tuple(kind or KINDS)),
        epsilons=tuple(epsilon or (8.0, 4.0, 2.0, 1.0)), seeds=seeds, protocol=protocol, attacks=attacks,
        settings=read_config(config) if config else {},
    )  # fmt: skip
    datasets = {name: sources.load_distinct(name) for name in dict.fromkeys(dataset or ["ml-100k"])}
    cells = [cell for each in datasets.values() for cell in plan.cells(each)]
    folder = out or Path("tradeoffs") / f"{datetime.now():%Y%m%d-%H%M%S}"
    console.print(Text(f"Sweep folder: {folder} (give it as --out to go on after a stop)"), soft_wrap=True)
    with sweep_progress(console, folder, cells) as done:
        swept = sweep(folder, cells, datasets, workers=workers or usable_cores(), done=done)
    found = [
        point
        for each in datasets.values()
        for point in points(
            each, [cell for cell in cells if cell.dataset == each.name], swept.measured, mean_trials=account_tuning
        )
    ]
    rows = write_records(folder / "records.csv", cells, swept.measured, datasets)
    drawn = [
        path
        for name in datasets
        for path in (write_pictures(folder, [p for p in found if p.dataset == name]) if pictures else [])
    ]
    failures = failures_of(cells, swept)
    notes = [Text(f"{note[:1].upper()}{note[1:]}.", style="dim") for note in _notes(found)]
    tables = [*_tables(found), *notes, *_end(folder, rows, drawn, failures)]
    emit(_figures(folder, found, drawn, failures), json_file, *tables)
    if failures:
        raise typer.Exit(CELL_FAILED)


def _figures(folder: Path, found: Sequence[Point], drawn: Sequence[Path], failures: dict[str, str]) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "notes": _notes(found),
        "points": [point.to_json() for point in found],
        "pictures": [str(path) for path in drawn],
        "failed": failures,
    }


def _notes(found: Sequence[Point]) -> list[str]:
    notes = [NOT_CHARGED]
    if any(point.as_if for point in found):
        notes.append(AS_IF)
    if any(point.spent and point.spent["reproducible_noise"] for point in found):
        notes.append(SIMULATED)
    if any(point.tuned for point in found):
        notes.append(ASSUMPTIONS)
    return notes


def _tables(found: Sequence[Point]) -> list[RenderableType]:
    tables: list[RenderableType] = []
    for name in dict.fromkeys(point.dataset for point in found):
        own = [point for point in found if point.dataset == name]
        for cutoff in dict.fromkeys(metric.partition("@")[2] for metric in own[0].figures):
            tables.append(_utility(own, cutoff))
        tables.append(_privacy(own))
    return tables


def _utility(found: Sequence[Point], cutoff: str) -> Table:
    hr, ndcg = f"hr@{cutoff}", f"ndcg@{cutoff}"
    first = f"clean.{hr}" == next(iter(found[0].figures))
    seeds = max(len(point.seeds) for point in found)
    repeated = f"{seeds} seed{'s' if seeds > 1 else ''}"
    table = Table(
        title=f"{found[0].dataset}, test, {found[0].users:,} users, {repeated}: utility", title_justify="left",
        box=SIMPLE, padding=(0, 1, 0, 0), caption_justify="left",
        caption="± half of the 95% interval over users and seeds; 'over popularity' pairs users. Indented: users whose "
        "test item came more than a day after their newest training item.",
    )  # fmt: skip
    table.add_column("method, trust")
    for column in ("epsilon", f"HR@{cutoff} clean", f"NDCG@{cutoff} clean", "HR / NDCG full", "over popularity"):
        table.add_column(column, justify="right", no_wrap=column == "epsilon")
    for point in found:
        figures = point.figures
        table.add_row(
            _name(point), _epsilon(point), shown(figures[f"clean.{hr}"]), shown(figures[f"clean.{ndcg}"]),
            f"{figures[f'full.{hr}'].mean:.3f} / {figures[f'full.{ndcg}'].mean:.3f}",
            shown(point.beyond_popularity, signed=True) if first else "",
            style="dim" if point.kind == "reference" else "",
        )  # fmt: skip
        if point.returned is not None:
            late = point.returned
            table.add_row(
                f"  back after a day ({point.returned_users})", "", shown(late[f"clean.{hr}"]),
                shown(late[f"clean.{ndcg}"]),
                f"{late[f'full.{hr}'].mean:.3f} / {late[f'full.{ndcg}'].mean:.3f}", "", style="dim",
            )  # fmt: skip
    return table


def _privacy(found: Sequence[Point]) -> Table:
    runs = [point for point in found if point.spent is not None]
    spent = next((point.spent for point in runs if point.spent), None)
    stated = "" if spent is None else f"; {spent['unit']}, delta {spent['delta']:g}, accountant {spent['accountant']}"
    tuned = next((point.tuned for point in runs if point.tuned), None)
    table = Table(
        title=f"{found[0].dataset}: what it promises, and what attacks found{stated}", title_justify="left",
        box=SIMPLE, padding=(0, 1, 0, 0), caption_justify="left",
        caption="" if spent is None else f"central: {spent['relation']}; local: {spent['local_relation']}. AUC on the "
        "items of each device, the strongest attack on what the server sees, beside popularity's.",
    )  # fmt: skip
    table.add_column("method, trust")
    columns = ["epsilon", "central", "local", "AUC", "popularity", "strongest attack", "seconds"]
    if tuned is not None:
        columns.insert(3, f"best of {tuned['mean_trials']:g}")
    for column in columns:
        table.add_column(column, justify="left" if column == "strongest attack" else "right")
    for point in runs:
        figures, leak = point.spent or {}, point.leak
        cells = [_name(point), _epsilon(point), _spent(figures["central_epsilon"]), _spent(figures["local_epsilon"])]
        if tuned is not None:
            cells.append("" if point.tuned is None else f"{point.tuned['epsilon']:.2f}")
        cells += ["", "", ""] if leak is None else [f"{leak.auc:.3f}", f"{leak.popularity:.3f}", leak.attack]
        table.add_row(*cells, f"{point.seconds:.0f}")
    return table


def _end(folder: Path, rows: int, drawn: Sequence[Path], failures: dict[str, str]) -> list[RenderableType]:
    lines: list[RenderableType] = [Text(f"Failed: {cell}: {why}", "bold red") for cell, why in failures.items()]
    pictures = f"; {len(drawn)} pictures" if drawn else ""
    return [*lines, Text(f"{folder / 'records.csv'}: {rows:,} rows{pictures} beside it", overflow="fold")]


def _name(point: Point) -> str:
    return point.name if point.kind == "reference" else f"{point.name}, {kind_label(point.kind)}"


def _epsilon(point: Point) -> str:
    return "" if point.epsilon is None else f"{point.epsilon:g}"


def _spent(epsilon: float | None) -> str:
    return "none" if epsilon is None else f"{epsilon:,.2f}"
