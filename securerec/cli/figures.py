"""A run's figures as tables."""

from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

BASELINES = {
    "popularity": "popularity",
    "local_only": "each device alone (50 rounds)",
    "ials": "iALS on all data in one place",
}
SCORINGS = {"own": "device's own view", "server": "server's table", "device": "mix that each device chose"}


def run_tables(figures: dict[str, Any]) -> list[RenderableType]:
    """Quality, privacy and cost of a finished run."""
    return [_quality(figures), _privacy(figures), _cost(figures)]


def _quality(figures: dict[str, Any]) -> Table:
    protocols = [name for name in ("published", "clean", "full") if name in figures["scorings"]]
    names = list(figures["metrics"]["clean"])
    table = Table(
        title=f"Test figures on {figures['dataset']}, round {figures['kept_round']} (95% interval over users)",
        caption=(
            f"published, clean: 1 against {figures['candidates']} sampled; full: whole catalogue. published leaks held-out items "
            f"through its training negatives (see 'each device alone'); it is a twin run, for comparison with papers only.\n"
            f"Order of a user's items: {figures['tie_rule']}."
        ),
        title_justify="left", caption_justify="left",
    )  # fmt: skip
    table.add_column("model")
    for protocol in protocols:
        for name in names:
            table.add_column(f"{protocol}\n{name.upper()}", justify="right")
    for scoring, label in SCORINGS.items():
        cells = []
        for protocol in protocols:
            part = figures["scorings"][protocol][scoring]
            for name in names:
                low, high = part["intervals"][name]
                shown = f"{part['metrics'][name]:.3f} ±{(high - low) / 2:.3f}"
                cells.append(f"[bold]{shown}[/bold]" if figures["scoring"][protocol] == scoring else shown)
        table.add_row(f"PFedRec, {label}", *cells)
    for key, label in BASELINES.items():
        part = figures["baselines"][key]
        table.add_row(label, *(f"{part[protocol][name]:.3f}" for protocol in protocols for name in names), style="dim")
    return table


def _privacy(figures: dict[str, Any]) -> RenderableType:
    privacy = figures["privacy"]
    if privacy["central_epsilon"] is None:
        return Text("Privacy: none. Neither a central nor a local epsilon holds.", style="bold red")
    table = Table(title="Privacy", show_header=False, title_justify="left")
    table.add_row("central epsilon", f"{privacy['central_epsilon']:.3f} ({privacy['relation']})")
    table.add_row("local epsilon", f"{privacy['local_epsilon']:,.1f} ({privacy['local_relation']})")
    table.add_row("unit, delta", f"{privacy['unit']}, {privacy['delta']:g}")
    table.add_row(
        "accountant", f"{privacy['accountant']} (prv, approximate for discrete noise: "
        f"central {privacy['central_epsilon_prv_approximate']:.3f})"
    )  # fmt: skip
    table.add_row("noise multiplier, clip norm", f"{privacy['noise_multiplier']:.3f}, {privacy['clip_norm']:g}")
    table.add_row("noise sized for", f"{privacy['min_survivors']} of {figures['cohort']} clients, all honest")
    table.add_row("noise from", privacy["noise_source"])
    table.add_row("not accounted", "; ".join(privacy["not_accounted"]))
    return table


def _cost(figures: dict[str, Any]) -> Table:
    seconds = figures["seconds"]
    table = Table(title="Cost", show_header=False, title_justify="left")
    table.add_row("protocol", figures["protocol"])
    table.add_row("one upload", f"{figures['upload_bytes_per_client']:,} bytes")
    phases = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items() if name != "total")
    table.add_row("seconds", f"{seconds['total']:.1f} in all: {phases}")
    table.add_row("run", figures["run"])
    return table
