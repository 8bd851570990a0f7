"""Item rows on a plane: the server's table beside one device's own view, coloured by that user's items or by genre."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from securerec.data.dataset import Dataset
from securerec.data.splits import ABSENT
from securerec.report import drawing
from securerec.report.finished import FinishedRun

MOST_ITEMS = 3000
"""Drawn of a larger catalogue: the user's own items, then the most popular ones. It bounds the time of t-SNE."""
PERPLEXITY = 30.0
NEIGHBOURS = 10
_MOST_GENRES = 6
_GENRE_STYLE = (
    (drawing.BLUE, "o"), (drawing.ORANGE, "s"), (drawing.GREEN, "^"), (drawing.PINK, "D"), (drawing.BROWN, "v"),
    (drawing.INK, "P"),
)  # fmt: skip
LEAK = (
    "Where this user's items stand together in the device's own view, the picture also shows a leak: whoever saw this "
    "device's change of the rows alone could read the list from it. "
)
_BEFORE_THAT = {
    (True, True): "The secure sum and the noise stand before that.",
    (True, False): "The secure sum alone stands before that.",
    (False, True): "The noise of its own upload alone stands before that: this run's sums were taken in the clear.",
    (False, False): "In this run nothing stands before that: uploads were summed in the clear, without noise.",
}
ROWS_ONLY = (
    "Only item rows are drawn. This run's devices also have a private head over public features, which makes most of a "
    "score and is no place in this picture."
)


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """Items on a plane, twice.

    items: (n,) those drawn; server, own: (n, 2) float64, t-SNE of the server's rows and of one device's view of them,
    started from the same places so that the two can be compared.
    """

    items: NDArray[np.int64]
    server: NDArray[np.float64]
    own: NDArray[np.float64]


def leak_words(run: FinishedRun) -> str:
    """What the picture of a device's own view gives away, and what of the run stands before it."""
    return LEAK + _BEFORE_THAT[run.config.protocol.protocol != "plain", run.config.privacy.privacy]


def drawn_items(run: FinishedRun, user: int) -> NDArray[np.int64]:
    """All items, or MOST_ITEMS of them, rising."""
    n_items = run.split.train.n_items
    if n_items <= MOST_ITEMS:
        return np.arange(n_items)
    order = np.argsort(-run.split.train.popularity(), kind="stable")
    first = np.unique(np.concatenate([run.split.train.of(user), held_out(run, user)])).astype(np.int64)
    others = order[~np.isin(order, first)][: max(MOST_ITEMS - len(first), 0)]
    return np.sort(np.concatenate([first, others]))


def planes(run: FinishedRun, own_view: NDArray[np.float32], user: int) -> Plane:
    """t-SNE (van der Maaten, Hinton 2008) of both with a fixed seed: the same run gives the same planes.

    own_view: (n_items or more, dim) the user's.
    """
    items = drawn_items(run, user)
    server, own = (rows[items].astype(np.float64) for rows in (run.devices.table, own_view))
    # One thread for each of the two: sums that threads share differ from time to time, and t-SNE makes much of it.
    with threadpool_limits(1), ThreadPoolExecutor(2) as both:
        start = _start(server)
        places = list(both.map(partial(_tsne, start=start), (server, own)))
    return Plane(items, *places)


def neighbours(rows: NDArray[np.float32], train: NDArray[np.int32], held_out: NDArray[np.int32]) -> dict[str, Any]:
    """How much a user's items stand together among rows (n_items, dim), in all their dimensions.

    Of the NEIGHBOURS nearest other items (by Euclidean distance; ties by the order of the rows) of each training item,
    the share that are training items too, on average; the same from the held-out items (None without any); and what a
    random place would have.
    """
    own = np.zeros(len(rows), np.bool_)
    own[train] = True
    here = rows.astype(np.float64)
    squares = np.square(here).sum(axis=1)

    def share(items: NDArray[np.int64]) -> float | None:
        if not len(items):
            return None
        distance = squares - 2 * here[items] @ here.T
        distance[np.arange(len(items)), items] = np.inf
        nearest = np.argsort(distance, axis=1, kind="stable")[:, : min(NEIGHBOURS, len(rows) - 1)]
        return float(own[nearest].mean())

    inside, outside = np.flatnonzero(own), np.unique(held_out).astype(np.int64)
    return {
        "train": share(inside),
        "held_out": share(outside),
        "expected": float((len(inside) - 1) / (len(rows) - 1)) if len(inside) else None,
    }


def draw_by_user(run: FinishedRun, plane: Plane, user: int, folder: Path) -> list[Path]:
    """The picture coloured by the user's items."""
    made, axes = drawing.figure(2)
    train = np.isin(plane.items, run.split.train.of(user))
    held = {"validation": int(run.split.validation[user]), "test": int(run.split.test[user])}
    for axis, places, title in _sides(run, plane, axes):
        others = ~train & ~np.isin(plane.items, list(held.values()))
        _dots(axis, places[others], drawing.PALE, "o", 7, "other items")
        _dots(axis, places[train], drawing.BLUE, "o", 16, f"the user's training items ({train.sum()})")
        for kind, marker, color in (("validation", "^", drawing.BROWN), ("test", "*", drawing.ORANGE)):
            here = plane.items == held[kind]
            _dots(axis, places[here], color, marker, 90, f"held out for {kind}", edge="black")
        axis.set_title(title, loc="left", fontsize=9.5)
    _legend(made, axes[0][0])
    title = f"{_what(run)}: item rows by t-SNE, coloured by the items of user {run.dataset.user_ids[user]}"
    drawing.captioned(made, title, [leak_words(run), *_notes(run, plane)])
    return drawing.save(made, folder, "items-by-user", title, private=True)


def draw_by_genre(run: FinishedRun, plane: Plane, user: int, folder: Path) -> list[Path]:
    """The picture coloured by genre; nothing for a data set without genres."""
    shown = main_genres(run.dataset)
    if shown is None:
        return []
    names, of_item = shown
    made, axes = drawing.figure(2)
    for axis, places, title in _sides(run, plane, axes):
        here = of_item[plane.items]
        _dots(axis, places[here < 0], drawing.PALE, "o", 6, "other or none")
        for number, name in enumerate(names):
            color, marker = _GENRE_STYLE[number]
            _dots(axis, places[here == number], color, marker, 13, name)
        axis.set_title(title, loc="left", fontsize=9.5)
    _legend(made, axes[0][0])
    title = f"{_what(run)}: item rows by t-SNE, coloured by genre; own view of user {run.dataset.user_ids[user]}"
    rule = f"The {len(names)} most frequent genres; an item with several of them is coloured by the rarest."
    drawing.captioned(made, title, [rule, *_notes(run, plane)])
    return drawing.save(made, folder, "items-by-genre", title, private=True)


def main_genres(dataset: Dataset) -> tuple[list[str], NDArray[np.int64]] | None:
    """The most frequent genres' names, and for each item the number of the rarest of them that it has, -1 for none.
    None where no item has a genre."""
    counts = dataset.genres.sum(axis=0)
    frequent = [int(each) for each in np.argsort(-counts, kind="stable")[:_MOST_GENRES] if counts[each]]
    if not frequent:
        return None
    of_item = np.full(len(dataset.genres), -1, np.int64)
    for number, genre in enumerate(frequent):
        of_item[dataset.genres[:, genre]] = number
    return [dataset.genre_names[genre] for genre in frequent], of_item


def _start(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first two principal components at the deviation that t-SNE starts from, 1e-4."""
    centred = rows - rows.mean(axis=0)
    _, _, turn = np.linalg.svd(centred, full_matrices=False)
    found = centred @ turn[:2].T
    found = np.pad(found, ((0, 0), (0, 2 - found.shape[1])))
    return found / max(found[:, 0].std(), 1e-300) * 1e-4


def _tsne(rows: NDArray[np.float64], start: NDArray[np.float64]) -> NDArray[np.float64]:
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    learner = TSNE(2, perplexity=perplexity, init=start.astype(np.float32), random_state=0, n_jobs=1)
    return np.asarray(learner.fit_transform(rows), np.float64)


def held_out(run: FinishedRun, user: int) -> NDArray[np.int32]:
    """The user's items for validation and test, as far as there are any."""
    both = np.array([run.split.validation[user], run.split.test[user]], np.int32)
    return both[both != ABSENT]


def _sides(run: FinishedRun, plane: Plane, axes: Any) -> list[tuple[Any, NDArray[np.float64], str]]:
    after = f"after round {run.kept_round}"
    sides = [
        (axes[0][0], plane.server, f"The server's item table, {after}"),
        (axes[0][1], plane.own, "The same rows as this device sees them"),
    ]
    for axis, _, _ in sides:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_color(drawing.PALE)
    return sides


def _dots(
    axis: Any, places: NDArray[np.float64], color: str, marker: str, size: float, label: str, edge: str = "none"
) -> None:
    if len(places):
        axis.scatter(
            *places.T, s=size, c=color, marker=marker, linewidths=0.6, edgecolors=edge, label=label, alpha=0.85
        )


def _legend(made: Any, axis: Any) -> None:
    made.legend(*axis.get_legend_handles_labels(), loc="outside right upper", fontsize=8, frameon=False)


def _what(run: FinishedRun) -> str:
    return f"{run.dataset.name}, run {run.name}"


def _notes(run: FinishedRun, plane: Plane) -> list[str]:
    notes = [
        f"t-SNE, perplexity {PERPLEXITY:g}, seed 0, {len(plane.items):,} items"
        + ("" if len(plane.items) == run.split.train.n_items else ", the user's and the most popular ones")
        + "; both start from the same places. Distances between far groups mean nothing. Model of the clean and full "
        "protocols: any item outside a user's training list may be a training negative."
    ]
    return notes + ([ROWS_ONLY] if run.devices.heads.head.directions.shape[1] else [])
