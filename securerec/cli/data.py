"""`securerec data`: list, fetch, describe, import and synthesize data sets."""

import time
from dataclasses import replace as changed
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from securerec.cli.figures import counted
from securerec.cli.output import JsonFile, emit
from securerec.data import cache, sources
from securerec.data.csv_attributes import with_items, with_users
from securerec.data.csv_import import MOST_ROWS, Columns, import_csv
from securerec.data.dataset import Dataset
from securerec.data.describe import describe as figures_of
from securerec.data.describe import repeats
from securerec.data.synthetic import synthesize as made_up
from securerec.errors import DataError

app = typer.Typer(help="List, fetch, describe, import and synthesize data sets.", no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A name that `securerec data list` shows; case does not matter.")
]


@app.command("list")
def list_(json_file: JsonFile = None) -> None:
    """Show what can be fetched and what is stored on this machine."""
    rows = [_row(name) for name in sorted({*sources.REGISTRY, *cache.stored_names()})]
    table = Table(title=f"Data sets (stored in {cache.home() / 'datasets'})", title_justify="left")
    for heading in ("name", "users", "items", "interactions", "state", "licence"):
        table.add_column(heading, justify="right" if heading in ("users", "items", "interactions") else "left")
    for row in rows:
        state = f"{row['state']}, with repeats" if row["has_repeats"] else row["state"]
        shown = (row["name"], row["users"], row["items"], row["interactions"], state, row["licence"])
        table.add_row(*(Text(_shown(value)) for value in shown))
    emit({"datasets": rows}, json_file, table)


@app.command()
def fetch(
    name: Name,
    from_: Annotated[
        Path | None,
        typer.Option("--from", metavar="PATH", help="A folder or zip file that holds its files: no network is used."),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Download a data set, verify it and keep it in the cache folder.

    A stored copy that is whole is kept; a damaged one is replaced. The licence is printed first: by fetching you accept
    it. The cache folder is the platform's, or the one named by the environment variable SECUREREC_HOME.

    With --from the files on your disk are verified and stored instead, and replace a stored copy. They are
    those in GroupLens' zip: u.data, u.item and u.user for ml-100k; ratings.dat, users.dat and movies.dat for ml-1m. For
    ml-1m a .npz file with the arrays user_id, indptr and movie_id (oldest first) may stand in for ratings.dat: then
    there are no timestamps. For lastfm-2k (each pair of user and artist once) and lastfm-2k-tags (every tag, so with
    repeats): user_taggedartists-timestamps.dat, user_taggedartists.dat or user_taggedartists_full.csv, and artists.dat
    for names if you have it. For amazon-video: ratings.dat or ratings_Amazon_Instant_Video.csv. A file of these two may
    be packed, with .gz behind its name.
    """
    dataset, before = None, False
    if from_ is not None:
        dataset = sources.fetch_from(name, from_)
    elif sources.is_stored(name):
        try:
            dataset, before = sources.read_stored(name), True
        except DataError as error:
            if cache.canonical_name(name) not in sources.REGISTRY:
                raise
            sources.to_stderr(str(error))
    if dataset is None:
        dataset = sources.fetch(name)
    path = cache.path_of(name)
    figures = _counts(dataset) | {"order": dataset.tie_rule, "file": str(path), "stored_before": before}
    lines = [_sentence(dataset), f"Order of a user's items: {dataset.tie_rule}."]
    if found := repeats(dataset):
        lines.append(str(found["warning"]))
    lines.append(f"{'Already' if before else 'Now'} at {path}")
    emit(figures, json_file, Text("\n".join(lines)))


@app.command()
def describe(name: Name, json_file: JsonFile = None) -> None:
    """Show what a data set holds.

    A data set that is known and not stored yet is fetched first.
    """
    dataset = sources.load(name)
    figures = figures_of(dataset)
    emit(figures, json_file, _description(figures))


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A UTF-8 CSV file whose first line names the columns.")],
    user_column: Annotated[str, typer.Option(metavar="COLUMN", help="Column with the user's identifier.")],
    item_column: Annotated[str, typer.Option(metavar="COLUMN", help="Column with the item's identifier.")],
    rating_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column with a rating; needs --minimum-rating.")
    ] = None,
    minimum_rating: Annotated[
        float | None, typer.Option(metavar="NUMBER", help="Keep only rows rated at least this.")
    ] = None,
    timestamp_column: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Column with a number or an ISO 8601 date; without it, row order is the order."
        ),
    ] = None,
    title_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column with the item's title; the first one given counts.")
    ] = None,
    items: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV with the columns item and any of title, year, genres ('|' between)."),
    ] = None,
    users: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CSV with the column user; the others are attributes.")
    ] = None,
    delimiter: Annotated[str, typer.Option(metavar="CHARACTER", help="Between fields; 'tab' is a tab.")] = ",",
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name to store it under.", show_default="the file's name")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an imported data set of the same name.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Import your own data from a CSV file.

    Other commands then find it with `--dataset NAME`.

    The private head learns from genres and years, which --items brings. An audit tests how far gender, age and
    occupation leak, where --users brings them.

    The same user and item twice count once, the newest. Limits: 50 million rows, 1 MiB a line, 256 characters an
    identifier. The first bad row stops the import with its line number and what to do; nothing is stored then.
    """
    name = cache.canonical_name(name or file.stem.replace(" ", "-"))
    _refuse_taken(name, replace)
    columns = Columns(user_column, item_column, rating_column, minimum_rating, timestamp_column, title_column)
    separator = "\t" if delimiter in ("tab", "\\t") else delimiter
    imported = import_csv(file, name, columns, delimiter=separator)
    dataset, lines, about = imported.dataset, [], {}
    for what, path, add in (("items", items, with_items), ("users", users, with_users)):
        if path is not None:
            found = add(dataset, path, delimiter=separator)
            dataset = found.dataset
            about[f"{what}_not_described"] = found.not_described
            lines.append(f"{path.name} describes {counted(found.described, what[:-1])}.")
            if found.not_described:
                lines.append(f"{counted(found.not_described, what[:-1])} of the data set stand in no row of it.")
            if found.not_used:
                lines.append(f"{found.not_used:,} of its rows describe {what} without interactions: not used.")
    path = cache.save_dataset(dataset)
    figures = _counts(dataset) | {
        "file": str(path),
        "rows": imported.rows,
        "duplicates": imported.duplicates,
        "below_minimum": imported.below_minimum,
        "users_without_held_out_item": imported.short_users,
        "order": dataset.tie_rule,
        **about,
    }
    lines = [_sentence(dataset), f"Order of a user's items: {dataset.tie_rule}.", *lines]
    if imported.duplicates:
        lines.append(f"{imported.duplicates:,} rows repeated a user and item; the newest of each was kept.")
    if imported.below_minimum:
        lines.append(f"{imported.below_minimum:,} rows were rated below {minimum_rating:g} and left out.")
    if imported.short_users:
        lines.append(f"{counted(imported.short_users, 'user')} with fewer than 3 items: in training only.")
    lines.append(f"Stored at {path}; use it with --dataset {name}")
    emit(figures, json_file, Text("\n".join(lines)))


@app.command()
def synthesize(
    users: Annotated[int, typer.Option(min=1, metavar="N", help="Users.")],
    items: Annotated[int, typer.Option(min=1, max=MOST_ROWS, metavar="N", help="Items.")],
    interactions: Annotated[int, typer.Option(min=1, metavar="N", help="Distinct pairs of user and item.")],
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="The same seed gives the same data.")] = 0,
    name: Annotated[str, typer.Option(metavar="NAME", help="Name to store it under.")] = "synthetic",
    replace: Annotated[bool, typer.Option("--replace", help="Replace your own data set of this name.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Make up a data set of any size, for measurements of speed and memory.

    Items are popular by a power law, users active by a log-normal one, and tastes are of low rank, so there is
    something to learn. Other commands then find it with `--dataset NAME`.
    """
    name = cache.canonical_name(name)
    _refuse_taken(name, replace)
    if interactions > MOST_ROWS:
        raise DataError(f"--interactions must be at most {MOST_ROWS}, not {interactions}")
    sources.to_stderr(f"{name}: drawing {interactions:,} interactions of {users:,} users with {items:,} items")
    start = time.perf_counter()
    dataset = made_up(users, items, interactions, np.random.default_rng(seed), name=name)
    dataset = changed(dataset, source=f"{dataset.source}, seed {seed}")
    seconds = time.perf_counter() - start
    path = cache.save_dataset(dataset)
    size = path.stat().st_size
    figures = _counts(dataset) | {"seed": seed, "seconds": seconds, "file": str(path), "bytes": size}
    lines = [_sentence(dataset), f"Drawn from seed {seed} in {seconds:.1f} s; {size / 1e6:,.1f} MB at {path}"]
    lines.append(f"Use it with --dataset {name}")
    emit(figures, json_file, Text("\n".join(lines)))


def _refuse_taken(name: str, replace: bool) -> None:
    if name in sources.REGISTRY:
        raise DataError(f"{name} is the name of a data set that is fetched: choose another with --name")
    if sources.is_stored(name) and not replace:
        raise DataError(f"a data set {name} is stored already: choose another with --name, or add --replace")


def _row(name: str) -> dict:
    known = sources.REGISTRY.get(name)
    if known is not None and not sources.is_stored(name):
        counts = {"users": known.users, "items": known.items, "interactions": known.interactions}
        repeated = {"has_repeats": known.has_repeats}
        return {"name": name, **counts, **repeated, "state": "can be fetched", "licence": known.licence}
    try:
        dataset = sources.read_stored(name)
    except DataError:
        absent = {"users": None, "items": None, "interactions": None, "has_repeats": None}
        return {"name": name, **absent, "state": "damaged", "licence": known.licence if known else None}
    own = "synthesized" if dataset.source.startswith("synthesized") else "imported"
    return _counts(dataset) | {"state": "fetched" if known else own}


def _counts(dataset: Dataset) -> dict:
    interactions = dataset.interactions
    return {
        "name": dataset.name,
        "users": interactions.n_users,
        "items": interactions.n_items,
        "interactions": interactions.n_interactions,
        "has_repeats": dataset.has_repeats,
        "licence": dataset.licence,
    }


def _sentence(dataset: Dataset) -> str:
    interactions = dataset.interactions
    return (
        f"{dataset.name}: {counted(interactions.n_users, 'user')}, {counted(interactions.n_items, 'item')}, "
        f"{counted(interactions.n_interactions, 'interaction')}. Licence: {dataset.licence}."
    )


def _description(figures: dict) -> RenderableType:
    facts = Table(title=f"Data set {figures['name']}", title_justify="left", show_header=False)
    for key in ("users", "items", "interactions"):
        facts.add_row(key, f"{figures[key]:,}")
    facts.add_row("density", "unknown" if figures["density"] is None else f"{figures['density']:.2%}")
    quantiles = figures["per_user"] or {}
    facts.add_row("per user", ", ".join(f"{float(q):.0%}: {value:,.0f}" for q, value in quantiles.items()))
    facts.add_row(
        "without held-out item", f"{counted(figures['users_without_held_out_item'], 'user')} (fewer than 3 items)"
    )
    if figures["repeats"]:
        facts.add_row("repeats", Text(figures["repeats"]["warning"].removeprefix("Repeats: ")))
    facts.add_row("order", Text(figures["order"]))
    if ties := figures["held_out_by_tie_rule"]:
        facts.add_row(
            "decided by the tie rule", f"test {ties['test']:.1%}, validation {ties['validation']:.1%} of users"
        )
    for attribute, values in figures["user_attributes"].items():
        common = ", ".join(f"{value} ({count:,})" for value, count in values["common"].items())
        facts.add_row(Text(attribute), Text(f"{values['distinct']} distinct; {common}"))
    if figures["genres"]:
        facts.add_row("genres", Text(", ".join(f"{genre} ({count:,})" for genre, count in figures["genres"].items())))
    for key in ("licence", "source", "digest"):
        facts.add_row(key, Text(figures[key]))
    popular = Table(title="Most popular items", title_justify="left")
    for heading in ("item", "title", "year", "users"):
        popular.add_column(heading, justify="right" if heading in ("year", "users") else "left")
    for item in figures["popular"]:
        year = "" if item["year"] is None else str(item["year"])
        popular.add_row(Text(item["item"]), Text(item["title"]), year, f"{item['users']:,}")
    return Group(facts, popular)


def _shown(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)
