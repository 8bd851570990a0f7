"""`securerec audit`: attacks on what was recorded of a run."""

from typing import Annotated

import typer
from rich.console import Console, RenderableType
from rich.table import Table

from attacks import Finding, run_attacks
from securerec.audit.recording import recorded_case
from securerec.cli.output import JsonFile, emit
from securerec.cli.run import RunPath
from securerec.errors import RunError
from securerec.federation.folder import RunFolder

VIEWS = {
    "unprotected_upload": "upload, as trained",
    "noised_upload": "upload, noised",
    "opened_sum": "opened sum",
}


def audit_command(
    run: RunPath,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Seed of the intervals' bootstrap.")] = 0,
    json_file: JsonFile = None,
) -> None:
    """Attack what adversaries saw of a run that was made with --record-views.

    Each attack guesses which items each client had interacted with. Its AUC (mean over clients, 95% interval) stands
    beside what popularity alone would guess, and chance (.5). An attack is worth something as far as it beats
    popularity.
    """
    folder = RunFolder.open(run)
    if not any(folder.views.glob("round-*")):
        raise RunError(f"{run} has no recorded views: run again with --record-views (they are secret data)")
    case, console = recorded_case(folder.views), Console(stderr=True)
    with console.status("attacking ...") as status:
        findings = run_attacks(case, seed=seed, before=lambda attack: status.update(f"attacking: {attack.name} ..."))
    emit({"findings": [finding.to_json() for finding in findings]}, json_file, _table(findings))


def _table(findings: list[Finding]) -> RenderableType:
    table = Table(
        title="What the views gave away (95% intervals)", title_justify="left",
        caption="Beyond: the result minus its control's. Controls need no view.", caption_justify="left",
    )  # fmt: skip
    for column in ("attack", "round", "what was seen", "reached", "control", "beyond"):
        table.add_column(column, justify="left" if column in ("attack", "what was seen") else "right")
    for it in findings:
        result, beyond = it.result, it.beyond
        table.add_row(
            f"{it.attack}\n{it.target}", ", ".join(map(str, it.rounds)), VIEWS.get(it.view, it.view),
            f"{it.measure} {result.mean:.3f}\n({result.low:.3f} to {result.high:.3f})",
            f"{it.against}\n{it.controls[it.against].mean:.3f}",
            f"{beyond.mean:+.3f}\n({beyond.low:+.3f} to {beyond.high:+.3f})",
        )  # fmt: skip
    return table
