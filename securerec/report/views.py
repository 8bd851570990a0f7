"""HR and NDCG by whose view of the items a device scores with, as bars: the paper's comparison, with intervals."""

from pathlib import Path
from typing import Any

import numpy as np

from securerec.evaluation.intervals import Interval
from securerec.evaluation.views import Figures, figures_by_view
from securerec.report import drawing
from securerec.report.finished import FinishedRun

STRANGERS = 3
"""Strangers that each user's score function is tried with."""
_VIEWS = {
    "own": ("own\nview", drawing.BLUE, ""),
    "server": ("server's\ntable", drawing.GREEN, "//"),
    "stranger": ("stranger's\nview", drawing.ORANGE, "xx"),
    "head": ("head\nalone", drawing.PALE, ".."),
}
_METRICS = {"hr": "HR", "ndcg": "NDCG"}
NO_STRANGER = (
    "published: from the run's twin, whose devices are not kept, so there are no strangers; training negatives avoid "
    "the held-out items, which leaks them: for comparison with papers only."
)

ByProtocol = dict[str, dict[str, Figures]]
"""Protocol, view, metric."""


def view_figures(run: FinishedRun) -> ByProtocol:
    """Test figures by protocol and view. `published` where the run had a twin, without strangers."""
    rng = np.random.default_rng(run.config.data.candidates_seed)
    found = figures_by_view(
        run.devices, run.split, run.candidates(), run.config.evaluation.cutoffs, draws=STRANGERS, rng=rng
    )
    twin = run.results.get("scorings", {}).get("published")
    if twin is None:
        return found
    published = {view: _intervals(twin[view]) for view in ("own", "server", "head") if view in twin}
    return {"published": published} | found


def as_json(found: ByProtocol) -> dict[str, Any]:
    """Means and intervals, as `results.json` has them."""
    return {
        protocol: {
            view: {
                "metrics": {name: each.mean for name, each in figures.items()},
                "intervals": {name: [each.low, each.high] for name, each in figures.items()},
            }
            for view, figures in views.items()
        }
        for protocol, views in found.items()
    }


def draw_views(run: FinishedRun, found: ByProtocol, folder: Path) -> list[Path]:
    """A column for each protocol, a row for HR and NDCG at the first cutoff."""
    names = list(next(iter(found["clean"].values())))[:2]
    made, axes = drawing.figure(len(found), len(names), width=3.5, height=2.9, sharey="row")
    for column, (protocol, views) in enumerate(found.items()):
        for row, name in enumerate(names):
            axis = axes[row][column]
            for place, (view, figures) in enumerate(views.items()):
                _, color, hatch = _VIEWS[view]
                each = figures[name]
                errors = [[max(0.0, each.mean - each.low)], [max(0.0, each.high - each.mean)]]
                axis.bar(place, each.mean, color=color, hatch=hatch, edgecolor="white", width=0.8)
                axis.errorbar(place, each.mean, yerr=errors, color=drawing.INK, capsize=3, linewidth=1.1)
                axis.annotate(
                    f"{each.mean:.3f}", (place, each.high), xytext=(0, 3), textcoords="offset points", ha="center",
                    fontsize=8,
                )  # fmt: skip
            axis.set_xticks(range(len(views)), [_VIEWS[view][0] for view in views], fontsize=7.5)
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(True, axis="y", color="#E5E5E5", linewidth=0.7)
            axis.set_axisbelow(True)
            axis.margins(y=0.12)
            measure, _, cutoff = name.partition("@")
            axis.set_ylabel(f"{_METRICS[measure]}@{cutoff}" if column == 0 else "")
            axis.set_title(protocol if row == 0 else "", loc="left", fontsize=10)
    title = f"{run.dataset.name}, run {run.name}: test figures by whose view a device scores with"
    notes = [
        f"Each user's own score function, after round {run.kept_round}; bars: 95% over users. A stranger's view: the "
        f"item rows as another random device sees them, the mean of {STRANGERS} draws a user."
        + (" Head alone: the private head without any item row." if "head" in found["clean"] else ""),
        f"clean: 1 held-out item against {run.results['candidates']} sampled ones; full: against the whole catalogue.",
    ]
    drawing.captioned(made, title, notes + ([NO_STRANGER] if "published" in found else []))
    return drawing.save(made, folder, "figures-by-view", title, private=False)


def _intervals(figures: dict[str, Any]) -> Figures:
    return {name: Interval(mean, *figures["intervals"][name]) for name, mean in figures["metrics"].items()}
