"""An audit's findings as tables: by party for one run, attacks against defences for a grid."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from attacks.attempts import attempts_table
from attacks.epsilon import EpsilonBound
from attacks.registry import all_attacks
from securerec.audit.grid import Row
from securerec.audit.verdicts import MARGIN, Verdict, headline, party_of, sentence, verdict
from securerec.audit.whole import RunAudit

_STYLES = {"leaks": "bold red", "unclear": "yellow", "nothing found": "green"}


def attack_list() -> RenderableType:
    """What each attack does, who could do it, and where it comes from."""
    lines: list[RenderableType] = []
    for attack in all_attacks():
        lines += [
            Text(f"{attack.name}: {attack.goal.question}", style="bold"),
            Text(f"  {attack.summary}\n  on: {', '.join(attack.kinds)}\n  adversary: {attack.adversary}"),
            Text(f"  source: {attack.source}\n"),
        ]
    return Group(*lines)


def audit_tables(audit: RunAudit) -> list[RenderableType]:
    """All of a run's audit: what each party could learn, in figures and in words; epsilon; attempts."""
    parts = _finding_tables([finding.to_json() for finding in audit.findings])
    if audit.bounds:
        parts += [Text(), _bounds_table(audit.bounds)]
    return [*parts, Text(), attempts_table(audit.attempts), *_broken(audit)]


def _broken(audit: RunAudit) -> list[RenderableType]:
    """Promises that did not hold, loudly; a line where all did."""
    if audit.broken:
        return [Text(f"NOT AS PROMISED: {each}", "bold red") for each in audit.broken]
    left_out = [Text(each, "yellow") for each in audit.left_out]
    claims = "no epsilon is larger than claimed" if audit.bounds else "the run claims no epsilon"
    ended = "Every attempt ended as documented" + ("." if left_out else f", and {claims}.")
    return [*left_out, Text(ended, "green")]


def _bounds_table(bounds: Sequence[EpsilonBound]) -> Table:
    table = Table(
        title="Epsilon from below, beside what is claimed", title_justify="left",
        caption="Lower bounds, at 99% all together. Claimed: by the run's accountant, of "
        "these releases alone; exact: of the stated noise.",
        caption_justify="left",
    )  # fmt: skip
    for column in ("method", "claimed", "exact", "at least"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for it in bounds:
        table.add_row(
            f"{it.method}\n[dim]{it.setting}[/dim]", f"{it.claim.epsilon:.2f}", f"{it.claim.exact_epsilon:.2f}",
            Text(f"{it.lower:.2f}", style="bold red" if it.refutes_noise else ""),
        )  # fmt: skip
    return table


def _finding_tables(findings: list[dict[str, Any]]) -> list[RenderableType]:
    """For each party what its attacks reached, then the same in words."""
    shown = headline(findings)
    parties = dict.fromkeys(party_of(finding["view"]) for finding in shown)
    tables: list[RenderableType] = []
    for party in parties:
        own = [finding for finding in shown if party_of(finding["view"]) == party]
        tables += [_party_table(party, own), Text()]
    words = [
        Text(f"{party[0].upper()}{party[1:]} {sentence(finding)}.", style=_STYLES[verdict(finding)])
        for party in parties
        for finding in sorted(shown, key=lambda each: -each["beyond"][0])
        if party_of(finding["view"]) == party and verdict(finding) != "nothing found"
    ]
    return [*tables, *(words or [Text("No attack learnt more than its control gives without any view.", "green")])]


def _party_table(party: str, findings: Sequence[dict[str, Any]]) -> Table:
    table = Table(
        title=f"What {party} could learn", title_justify="left",
        caption="Beyond: the result minus its control's, which needs no view. 95% intervals.", caption_justify="left",
    )  # fmt: skip
    for column in ("attack", "guessed at", "reached", "control", "beyond"):
        table.add_column(column, justify="left" if column in ("attack", "guessed at") else "right")
    for it in sorted(findings, key=lambda each: (each["goal"], each["attack"], each["target"])):
        rounds = f"round {it['rounds'][-1]}" if len(it["rounds"]) == 1 else f"{len(it['rounds'])} rounds"
        control = it["controls"][it["against"]][0]
        table.add_row(
            f"{it['attack']}\n[dim]{rounds}, n = {it['n']}[/dim]", it["target"],
            f"{it['measure']} {it['result'][0]:.3f}\n{_span(it['result'])}", f"{it['against']}\n{control:.3f}",
            Text(f"{it['beyond'][0]:+.3f}\n{_span(it['beyond'], '+')}", style=_STYLES[verdict(it)]),
        )  # fmt: skip
    return table


def grid_tables(rows: Sequence[Row]) -> list[RenderableType]:
    """Attacks against defences: how far each gets beyond its control, and what the defence costs in utility."""
    letters = [chr(ord("a") + place) for place in range(len(rows))]
    legend = [Text(f"{letter}  {row.defence}") for letter, row in zip(letters, rows, strict=True)]
    # Narrow, so that all defences stand side by side in 80 columns.
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("attack: what it guesses at")
    for letter in letters:
        table.add_column(letter, justify="right", no_wrap=True)
    utility = [row.utility["server"]["metrics"]["hr@10"] for row in rows]
    popularity = rows[0].utility["popularity"]["metrics"]["hr@10"]
    table.add_row(
        Text(f"utility: clean HR@10 (popularity {popularity:.2f})", "bold"),
        *(Text(f"{each:.2f}", "bold") for each in utility), end_section=True,
    )  # fmt: skip
    cells = {
        (finding["attack"], finding["target"], finding["measure"], row.defence): finding
        for row in rows
        for finding in sorted(headline(row.findings), key=lambda each: each["beyond"][0])
    }
    for attack, target, measure in sorted({key[:3] for key in cells}):
        found = [cells.get((attack, target, measure, row.defence)) for row in rows]
        table.add_row(f"{attack}: {target} ({measure})", *(_cell(finding) for finding in found))
    notes = (
        "Result minus control, of the round that got furthest; all figures in the JSON. Red: all of the 95% interval "
        f"above {MARGIN}; green: all of it below; yellow: neither. A dash: the server has no view for that attack."
    )
    title = Text("How far attacks get beyond their controls, by defence", "bold")
    return [title, *legend, Text(), table, Text(notes, "italic"), Text(), *(_in_words(row) for row in rows)]


def _in_words(row: Row) -> Text:
    """A defence's verdicts, counted, and the attack that got furthest."""
    found = headline(row.findings)
    counts = Counter(verdict(finding) for finding in found)
    furthest = max(found, key=lambda each: each["beyond"][1] if each["beyond"][1] is not None else -1.0)
    worst: Verdict = "leaks" if counts["leaks"] else "unclear" if counts["unclear"] else "nothing found"
    return Text(
        f"{row.defence}: of {len(found)} attacks and targets {counts['leaks']} leak, {counts['unclear']} unclear, "
        f"{counts['nothing found']} with nothing found. Surest: the server {sentence(furthest)}.",
        _STYLES[worst],
    )


def _cell(finding: dict[str, Any] | None) -> Text:
    if finding is None:
        return Text("-", "dim")
    shown = f"{finding['beyond'][0]:+.2f}".replace("0.", ".", 1)
    return Text(shown, _STYLES[verdict(finding)])


def _span(estimate: Sequence[float | None], sign: str = "") -> str:
    _, low, high = estimate
    return "(interval unknown)" if low is None or high is None else f"({low:{sign}.3f} to {high:{sign}.3f})"
