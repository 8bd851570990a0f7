"""`securerec explain`: why a device gives an item its score."""

from typing import Annotated, Any

import numpy as np
import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from securerec.cli.output import JsonFile, emit
from securerec.cli.recommend import item_figures
from securerec.cli.run import RunPath
from securerec.report.explanation import Explanation, Part, explained, is_linear
from securerec.report.finished import FinishedRun, finished_run
from securerec.report.lookup import item_index
from securerec.report.own_items import GRADIENT, LEFT_OUT, by_gradient, left_out
from securerec.report.places import places

_TERMS_SHOWN = 5
_OWN_ITEMS_SHOWN = 5
ADDS_UP = "The parts add up to the score. Features count against the average of people's choices, where they are zero."
OCCLUSION = (
    "This score is not a sum: each part is the score less what it is without that part, and they need not add up."
)
WHO = (
    "All of this was computed from what the device holds: its list, taste, score function and own view never leave it "
    "in the clear. In a deployment only the device itself could say it."
)
NO_OWN_ITEMS = "Which own items bear on it is not told for a score function that is not linear, or an empty list."
NO_SUM = "These figures stand each by itself and do not add up to the score."


def explain_command(
    run: RunPath,
    user: Annotated[str, typer.Option("--user", metavar="ID", help="The user, by the data set's own identifier.")],
    item: Annotated[str, typer.Option("--item", metavar="ID", help="The item, by identifier or by its whole title.")],
    json_file: JsonFile = None,
) -> None:
    """Say why a user's device scores an item as it does: what each part adds, which own items bear on it, its rank.

    The score is the one that `securerec recommend` ranks by: the server's table, the device's own view, or the mix that
    the device chose.
    """
    finished = finished_run(run)
    figures = explain_figures(finished, finished.dataset.user_index(user), item_index(finished.dataset, item))
    emit(figures, json_file, *_tables(figures), private=True)


def explain_figures(run: FinishedRun, user: int, item: int) -> dict[str, Any]:
    """Everything the command says, as plain values."""
    dataset, devices, share = run.dataset, run.devices, float(run.shares[user])
    why = explained(dataset, devices, share, user, item, segments=run.config.start.segments)
    scores = devices.scores(np.array([user]), np.array([share], np.float32))[0]
    cutoffs = run.config.evaluation.cutoffs
    return {
        "run": str(run.path),
        "dataset": dataset.name,
        "kept_round": run.kept_round,
        "user": dataset.user_ids[user],
        "item": item_figures(dataset, item),
        "score": why.score,
        "own_share": share,
        "score_by": {
            view: float(devices.scorer(each)(np.array([user]))[0, item])
            for view, each in (("server", 0.0), ("own", 1.0))
        },
        "adds_up": why.adds_up,
        "note": ADDS_UP if why.adds_up else OCCLUSION,
        "parts": [_part(part) for part in why.parts],
        "places": places(scores, run.split, run.candidates().test, user, item, cutoffs),
        "own_items": _own_items(run, why, user, item, share),
        "known_only_to_the_device": WHO,
    }


def _part(part: Part) -> dict[str, Any]:
    terms = [{"name": term.name, "value": term.value} for term in part.terms]
    return {"part": part.name, "value": part.value, "made_of": part.known_to, "terms": terms}


def _own_items(run: FinishedRun, why: Explanation, user: int, item: int, share: float) -> list[dict[str, Any]]:
    """By each way that this run's scores allow, the user's training items, most helpful first."""
    devices, own = run.devices, run.split.train.of(user)
    if not len(own):
        return []
    ways = []
    if devices.heads.head.directions.shape[1]:
        ways.append(("head", LEFT_OUT, left_out(devices, own, user, item, recency=run.config.start.recency)))
    if why.adds_up and is_linear(devices):
        by_step = by_gradient(devices, own, user, item, share, score_lr=run.config.training.score_lr or 0.0)
        ways.append(("score function", GRADIENT, by_step))
    return [
        {
            "of": of,
            "method": method,
            "items": [
                item_figures(run.dataset, int(own[place]))
                | {"newest": len(own) - int(place), "value": float(values[place])}
                for place in np.argsort(-values, kind="stable")
            ],
        }
        for of, method, values in ways
    ]


def _tables(figures: dict[str, Any]) -> list[RenderableType]:
    views = {0.0: "the server's item table", 1.0: "its own view of the items"}
    view = views.get(figures["own_share"], f"a mix, {figures['own_share']:.0%} its own view of the items")
    item = figures["item"]
    of_what = ", ".join([str(item["year"] or "year unknown"), *item["genres"]])
    title = f"{item['title']} ({of_what}) for user {figures['user']}: {figures['score']:.3f}, scored by {view}"
    table = Table(title=Text(title), title_justify="left")
    for column in ("part", "adds" if figures["adds_up"] else "lost without it", "largest of it", "made of"):
        table.add_column(column, justify="right" if column in ("adds", "lost without it") else "left")
    for part in figures["parts"]:
        table.add_row(part["part"], f"{part['value']:+.3f}", Text(_largest(part["terms"])), part["made_of"])
    if figures["adds_up"]:
        table.add_section()
        table.add_row("score", f"{sum(part['value'] for part in figures['parts']):+.3f}")
    by = figures["score_by"]
    both = f"By the server's table the score is {by['server']:.3f}, by the device's own view {by['own']:.3f}."
    lines = [
        figures["note"],
        both,
        *([] if figures["own_items"] else [NO_OWN_ITEMS]),
        _place_words(figures["places"]),
        figures["known_only_to_the_device"],
    ]
    return [table, *map(_own_items_table, figures["own_items"]), Text("\n".join(lines), style="dim")]


def _largest(terms: list[dict[str, Any]]) -> str:
    largest = sorted((term for term in terms if abs(term["value"]) >= 5e-3), key=lambda term: -abs(term["value"]))
    shown = ", ".join(f"{term['name']} {term['value']:+.2f}" for term in largest[:_TERMS_SHOWN])
    return shown + (", ..." if len(largest) > _TERMS_SHOWN else "")


def _own_items_table(way: dict[str, Any]) -> Table:
    table = Table(title=Text(f"Own items that bear on it, by the {way['of']}"), title_justify="left")
    table.caption, table.caption_justify = Text(f"{way['method']}. {NO_SUM}"), "left"
    for column in ("title", "year", "genres", "newest", "score"):
        table.add_column(column, justify="right" if column in ("newest", "score") else "left")
    items = way["items"]
    for place, each in enumerate(items):
        if _OWN_ITEMS_SHOWN <= place < len(items) - _OWN_ITEMS_SHOWN:
            continue
        if place == len(items) - _OWN_ITEMS_SHOWN and place > _OWN_ITEMS_SHOWN:
            table.add_section()
        table.add_row(
            Text(each["title"]), str(each["year"] or ""), Text(", ".join(each["genres"])), f"{each['newest']}.",
            f"{each['value']:+.4f}",
        )  # fmt: skip
    return table


def _place_words(found: dict[str, Any]) -> str:
    def place(figures: dict[str, Any]) -> str:
        return f"{figures['position']:g} of {figures['of']}"

    if found["trained_on"]:
        return f"Rank {place(found['catalogue'])} in the catalogue; the device trained on it and does not recommend it."
    words = f"Rank {place(found['catalogue'])} in the catalogue, {place(found['outside_training'])} outside its list."
    if found["held_out"] == "validation":
        return words + " It was held out for validation."
    for protocol in ("clean", "full"):
        if found[protocol]:
            hits = ", ".join(
                f"{name.replace('hr', 'HR')} {value:g}" for name, value in found[protocol].items() if "hr" in name
            )
            words += f" Held out for test: place {place(found[protocol])} under {protocol}, {hits}."
    return words
