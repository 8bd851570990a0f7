"""Findings in words: what each party could have learnt, and how sure that is."""

from collections.abc import Sequence
from typing import Any, Literal

Verdict = Literal["leaks", "unclear", "nothing found"]

MARGIN = 0.02
"""Beyond its control by less, an attack is no news: the sampling error of the controls is of that size."""


def verdict(finding: dict[str, Any]) -> Verdict:
    """leaks: the whole interval lies more than MARGIN beyond the control; nothing found: the whole interval below."""
    _, low, high = finding["beyond"]
    if low is not None and low > MARGIN:
        return "leaks"
    if high is not None and high <= MARGIN:
        return "nothing found"
    return "unclear"


def headline(findings: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One finding for each attack, target and view: the one that got furthest beyond its control."""
    best: dict[tuple[str, str, str], dict[str, Any]] = {}
    for finding in findings:
        key = (finding["attack"], finding["target"], finding["view"])
        if key not in best or finding["beyond"][0] > best[key]["beyond"][0]:
            best[key] = finding
    return list(best.values())


def sentence(finding: dict[str, Any]) -> str:
    """What the attack reached, in words."""
    mean, low, high = finding["result"]
    control = finding["controls"][finding["against"]][0]
    reached = f"{finding['measure']} {mean:.3f} ({_bounds(low, high)}) where {finding['against']} gives {control:.3f}"
    opening = {
        "leaks": f"learns {finding['target']}",
        "unclear": f"may learn something of {finding['target']}",
        "nothing found": f"learns nothing measurable of {finding['target']}",
    }[verdict(finding)]
    return f"{opening} by {finding['attack']}: {reached}, n = {finding['n']}"


def party_of(view: str) -> str:
    """Who holds a view."""
    if view == "unprotected_upload":
        return "whoever opens uploads as they were trained"
    if view == "noised_upload":
        return "whoever opens single uploads after noise"
    if view == "opened_sum":
        return "the server of a secure sum, and whoever sees its opened sums"
    return f"a server that opens several sums ({view})"


def _bounds(low: float | None, high: float | None) -> str:
    return "interval unknown" if low is None or high is None else f"{low:.3f} to {high:.3f}"
