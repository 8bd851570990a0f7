"""`securerec recommend`: what one device would recommend to its owner, one of a finished run's or one that is new."""

import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from securerec.cli.figures import counted
from securerec.cli.output import JsonFile, emit
from securerec.cli.run import RunPath
from securerec.data.arrival_files import read_history, with_new_items
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.errors import ConfigError, DataError, RunError
from securerec.federation.arriving import Released
from securerec.federation.folder import RunFolder
from securerec.models.new_items import telling
from securerec.report.finished import FinishedRun, finished_run
from securerec.report.lookup import item_index

_WITH_YEAR = re.compile(r"(.+) \((\d{4})\)")


def recommend_command(
    run: RunPath,
    user: Annotated[
        str | None, typer.Option("--user", metavar="ID", help="A user of the run, by the data set's own identifier.")
    ] = None,
    history: Annotated[
        Path | None,
        typer.Option(
            "--history", metavar="FILE",
            help="Somebody the run has never seen: a CSV file with a column item, identifiers or titles, and perhaps "
            "timestamp; without it the last row is the newest.",
        ),
    ] = None,
    new_items: Annotated[
        Path | None,
        typer.Option(
            "--new-items", metavar="FILE",
            help="Items that nobody has touched yet: a CSV file with a column item and perhaps title, year, genres "
            "(with | between).",
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, max=1000, metavar="N", help="How many items.")] = 10,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Show what a device recommends, and what it knew.

    With --user, items are scored as that device chose on its own validation item: by the server's table, its own view,
    or a mix. Items it trained on are left out; what was held out for evaluation may appear and is marked. With
    --history, a device that was no part of the run fits a private score function to that list, from what the run
    released; nothing is uploaded.
    """
    if (user is None) == (history is None):
        raise ConfigError("give --user for somebody of the run, or --history FILE for somebody else: one of them")
    finished = finished_run(run)
    dataset = with_new_items(finished.dataset, new_items) if new_items is not None else finished.dataset
    if history is not None:
        about, known, scores = _newcomer(finished, dataset, history)
    else:
        about, known, scores = _user(finished, dataset, finished.dataset.user_index(user or ""))
    held_out = about.pop("held_out")
    figures = about | _figures(dataset, scores, known, held_out, finished.dataset.interactions.n_items, count)
    emit(figures, json_file, *_tables(figures), private=True)


Scored = tuple[dict[str, Any], NDArray[np.int32], NDArray[np.float32]]
"""About whom, its list, and scores of all items."""


def _newcomer(run: FinishedRun, dataset: Dataset, history: Path) -> Scored:
    """dataset: the run's, perhaps with new items."""
    released = _released(run, dataset)
    items = read_history(history, lambda text: _named(run.dataset, text))
    lists = Interactions.from_lists([items], dataset.interactions.n_items)
    # The draws of a device that uploads nothing are no secret: the same list gets the same scores again.
    rng = np.random.default_rng(int(RunFolder(run.path).identity("initial_values"), 16))
    devices = released.devices(lists, rng)
    about: dict[str, Any] = {
        "user": None,
        "history": str(history),
        "own_share": 0.0,
        "uploaded_bytes": 0,
        "held_out": {},
    }
    return about, lists.of(0), devices.scorer(0.0)(np.array([0]))[0]


def _named(dataset: Dataset, text: str) -> int:
    """An item by identifier, by title, or by title and year, such as "Stargate (1994)"."""
    if (match := _WITH_YEAR.fullmatch(text)) and text not in dataset.item_ids and text not in dataset.titles:
        title, year = match[1].casefold(), int(match[2])
        found = [at for at in np.flatnonzero(dataset.years == year) if dataset.titles[at].casefold() == title]
        if len(found) == 1:
            return int(found[0])
    return item_index(dataset, text)


def _user(run: FinishedRun, dataset: Dataset, index: int) -> Scored:
    devices = run.devices
    if dataset is not run.dataset:
        devices = _released(run, dataset).before_all_items(devices)
    about = {
        "user": run.dataset.user_ids[index],
        "attributes": {name: values[index] for name, values in run.dataset.user_attributes.items()},
        "own_share": float(run.shares[index]),
        "held_out": {int(run.split.validation[index]): "validation", int(run.split.test[index]): "test"},
    }
    return about, run.split.train.of(index), devices.scorer(run.shares)(np.array([index]))[0]


def _released(run: FinishedRun, dataset: Dataset) -> Released:
    """What the run has released, before the catalogue of the data set."""
    released = Released.of(RunFolder(run.path), run.dataset, table=run.devices.table, rounds=run.kept_round)
    if dataset is run.dataset:
        return released
    if released.start is not None and not telling(run.dataset):
        raise RunError(
            f"{dataset.name} knows neither genres nor years that tell its items apart, so nothing is known of a new "
            f"one: go on with `securerec continue {run.path}` once people have touched it"
        )
    return released.with_new_items(dataset)


def _figures(
    dataset: Dataset, scores: NDArray[np.float32], known: NDArray[np.int32], held_out: dict[int, str], n_old: int,
    count: int,
) -> dict[str, Any]:  # fmt: skip
    """n_old: items from this number on are new."""
    scores = scores.astype(np.float64)
    scores[known] = -np.inf
    available = len(scores) - len(np.unique(known))
    if available < 1:
        raise DataError("every item of the catalogue is in this list: nothing is left to recommend")
    best = np.argsort(-scores, kind="stable")[: min(count, available)]
    return {
        "known": [item_figures(dataset, int(item)) for item in known[::-1]],
        "recommendations": [
            item_figures(dataset, int(item))
            | {"score": float(scores[item]), "held_out": held_out.get(int(item)), "new": bool(item >= n_old)}
            for item in best
        ],
    }


def item_figures(dataset: Dataset, item: int) -> dict[str, Any]:
    """An item as it is shown: identifier, title, year and genres."""
    return {
        "item": dataset.item_ids[item],
        "title": dataset.titles[item],
        "year": int(dataset.years[item]) or None,
        "genres": [name for name, has in zip(dataset.genre_names, dataset.genres[item], strict=True) if has],
    }


def _tables(figures: dict[str, Any]) -> list[RenderableType]:
    views = {0.0: "the server's item table", 1.0: "its own view of the items"}
    view = views.get(figures["own_share"], f"a mix, {figures['own_share']:.0%} its own view of the items")
    known = figures["known"]
    newest = Table(title=f"What the device knew: {counted(len(known), 'item')}, newest first", title_justify="left")
    whom = f"user {figures['user']}, scored by {view}" if figures["user"] is not None else (
        f"{figures['history']}, a device that was no part of the run; it uploaded nothing"
    )  # fmt: skip
    table = Table(title=Text(f"For {whom}"), title_justify="left")
    marked = ("note",) if any(item["held_out"] or item["new"] for item in figures["recommendations"]) else ()
    for columns, target in (
        (("title", "year", "genres"), newest),
        (("rank", "title", "year", "genres", "score", *marked), table),
    ):
        for column in columns:
            target.add_column(column, justify="right" if column in ("rank", "score") else "left")
    for item in known[:10]:
        newest.add_row(*_cells(item))
    for rank, item in enumerate(figures["recommendations"], 1):
        mark = f"held out for {item['held_out']}" if item["held_out"] else "new" if item["new"] else ""
        table.add_row(str(rank), *_cells(item), f"{item['score']:.2f}", *([mark] if marked else []))
    if len(known) > 10:
        return [
            Group(newest, Text(f"and {len(known) - 10} older ones; none of this left the device in the clear")),
            table,
        ]
    return [newest, table]


def _cells(item: dict[str, Any]) -> tuple[Text, str, str]:
    return Text(item["title"]), str(item["year"] or ""), ", ".join(item["genres"])
