"""Pictures of a sweep: utility against epsilon, what attacks recover against epsilon, and one against the other."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from securerec.errors import ConfigError
from securerec.evaluation.intervals import Interval
from securerec.experiments.tradeoff.methods import KINDS
from securerec.experiments.tradeoff.summary import AS_IF, NOT_CHARGED, Point, kind_label
from securerec.files import write_atomic

# Okabe and Ito's palette, which colour-blind people tell apart; markers and dashes say the same again.
_STYLE: dict[str, dict[str, Any]] = {
    "central": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "local": {"color": "#D55E00", "marker": "s", "linestyle": "-"},
    "nothing": {"color": "#009E73", "marker": "D", "linestyle": "--"},
    "none": {"color": "#CC79A7", "marker": "^", "linestyle": "--"},
    "reference": {"color": "#6E6E6E", "marker": "v", "linestyle": ":"},
}
_NAMES = {"hr": "HR", "ndcg": "NDCG"}


def write_pictures(folder: Path, points: Sequence[Point]) -> list[Path]:
    """Write every picture of one data set's points that there is something for, as PNG and SVG; return the files.

    Raises ConfigError where matplotlib is not installed.
    """
    if not points:
        return []
    written = []
    for name, draw in (("utility", _utility), ("attacks", _attacks), ("utility-against-attacks", _against)):
        figure = draw(points)
        if figure is None:
            continue
        for kind in ("png", "svg"):
            picture = io.BytesIO()
            # Without a date the same figures give the same bytes.
            with _style():
                figure.savefig(picture, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else None)
            path = folder / f"{points[0].dataset}-{name}.{kind}"
            write_atomic(path, picture.getvalue())
            written.append(path)
    return written


def _style() -> Any:
    """Settings of matplotlib's that hold for our figures alone. Raises ConfigError where it is not installed."""
    try:
        from matplotlib import rc_context
    except ImportError:
        raise ConfigError("pictures need matplotlib: install it, or say --no-pictures") from None
    return rc_context({"svg.hashsalt": "securerec", "font.size": 9})


def _figure(columns: int, rows: int = 1) -> tuple[Any, Any]:
    with _style():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(1.0 + 5.6 * columns, 0.9 + 3.9 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        return figure, figure.subplots(rows, columns, squeeze=False, sharex="row", sharey="row")


def _utility(points: Sequence[Point]) -> Any:
    """A column for each method, a row for each metric of the clean protocol; references in each."""
    methods = _methods(points)
    names = [name for name in points[0].figures if name.startswith("clean.")]
    if not methods:
        return None
    figure, axes = _figure(len(methods), len(names))
    panels: list[Panel] = []
    for row, name in enumerate(names):
        for column, method in enumerate(methods):
            axis = axes[row][column]
            shown = [point for point in points if point.label == method or point.kind == "reference"]
            labels = _draw(axis, shown, lambda point, name=name: point.figures[name])  # type: ignore[misc]
            panels.append((axis, labels, method if row == 0 else "", _metric(name) if column == 0 else ""))
            _epsilons(axis, shown)
    _finish(panels)
    _caption(figure, points, "clean protocol, test; bars and bands: 95% over users and seeds")
    return figure


def _attacks(points: Sequence[Point]) -> Any:
    """A column for each method; popularity's AUC, which needs no view, as a line."""
    methods = [method for method in _methods(points) if any(p.leak for p in points if p.label == method)]
    if not methods:
        return None
    figure, axes = _figure(len(methods))
    panels: list[Panel] = []
    for column, method in enumerate(methods):
        axis = axes[0][column]
        shown = [point for point in points if point.label == method and point.leak]
        labels = _draw(axis, shown, _leaked)
        labels.append(_popularity_line(axis, shown, axis.axhline))
        panels.append((axis, labels, method, "AUC of the strongest attack" if column == 0 else ""))
        _epsilons(axis, shown)
    _finish(panels)
    _caption(
        figure, points,
        "items of each device, recovered from: opened sums (secure sum), single noised uploads (local), "
        "single uploads as trained (no privacy); bars: 95% over devices",
    )  # fmt: skip
    return figure


def _against(points: Sequence[Point]) -> Any:
    """Attack across, utility up: the best corner is the upper left one."""
    methods = [method for method in _methods(points) if any(p.leak for p in points if p.label == method)]
    if not methods:
        return None
    name = next(iter(points[0].figures))
    figure, axes = _figure(len(methods))
    panels: list[Panel] = []
    for column, method in enumerate(methods):
        axis = axes[0][column]
        shown = [point for point in points if point.label == method and point.leak]
        for kind in (kind for kind in KINDS if any(point.kind == kind for point in shown)):
            own = [point for point in shown if point.kind == kind]
            across, up = [_leaked(point) for point in own], [point.figures[name] for point in own]
            axis.errorbar(
                [each.mean for each in across], [each.mean for each in up], xerr=_errors(across), yerr=_errors(up),
                capsize=2, linewidth=1, markersize=5, elinewidth=0.8, **_STYLE[kind], label=kind_label(kind),
            )  # fmt: skip
            for point, x, y in zip(own, across, up, strict=True):
                text = kind_label(kind) if point.epsilon is None else f"{point.epsilon:g}"
                axis.annotate(
                    text, (x.mean, y.mean), xytext=(5, 4), textcoords="offset points", fontsize=7,
                    color=_STYLE[kind]["color"],
                )  # fmt: skip
        _popularity_line(axis, shown, axis.axvline)
        axis.legend(fontsize=7, framealpha=0.9)
        panels.append((axis, [], method, _metric(name) if column == 0 else ""))
        axis.set_xlabel("AUC of the strongest attack on the items of each device (dotted: popularity alone)")
    _finish(panels)
    _caption(figure, points, "numbers: epsilon; clean protocol, test; 95% bars")
    return figure


Label = tuple[float, str, str]
"""Height, text, colour."""

Panel = tuple[Any, list[Label], str, str]
"""Axis, labels beside it, title, label of the vertical axis."""


def _draw(axis: Any, points: Sequence[Point], figure_of: Callable[[Point], Interval]) -> list[Label]:
    """Curves over epsilon, and lines with bands for what has none. Returns the labels of all."""
    labels = []
    for kind in (*KINDS, "reference"):
        own = [point for point in points if point.kind == kind]
        curve = sorted((point for point in own if point.epsilon is not None), key=lambda point: point.epsilon or 0.0)
        style, color = _STYLE[kind], _STYLE[kind]["color"]
        if curve:
            each = [figure_of(point) for point in curve]
            axis.errorbar(
                [point.epsilon for point in curve], [one.mean for one in each], yerr=_errors(each), capsize=2.5,
                linewidth=1.6, markersize=5, elinewidth=0.9, **style,
            )  # fmt: skip
            labels.append((each[-1].mean, kind_label(kind), color))
        for point in (point for point in own if point.epsilon is None):
            one = figure_of(point)
            axis.axhline(one.mean, color=color, linestyle=style["linestyle"], linewidth=1.1)
            if kind != "reference":
                axis.axhspan(one.low, one.high, color=color, alpha=0.10, linewidth=0)
            labels.append((one.mean, point.name if kind == "reference" else kind_label(kind), color))
    return labels


def _popularity_line(axis: Any, points: Sequence[Point], line: Callable[..., Any]) -> Label:
    height = next(point.leak.popularity for point in points if point.leak)
    line(height, color=_STYLE["reference"]["color"], linestyle=":", linewidth=1.1)
    return height, "popularity alone, no view", _STYLE["reference"]["color"]


def _finish(panels: Sequence[Panel]) -> None:
    """Once all is drawn, since panels of a row share their range."""
    for axis, labels, title, ylabel in panels:
        axis.grid(True, color="#E5E5E5", linewidth=0.7)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_ylabel(ylabel)
        low, high = axis.get_ylim()
        heights = _spread([one[0] for one in labels], (high - low) * 0.045)
        for (height, text, color), y in zip(labels, heights, strict=True):
            axis.annotate(
                text, (1.0, height), xycoords=("axes fraction", "data"), xytext=(1.03, y),
                textcoords=("axes fraction", "data"), color=color, fontsize=7.5, va="center", annotation_clip=False,
                arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.5},
            )  # fmt: skip
        axis.set_ylim(low, high)


def _spread(heights: Sequence[float], gap: float) -> list[float]:
    """The heights moved apart to at least `gap`, in their order, each cluster about where it was."""
    order = sorted(range(len(heights)), key=lambda place: heights[place])
    clusters: list[tuple[list[int], float]] = []
    for place in order:
        members, centre = [place], heights[place]
        while clusters:
            before, middle = clusters[-1]
            if centre - (len(members) - 1) * gap / 2 - (middle + (len(before) - 1) * gap / 2) >= gap:
                break
            clusters.pop()
            centre = (middle * len(before) + centre * len(members)) / (len(before) + len(members))
            members = before + members
        clusters.append((members, centre))
    placed = [0.0] * len(heights)
    for members, centre in clusters:
        for number, place in enumerate(members):
            placed[place] = centre + (number - (len(members) - 1) / 2) * gap
    return placed


def _epsilons(axis: Any, points: Sequence[Point]) -> None:
    epsilons = sorted({point.epsilon for point in points if point.epsilon is not None})
    if epsilons:
        axis.set_xscale("log", base=2)
        axis.set_xticks(epsilons, [f"{epsilon:g}" for epsilon in epsilons])
        axis.minorticks_off()
        axis.set_xlim(epsilons[0] / 1.25, epsilons[-1] * 1.25)
    else:
        axis.set_xticks([])
    delta = next((point.spent["delta"] for point in points if point.spent), None)
    stated = "" if delta is None else f" of one user, delta {delta:g}"
    axis.set_xlabel(f"epsilon{stated} (secure sum: central; otherwise local)")


def _caption(figure: Any, points: Sequence[Point], text: str) -> None:
    seeds = max(len(point.seeds) for point in points)
    notes = [NOT_CHARGED, *([AS_IF] if any(point.as_if for point in points) else [])]
    small = " ".join(f"{note[:1].upper()}{note[1:]}." for note in notes)
    title = f"{points[0].dataset}: {text}; {seeds} seed{'s' if seeds > 1 else ''}"
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    figure.supxlabel(small, fontsize=6.5, x=0.01, ha="left", color="#555555", wrap=True)


def _methods(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(point.label for point in points if point.kind != "reference"))


def _leaked(point: Point) -> Interval:
    leak = point.leak
    if leak is None:
        raise ValueError("no attack was made on this point")
    low, high = (leak.auc if bound is None else bound for bound in (leak.low, leak.high))
    return Interval(leak.auc, low, high)


def _errors(intervals: Sequence[Interval]) -> list[list[float]]:
    return [
        [max(0.0, each.mean - each.low) for each in intervals], [max(0.0, each.high - each.mean) for each in intervals]
    ]  # fmt: skip


def _metric(name: str) -> str:
    measure, _, k = name.partition(".")[2].partition("@")
    return f"{_NAMES[measure]}@{k}"
