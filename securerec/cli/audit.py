"""`securerec audit`: attacks on what was recorded of a run."""

from typing import Annotated

import numpy as np
import typer
from rich.console import Console, RenderableType
from rich.table import Table

from attacks import Finding, run_attacks, storage
from securerec.audit.recording import TRUTH_FILE, view_files
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
    files = view_files(folder.views) if folder.views.is_dir() else []
    if not files:
        raise RunError(f"{run} has no recorded views: run again with --record-views (they are secret data)")
    console = Console(stderr=True)
    truth, rng, findings = storage.load_truth(folder.views / TRUTH_FILE), np.random.default_rng(seed), []
    with console.status("attacking ...") as status:
        for file in files:
            status.update(f"attacking {file.name} ...")
            findings += run_attacks([storage.load_view(file)], truth, None, rng)
    emit({"findings": [finding.to_json() for finding in findings]}, json_file, _table(findings))


def _table(findings: list[Finding]) -> RenderableType:
    table = Table(
        title="Who interacted with what: AUC, mean over clients (95% interval)", title_justify="left",
        caption=f"By chance .5. {max(it.n for it in findings)} clients. Beyond: AUC minus popularity's.",
        caption_justify="left",
    )  # fmt: skip
    for column in ("attack", "round", "what was seen", "AUC", "popularity", "beyond"):
        table.add_column(column, justify="left" if column in ("attack", "what was seen") else "right")
    for it in findings:
        table.add_row(
            it.attack, str(it.round), VIEWS[it.view], f"{it.auc:.3f}\n({it.low:.3f} to {it.high:.3f})",
            f"{it.popularity_auc:.3f}", f"{it.advantage:+.3f}\n({it.advantage_low:+.3f} to {it.advantage_high:+.3f})",
        )  # fmt: skip
    return table
