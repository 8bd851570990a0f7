"""`securerec pictures`: a run's item rows, views and figures as PNG and SVG."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from securerec.cli.output import JsonFile, emit
from securerec.cli.run import RunPath
from securerec.report import embedding, moves, views
from securerec.report.explanation import own_rows
from securerec.report.finished import FinishedRun, finished_run
from securerec.report.lookup import median_user

NO_GENRES = "items-by-genre: no item of this data set has a genre"


def pictures_command(
    run: RunPath,
    user: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Whose items and view [dim](default: a user with the median number of items)[/dim]."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Where to [dim](default: RUN/pictures)[/dim].")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Draw a run: item rows by t-SNE, one device's view against the server's, and figures by whose view is used.

    PNG and SVG of each. All but the last show which items a user has, as only that user's device knows: they are
    readable by the owner alone.
    """
    finished = finished_run(run)
    chosen = median_user(finished.split) if user is None else finished.dataset.user_index(user)
    with _steps(Console(stderr=True)) as step:
        figures = draw(finished, chosen, out or run / "pictures", step)
    figures["user"]["chosen"] = "named" if user is not None else "a user with the median number of training items"
    emit(figures, json_file, *_tables(figures))


def draw(run: FinishedRun, user: int, folder: Path, step: Callable[[str], None]) -> dict[str, Any]:
    """Draw everything into the folder; return the figures behind the pictures. `step` is told what comes next."""
    train = run.split.train.of(user)
    held = embedding.held_out(run, user)
    own, n_items = own_rows(run.devices, user), run.split.train.n_items
    step("figures by whose view is used")
    by_view = views.view_figures(run)
    files = views.draw_views(run, by_view, folder)
    step("how far rows moved")
    moved = moves.moves(run, own, user)
    files += moves.draw_moves(run, moved, user, folder)
    step("t-SNE of the item rows, twice")
    plane = embedding.planes(run, own, user)
    step("pictures of the item rows")
    files += embedding.draw_by_user(run, plane, user, folder)
    by_genre = embedding.draw_by_genre(run, plane, user, folder)
    return {
        "run": str(run.path),
        "dataset": run.dataset.name,
        "kept_round": run.kept_round,
        "user": {"user": run.dataset.user_ids[user], "training_items": len(train)},
        "views": views.as_json(by_view),
        "strangers_a_user": views.STRANGERS,
        "neighbours": {
            "nearest": embedding.NEIGHBOURS,
            "server": embedding.neighbours(run.devices.table[:n_items], train, held),
            "own": embedding.neighbours(own[:n_items], train, held),
        },
        "moves": moves.move_figures(moved),
        "items_drawn": len(plane.items),
        "files": [str(path) for path in files + by_genre],
        "left_out": [] if by_genre else [NO_GENRES],
        "notes": [
            embedding.leak_words(run),
            *([embedding.ROWS_ONLY] if run.devices.heads.head.directions.shape[1] else []),
        ],
    }


@contextmanager
def _steps(console: Console) -> Iterator[Callable[[str], None]]:
    bar = Progress(
        TextColumn("{task.completed:.0f}/{task.total:.0f}"), BarColumn(bar_width=12), TimeElapsedColumn(),
        TextColumn("{task.description}"), console=console, transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=4, completed=-1)

        def step(what: str) -> None:
            bar.update(task, description=what, advance=1, refresh=True)

        yield step


def _tables(figures: dict[str, Any]) -> list[RenderableType]:
    user = figures["user"]
    table = Table(title="Test figures by whose view a device scores with", title_justify="left")
    for column in ("protocol", "view", *next(iter(figures["views"]["clean"].values()))["metrics"]):
        table.add_column(column.replace("ndcg", "NDCG").replace("hr", "HR"))
    for protocol, by_view in figures["views"].items():
        table.add_section()
        for view, found in by_view.items():
            cells = [
                f"{mean:.3f} ({found['intervals'][name][0]:.3f} to {found['intervals'][name][1]:.3f})"
                for name, mean in found["metrics"].items()
            ]
            table.add_row(protocol, view, *cells)
    together = Table(title=Text(f"How much the items of user {user['user']} stand together"), title_justify="left")
    nearest = figures["neighbours"]["nearest"]
    together.add_column(f"of the {nearest} nearest items, are the user's training items")
    for column in ("server's table", "own view", "at random"):
        together.add_column(column, justify="right")
    for part, words in (("train", "from the user's training items"), ("held_out", "from the held-out items")):
        server, own = (figures["neighbours"][side] for side in ("server", "own"))
        together.add_row(words, *(_share(value) for value in (server[part], own[part], own["expected"])))
    aucs = figures["moves"]["auc"]
    said = [
        f"User {user['user']} ({user['chosen']}; {user['training_items']} training items).",
        "How far a row stands from the server's tells the user's items from others with an AUC of "
        f"{_share(aucs['distance'])}; what the own view adds to their scores, with {_share(aucs['added_score'])}.",
        *figures["notes"],
        *(f"Not drawn: {each}." for each in figures["left_out"]),
    ]
    if "published" in figures["views"]:
        said.append(views.NO_STRANGER)
    return [table, together, Text("\n".join(said), style="dim"), Text("\n".join(figures["files"]), overflow="fold")]


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
