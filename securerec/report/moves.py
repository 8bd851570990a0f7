"""A device's view against the server's table: how far rows moved, and which way."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from securerec.report import drawing
from securerec.report.finished import FinishedRun

_GROUPS = {
    "positives": ("the user's training items", drawing.BLUE, "-"),
    "trained_negatives": ("other items it trained on, as negatives", drawing.ORANGE, "--"),
    "not_trained": ("items it did not train on", drawing.GREY, ":"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """groups: (n_items,) names of `positives`, `trained_negatives`, `not_trained`, for each item. distances: (n_items,)
    float64, length of the device's row less the server's. added: (n_items,) float64, the user's score by the own view
    less that by the server's table.
    """

    groups: NDArray[np.str_]
    distances: NDArray[np.float64]
    added: NDArray[np.float64]


def moves(run: FinishedRun, own_view: NDArray[np.float32], user: int) -> Moves:
    """Of every item row; own_view: (n_items or more, dim) the user's. Raises RunError where a score is not finite."""
    n_items = run.split.train.n_items
    difference = (own_view[:n_items] - run.devices.table[:n_items]).astype(np.float64)
    groups = np.full(n_items, "not_trained", dtype="<U20")
    rows, _ = run.devices.changes.of(user)
    groups[rows[rows < n_items]] = "trained_negatives"
    groups[run.split.train.of(user)] = "positives"
    by_server, by_own = (run.devices.scorer(share)(np.array([user]))[0].astype(np.float64) for share in (0.0, 1.0))
    return Moves(groups, np.linalg.norm(difference, axis=1), by_own - by_server)


def move_figures(moved: Moves) -> dict[str, Any]:
    """By group: how many, median and quartiles of distances and of what moves add to scores. `auc`: how well the
    distance alone, and the added score alone, tell training items from all others (the chance that one of the former
    has more than one of the latter)."""
    groups = {}
    for name in _GROUPS:
        inside = moved.groups == name
        groups[name] = {
            "items": int(inside.sum()),
            "distance": _quartiles(moved.distances[inside]),
            "added_score": _quartiles(moved.added[inside]),
        }
    positive = moved.groups == "positives"
    return {
        "groups": groups,
        "auc": {
            "distance": auc(moved.distances, positive),
            "added_score": auc(moved.added, positive),
        },
    }


def auc(values: NDArray[np.float64], positive: NDArray[np.bool_]) -> float | None:
    """Mann and Whitney's statistic over the number of pairs; ties count half. None where a side is empty."""
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return None
    return float((rankdata(values)[positive].sum() - n * (n + 1) / 2) / (n * m))


def draw_moves(run: FinishedRun, moved: Moves, user: int, folder: Path) -> list[Path]:
    """Shares of rows by how far they moved, and by what it adds to their scores."""
    panels = (
        ("distance of the device's row from the server's", "distance", moved.distances),
        ("what the own view adds to the user's score of the item", "added_score", moved.added),
    )
    made, axes = drawing.figure(len(panels), height=3.6, sharey="row")
    told = move_figures(moved)["auc"]
    for axis, (label, name, values) in zip(axes[0], panels, strict=True):
        for group, (words, color, dashes) in _GROUPS.items():
            inside = np.sort(values[moved.groups == group])
            if len(inside):
                axis.step(
                    inside, np.arange(1, len(inside) + 1) / len(inside), where="post", color=color, linestyle=dashes,
                    linewidth=1.8, label=f"{words} ({len(inside)})",
                )  # fmt: skip
        _stretch(axis, values, float(np.median(np.abs(values[moved.groups != "not_trained"]))))
        axis.set_xlabel(label)
        axis.grid(True, color="#E5E5E5", linewidth=0.7)
        axis.spines[["top", "right"]].set_visible(False)
        if told[name] is not None:
            axis.set_title(f"tells training items from others: AUC {told[name]:.3f}", loc="left", fontsize=9)
    axes[0][0].set_ylabel("share of rows up to here")
    made.legend(*axes[0][0].get_legend_handles_labels(), loc="outside right upper", fontsize=8, frameon=False)
    title = (
        f"{run.dataset.name}, run {run.name}: own view of user {run.dataset.user_ids[user]} against the server's table "
        f"after round {run.kept_round}"
    )
    note = (
        "What tells the user's items apart here is what an upload must not show. Model of the clean and full "
        "protocols: any item outside a user's training list may be a training negative. Rows the device did not train "
        "on differ from the server's by what the round's sum brought. Scales are linear about zero, then logarithmic."
    )
    drawing.captioned(made, title, [note])
    return drawing.save(made, folder, "own-view-against-server", title, private=True)


def _stretch(axis: Any, values: NDArray[np.float64], middle: float) -> None:
    """Linear about zero, up to where the middle one of what was trained lies, and logarithmic beyond."""
    axis.set_xscale("symlog", linthresh=max(middle, 1e-6))
    largest = float(np.abs(values).max())
    if middle < 1e-6 or largest <= middle:
        return
    powers = 10.0 ** np.arange(np.ceil(np.log10(middle)), np.floor(np.log10(largest)) + 1)
    signed = [-powers[::-1] if values.min() < -middle else [], [0.0], powers if values.max() > middle else []]
    ticks = np.concatenate(signed)
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()


def _quartiles(values: NDArray[np.float64]) -> dict[str, float] | None:
    if not len(values):
        return None
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return {"lower_quartile": float(low), "median": float(middle), "upper_quartile": float(high)}
