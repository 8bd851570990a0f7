"""A run's figures as tables."""

from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from securerec.scorer_plan import NAMES

BASELINES = {"popularity": "popularity", "local_only": "each device alone", "ials": "iALS, all data central"}
SCORINGS = {
    "own": "{name}, own view", "server": "{name}, server's table", "device": "{name}, device's mix",
    "head": "private head alone, no rounds",
}  # fmt: skip
"""By key in the figures; {name} is the learner's."""


def run_tables(figures: dict[str, Any]) -> list[RenderableType]:
    """Quality, privacy and cost of a finished run."""
    cutoffs = [name.removeprefix("hr@") for name in figures["metrics"]["clean"] if name.startswith("hr@")]
    return [
        *(_quality(figures, cutoff) for cutoff in cutoffs),
        _notes(figures),
        _privacy(figures),
        _cost(figures),
        _next(figures),
    ]


def _quality(figures: dict[str, Any], cutoff: str) -> Table:
    protocols = [name for name in ("published", "clean", "full") if name in figures["scorings"]]
    names = (f"hr@{cutoff}", f"ndcg@{cutoff}")
    kept = figures["kept_round"]
    rounds = f"round {kept['clean']}"
    if kept["published"] not in (None, kept["clean"]):
        rounds += f" (published: {kept['published']})"
    title = f"HR@{cutoff} / NDCG@{cutoff} on test, {figures['dataset']}, after {rounds}"
    table = Table(title=title, title_justify="left", caption=_interval(figures, names), caption_justify="left")
    table.add_column("scored by")
    for protocol in protocols:
        table.add_column(protocol, justify="right")
    for scoring, label in SCORINGS.items():
        if scoring not in figures["scorings"]["clean"]:
            continue
        cells = []
        for protocol in protocols:
            shown = _pair(figures["scorings"][protocol][scoring]["metrics"], names)
            cells.append(f"[bold]{shown}[/bold]" if figures["scoring"][protocol] == scoring else shown)
        table.add_row(label.format(name=NAMES[figures["model"]]), *cells)
    for key, label in BASELINES.items():
        part = figures["baselines"][key]
        table.add_row(label, *(_pair(part[protocol], names) for protocol in protocols), style="dim")
    return table


def counted(n: int, noun: str) -> str:
    """A number and its noun, such as "1 user" and "1,200 users"."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _pair(metrics: dict[str, float], names: tuple[str, str]) -> str:
    return " / ".join(f"{metrics[name]:.3f}" for name in names)


def _interval(figures: dict[str, Any], names: tuple[str, str]) -> str:
    """The widest half interval of the headline figures, for each metric."""
    widths = []
    for name in names:
        spans = [
            figures["scorings"][protocol][figures["scoring"][protocol]]["intervals"][name]
            for protocol in figures["scorings"]
        ]
        widths.append(max(high - low for low, high in spans) / 2)
    return f"Bold: the headline. 95% intervals over users: at most ±{widths[0]:.3f} / ±{widths[1]:.3f}."


def _notes(figures: dict[str, Any]) -> Text:
    if "published" in figures["scorings"]:
        sampled, alone = "clean, published", (
            "'published' is a twin run for comparison with papers only: its training negatives avoid the held-out "
            f"items, which leaks them (see 'each device alone', trained {figures['local_only_rounds']} rounds without "
            "any federation)"
        )  # fmt: skip
    else:
        sampled, alone = "clean", f"'each device alone': {figures['local_only_rounds']} rounds without any federation"
    return Text(
        f"{sampled}: 1 against {figures['candidates']} sampled items; full: the whole catalogue. {alone}. A user's "
        f"items are ordered {figures['tie_rule']}.\n"
        + (
            f"{figures['saturated']:,} coordinates met the bound of an upload without privacy and were cut.\n"
            if figures["saturated"]
            else ""
        ),
        style="dim",
    )


def _privacy(figures: dict[str, Any]) -> RenderableType:
    privacy = figures["privacy"]
    if privacy["unit"] == "interaction":
        return _interaction_privacy(privacy)
    if privacy["central_epsilon"] is None:
        return Text("Privacy: none. Neither a central nor a local epsilon holds.", style="bold red")
    table = Table(title="Privacy", show_header=False, title_justify="left")
    table.add_row("central epsilon", f"{privacy['central_epsilon']:.3f} ({privacy['relation']})")
    table.add_row("local epsilon", f"{privacy['local_epsilon']:,.1f} ({privacy['local_relation']})")
    table.add_row("unit, delta", f"{privacy['unit']}, {privacy['delta']:g}")
    table.add_row("accountant", f"{privacy['accountant']} (rdp: central {privacy['central_epsilon_rdp']:.3f})")
    for each in privacy["releases"]:
        table.add_row(
            each["release"] if each["count"] == 1 else f"{each['release']}, {each['count']} times",
            f"{each['share']:.0%} of the budget, noise multiplier {each['noise_multiplier']:.3f}, clip norm "
            f"{each['clip_norm']:g} ({each['norm']})",
        )  # fmt: skip
    if (continues := figures.get("continues")) is not None:
        added = f"{continues['added_epsilon']:.3f} to those of {continues['run_id'][:8]}"
        table.add_row("of which this run added", added)
    if privacy["min_honest"] is not None:
        sized = f"{privacy['min_honest']} honest ones of at least {privacy['min_survivors']}"
        table.add_row("noise sized for", f"{sized} of {figures['cohort']} clients")
    kind = f"{privacy['mechanism']}, " if privacy["mechanism"] else ""
    table.add_row("noise", f"{kind}from the {privacy['noise_source']}")
    table.add_row("not accounted", "; ".join(privacy["not_accounted"]))
    return table


def _interaction_privacy(privacy: dict[str, Any]) -> Table:
    epsilon, release = privacy["interaction_epsilon"], privacy["releases"][0]
    table = Table(title="Privacy of one interaction, not of a person", show_header=False, title_justify="left")
    shown = "infinite" if epsilon is None else f"{epsilon:.3f}"
    table.add_row("interaction epsilon", f"{shown} ({privacy['relation']})")
    table.add_row("user epsilon", Text(f"infinite: {privacy['user_level']}", style="bold yellow"))
    table.add_row("against", privacy["against"])
    table.add_row("unit, delta", f"{privacy['unit']}, {privacy['delta']:g}")
    table.add_row("accountant", privacy["accountant"])
    table.add_row(
        f"{privacy['mechanism']}, rounds",
        f"{release['count']} of {release['steps']} step{'s' * (release['steps'] > 1)}, noise multiplier "
        f"{release['noise_multiplier']:.3f}, clip norm of an interaction {release['clip_norm']:g} ({release['norm']}), "
        f"each taken with probability {release['sample_rate']:g}",
    )
    table.add_row("noise", f"all of it by each device, from the {privacy['noise_source']}")
    table.add_row("not accounted", "; ".join(privacy["not_accounted"]))
    return table


def _cost(figures: dict[str, Any]) -> Table:
    seconds = figures["seconds"]
    table = Table(title="Cost", show_header=False, title_justify="left")
    table.add_row("protocol", figures["protocol"])
    for each in figures["uploads"]:
        size = each["bytes"]
        shown = "none: sums are taken in the clear" if size is None else f"{size:,} bytes"
        table.add_row(f"one upload, {each['release']}", shown)
    phases = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items() if name != "total")
    table.add_row("seconds", f"{seconds.get('total', 0.0):.1f} in all: {phases}")
    return table


def _next(figures: dict[str, Any]) -> Text:
    return Text(f"Run folder: {figures['run']}\nNext: securerec recommend {figures['run']} --user ID", overflow="fold")
