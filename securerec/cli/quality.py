"""`securerec bench quality`: how well learners recommend without privacy, beside references and papers' claims."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from securerec.cli.output import JsonFile, emit
from securerec.cli.sweeps import CELL_FAILED, failures_of, sweep_progress
from securerec.config import read_config
from securerec.data import sources
from securerec.experiments.quality.learners import GRADES, LEARNERS, Grade
from securerec.experiments.quality.plan import Plan
from securerec.experiments.quality.summary import Row, rows, write_records
from securerec.experiments.sweeps.references import REFERENCES
from securerec.experiments.sweeps.sweep import sweep
from securerec.machine import usable_cores

_LEARNERS = "; ".join(f"{learner.name}: {learner.sentence}" for learner in LEARNERS.values())
MARKS: dict[Grade, str] = {"digest": "*", "doubtful digest": "?", "recalled": "~"}

_LEAKS = (
    "published: as the papers evaluate, with training negatives that avoid the held-out items, which leaks them: for "
    "comparison with their tables only; a device that trains alone comes near 1 there. By the device's own view with "
    "dual personalisation, by the server's table without"
)
_CHOSEN = (
    "references' settings, defaults of the learners and the round that is kept were chosen on validation data; clean "
    "and full are scored by the server's table"
)


def quality_command(
    dataset: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Data set; repeatable [dim](default: ml-100k)[/dim].")
    ] = None,
    learner: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"Learner; repeatable [dim](default: all)[/dim]. {_LEARNERS}."),
    ] = None,
    references: Annotated[
        bool, typer.Option("--references/--no-references", help="Also measure what stands beside every table.")
    ] = True,
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Seeds, from 0.")] = 5,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings of every run in TOML; a learner's own go before them.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where cells are kept and reused [dim](default: new in qualities/)[/dim]."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes side by side [dim](default: one a core)[/dim].")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Compare learners without privacy, each with and without dual personalisation, under three protocols.

    Each run is kept in DIR as it is finished; the same command with that --out goes on after a stop, and a larger one
    measures only what is missing. Writes records.csv there.
    """
    console = Console(stderr=True)
    plan = Plan(
        learners=tuple(dict.fromkeys(learner or LEARNERS)), references=tuple(REFERENCES) if references else (),
        seeds=seeds, settings=read_config(config) if config else {},
    )  # fmt: skip
    datasets = {name: sources.load(name) for name in dict.fromkeys(dataset or ["ml-100k"])}
    cells = [cell for each in datasets.values() for cell in plan.cells(each)]
    folder = out or Path("qualities") / f"{datetime.now():%Y%m%d-%H%M%S}"
    console.print(Text(f"Folder: {folder} (give it as --out to go on after a stop)"), soft_wrap=True)
    with sweep_progress(console, folder, cells) as done:
        swept = sweep(folder, cells, datasets, workers=workers or usable_cores(), done=done)
    found = [row for name in datasets for row in rows([cell for cell in cells if cell.dataset == name], swept.measured)]
    written = write_records(folder / "records.csv", cells, swept.measured)
    failures = failures_of(cells, swept)
    lines: list[RenderableType] = [Text(f"Failed: {cell}: {why}", "bold red") for cell, why in failures.items()]
    notes = [_LEAKS, _CHOSEN] if found else []
    figures = {"folder": str(folder), "rows": [row.to_json() for row in found], "notes": notes, "failed": failures}
    emit(
        figures, json_file, *_tables(found), *(Text(f"{note[:1].upper()}{note[1:]}.", "dim") for note in notes), *lines,
        Text(f"{folder / 'records.csv'}: {written:,} rows", overflow="fold"),
    )  # fmt: skip
    if failures:
        raise typer.Exit(CELL_FAILED)


def _tables(found: Sequence[Row]) -> list[RenderableType]:
    return [
        _table([row for row in found if row.dataset == name]) for name in dict.fromkeys(row.dataset for row in found)
    ]


def _table(found: Sequence[Row]) -> Table:
    seeds = max(len(row.seeds) for row in found)
    protocols = list(dict.fromkeys(name.partition(".")[0] for name in found[0].figures))
    claims = {row.claim.grade for row in found if row.claim is not None}
    table = Table(
        title=f"{found[0].dataset}, test, {found[0].users:,} users, up to {seeds} seeds: HR@10 / NDCG@10",
        title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0), caption_justify="left",
        caption="±: half of the 95% interval of HR@10 over users and seeds; the other bounds are in the JSON."
        + "".join(f" {MARKS[grade]} paper's figure {GRADES[grade]}." for grade in GRADES if grade in claims),
    )  # fmt: skip
    table.add_column("learner", no_wrap=True)
    for protocol in protocols:
        table.add_column(protocol, justify="right", no_wrap=True)
        table.add_column("±", justify="right", no_wrap=True)
        if protocol == "published":
            table.add_column("paper", justify="right", no_wrap=True)
    for row in found:
        cells: list[str] = [row.name]
        for protocol in protocols:
            hit_rate, ndcg = row.figures[f"{protocol}.hr@10"], row.figures[f"{protocol}.ndcg@10"]
            cells += [_pair(hit_rate.mean, ndcg.mean), f"{(hit_rate.high - hit_rate.low) / 2:.3f}".lstrip("0")]
            if protocol == "published":
                claim = row.claim
                cells.append("" if claim is None else _pair(claim.hit_rate, claim.ndcg) + MARKS[claim.grade])
        table.add_row(*cells, style="dim" if row.is_reference else "")
    return table


def _pair(hit_rate: float, ndcg: float) -> str:
    return f"{hit_rate:.3f}/{ndcg:.3f}".replace("0.", ".")
