"""`securerec continue`, and `securerec bench arrivals`: what comes after a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from securerec.audit.recording import view_bytes
from securerec.cli.figures import counted
from securerec.cli.options import with_settings
from securerec.cli.output import JsonFile, emit
from securerec.cli.run import MOST_VIEWS, RunPath, execute
from securerec.config import Config, make_config
from securerec.data import cache, sources
from securerec.data.arrival_files import with_new_items
from securerec.data.dataset import Dataset
from securerec.data.grown import grown
from securerec.errors import ConfigError
from securerec.federation.continuing import ContinuedRun, Parent, continued_config
from securerec.federation.folder import RunFolder
from securerec.models.new_items import telling
from securerec.report.finished import finished_run

NOT_AGAIN = (
    "Popularity, segments and pairs are not released again: they, and the part of the heads that everybody knows, are "
    "as old as the run that goes on. A continuation has no published twin."
)


def continue_command(
    run: RunPath,
    interactions: Annotated[
        Path | None,
        typer.Option(
            "--interactions", metavar="FILE",
            help="What came since: a CSV file with the columns user, item, and perhaps timestamp.",
        ),
    ] = None,
    new_items: Annotated[
        Path | None,
        typer.Option(
            "--new-items", metavar="FILE",
            help="Items that the run does not know: a CSV file with a column item and perhaps title, year, genres.",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset", metavar="NAME",
            help="A later version of the run's data set instead, with its users and items first.",
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option("--rounds", min=0, max=65_536, metavar="N", help="New rounds; with 0 nothing is uploaded.")
    ] = 0,
    epsilon: Annotated[
        float | None,
        typer.Option(
            "--epsilon", min=1e-3, max=1e6, metavar="X",
            help="What the new rounds may spend, beside what the run has spent; local after --local-epsilon.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, metavar="N", help="Repeat exactly; noise is then simulation only.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, max=256, metavar="N",
            help=r"Processes that play the devices \[default: as in the run].",
        ),
    ] = None,
    record_views: Annotated[
        bool,
        typer.Option(
            "--record-views",
            help="Record what adversaries see of the first and the last new round, for `securerec audit`: secret data.",
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the new run (default: a new one in runs/).")
    ] = None,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Go on from a finished run with what came since: newer interactions, new users, new items.

    Devices go on from their state, newcomers fit theirs from what the run released, and nobody starts again. With
    --rounds the federation takes new rounds from the run's item rows. The new run's ledger begins with the old one's
    events: the epsilon it states is that of both together.
    """
    if (interactions is None) == (dataset is None) or (dataset is not None and new_items is not None):
        raise ConfigError("give --interactions FILE, perhaps with --new-items FILE, or --dataset NAME: one of the two")
    before = finished_run(run)
    left_out = 0
    if interactions is not None:
        described = before.dataset if new_items is None else with_new_items(before.dataset, new_items)
        later, left_out = grown(described, interactions)
    else:
        later = sources.load(dataset or "")
    config = continued_config(
        before.config, later.name, rounds=rounds, epsilon=epsilon, seed=seed, workers=workers, record_views=record_views
    )
    if (size := view_bytes(config, later)) > MOST_VIEWS:
        raise ConfigError(f"the views may take {size / 2**30:.1f} GiB: leave out --record-views")
    parent = Parent.finished(RunFolder(before.path), before.dataset, before.devices, before.kept_round)
    path = out or Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{later.name}"
    if interactions is None:
        continued = ContinuedRun.after(parent, path, config, later)
    else:
        with _stored(later):
            continued = ContinuedRun.after(parent, path, config, later)
    old, new = before.dataset.interactions, later.interactions
    text = (
        f"{later.name}: {counted(new.n_interactions - old.n_interactions, 'interaction')}, "
        f"{counted(new.n_users - old.n_users, 'user')} and {counted(new.n_items - old.n_items, 'item')} came to "
        f"{before.dataset.name}"
    )
    if left_out:
        text += f"; {counted(left_out, 'row')} left out, where the user has the item already"
    console = Console(stderr=json_file == "-")
    console.print(Text(text), soft_wrap=True)
    console.print(Text(NOT_AGAIN, style="dim"), soft_wrap=True)
    execute(continued, json_file)


@contextmanager
def _stored(dataset: Dataset) -> Iterator[None]:
    """Store a data set for what is done with it; where that fails, nothing is left that was not there before."""
    was_there = cache.path_of(dataset.name).exists()
    path = cache.save_dataset(dataset)
    try:
        yield
    except BaseException:
        if not was_there:
            path.unlink(missing_ok=True)
        raise


def _bench(json_file: JsonFile = None, settings: dict[str, Any] | None = None) -> None:
    """Measure what a run is worth to those who come after it: new users, new items, and tastes that drift.

    New users: a fifth of them, whom the run never saw, with the newest few items of their lists. New items: a tenth of
    the catalogue, scored from genres and years; for learners with a head. Drift: later windows of everybody's list,
    and of time where there are timestamps. Without privacy unless an --epsilon is given; runs are summed in the
    clear.
    """
    from securerec.experiments.arrivals.drift import measure_drift
    from securerec.experiments.arrivals.items import measure_items
    from securerec.experiments.arrivals.users import measure_users

    config = _bench_config(settings or {})
    dataset, seed = sources.load_distinct(config.data.dataset), config.seed or 0
    resolved = config.resolved(dataset.interactions.n_users, dataset.interactions.n_items)
    figures: dict[str, Any] = {"dataset": dataset.name, "seed": seed, "model": config.training.model}
    figures["epsilon"] = resolved.privacy.epsilon if resolved.privacy.privacy else None
    notes = []
    with TemporaryDirectory() as folder, Console(stderr=True).status("new users ...") as status:
        figures["users"] = measure_users(config, dataset, seed, Path(folder) / "users")
        status.update("new items ...")
        if resolved.start.head and telling(dataset):
            figures["items"] = measure_items(config, dataset, seed, Path(folder) / "items")
        else:
            notes.append("new items: left out, as without a head, genres and years nothing is known of an item")
        status.update("drift ...")
        epsilon = resolved.privacy.epsilon if resolved.privacy.privacy else None
        figures["drift"] = measure_drift(config, dataset, seed, Path(folder) / "drift", epsilon=epsilon)
    tables = [_table(f"New users, {dataset.name}: the newest item among 99 others", figures["users"])]
    tables += [
        _table(f"New items, {dataset.name}, against {name}: people who took them", rows)
        for name, rows in figures.get("items", {}).items()
    ]
    tables += [
        _table(f"Drift {name}, {window}, {dataset.name}: what came in it, among 99 others", rows)
        for name, windows in figures["drift"].items()
        for window, rows in windows.items()
    ]
    notes.append("In brackets: 95% intervals over users.")
    emit(figures | {"notes": notes[:-1]}, json_file, *tables, *map(Text, notes))


def _bench_config(given: dict[str, Any]) -> Config:
    """Without privacy unless it is asked for. Raises ConfigError for noise that a run going on could not have too."""
    privacy = given.get("privacy", {})
    if privacy.keys().isdisjoint(("privacy", "epsilon", "local_epsilon", "noise_multiplier")):
        privacy = {"privacy": False} | privacy
    for name in ("local_epsilon", "noise_multiplier"):
        if name in privacy:
            raise ConfigError(f"privacy.{name} does not go with runs that others go on from: give --epsilon")
    if privacy.get("unit", "user") != "user":
        raise ConfigError("a run with privacy.unit interaction cannot be continued: leave it out")
    return make_config(
        {"seed": 0} | given
        | {"privacy": privacy, "protocol": {"protocol": "plain"}, "evaluation": {"published": False}}
    )  # fmt: skip


bench_command = with_settings(_bench, sections=("", "data", "start", "training", "privacy"))


def _table(title: str, rows: dict[str, dict[str, list[float]]]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("scored by")
    for metric in ("HR@10", "NDCG@10"):
        table.add_column(metric, justify="right", no_wrap=True)
    for label, figures in rows.items():
        cells = (f"{mean:.3f} ({low:.3f}-{high:.3f})" for mean, low, high in figures.values())
        table.add_row(label, *cells)
    return table
