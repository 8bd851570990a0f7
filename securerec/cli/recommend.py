"""`securerec recommend`: what one device of a finished run would recommend to its owner."""

from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from securerec.cli.output import JsonFile, emit
from securerec.cli.run import RunPath
from securerec.data import sources
from securerec.data.dataset import Dataset
from securerec.data.splits import Split, leave_one_out
from securerec.errors import DataError, RunError
from securerec.evaluation.scoring import TrainedDevices
from securerec.federation.folder import RunFolder
from securerec.federation.results import load_devices


def recommend_command(
    run: RunPath,
    user: Annotated[str, typer.Option("--user", metavar="ID", help="The user, by the data set's own identifier.")],
    count: Annotated[int, typer.Option("--count", min=1, max=1000, metavar="N", help="How many items.")] = 10,
    json_file: JsonFile = None,
) -> None:
    """Show what a user's device recommends, and what it knew.

    Items are scored as that device chose on its own validation item: by the server's table, its own view, or a mix.
    Items it trained on are left out; what was held out for evaluation may appear and is marked.
    """
    folder = RunFolder.open(run)
    if folder.results() is None:
        raise RunError(f"{run} is not finished: go on with `securerec resume {run}`")
    dataset = sources.load(folder.config().data.dataset)
    if folder.identity("dataset") != dataset.digest():
        raise RunError(f"{run} was trained on another version of data set {dataset.name}: fetch that one again")
    devices, shares = load_devices(folder)
    split, index = leave_one_out(dataset.interactions), dataset.user_index(user)
    figures = _figures(dataset, devices, shares, split, index, count)
    emit(figures, json_file, *_tables(figures))


def _figures(
    dataset: Dataset, devices: TrainedDevices, shares: Any, split: Split, index: int, count: int
) -> dict[str, Any]:
    scores = devices.scorer(shares)(np.array([index]))[0].astype(np.float64)
    history = split.train.of(index)
    scores[history] = -np.inf
    available = len(scores) - len(np.unique(history))
    if available < 1:
        raise DataError(f"user {dataset.user_ids[index]} has seen every item: nothing is left to recommend")
    best = np.argsort(-scores, kind="stable")[: min(count, available)]
    held_out = {int(split.validation[index]): "validation", int(split.test[index]): "test"}
    return {
        "user": dataset.user_ids[index],
        "attributes": {name: values[index] for name, values in dataset.user_attributes.items()},
        "own_share": float(shares[index]),
        "known": [_item(dataset, int(item)) for item in history[::-1]],
        "recommendations": [
            _item(dataset, int(item)) | {"score": float(scores[item]), "held_out": held_out.get(int(item))}
            for item in best
        ],
    }


def _item(dataset: Dataset, item: int) -> dict[str, Any]:
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
    newest = Table(title=f"What the device knew: {len(known)} items, newest first", title_justify="left")
    table = Table(title=Text(f"For user {figures['user']}, scored by {view}"), title_justify="left")
    for columns, target in (
        (("title", "year", "genres"), newest),
        (("rank", "title", "year", "genres", "score", ""), table),
    ):
        for column in columns:
            target.add_column(column, justify="right" if column in ("rank", "score") else "left")
    for item in known[:10]:
        newest.add_row(*_cells(item))
    for rank, item in enumerate(figures["recommendations"], 1):
        mark = f"held out for {item['held_out']}" if item["held_out"] else ""
        table.add_row(str(rank), *_cells(item), f"{item['score']:.2f}", mark)
    if len(known) > 10:
        return [
            Group(newest, Text(f"and {len(known) - 10} older ones; none of this left the device in the clear")),
            table,
        ]
    return [newest, table]


def _cells(item: dict[str, Any]) -> tuple[Text, str, str]:
    return Text(item["title"]), str(item["year"] or ""), ", ".join(item["genres"])
