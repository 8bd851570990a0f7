"""python -m attacks VIEW... --truth TRUTH: run every attack on recorded views and print what they learnt."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from attacks import storage
from attacks.errors import AttackError
from attacks.files import write_whole
from attacks.registry import all_attacks
from attacks.scoring import CHANCE_AUC, CHANCE_TPR, Finding, run_attacks


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 7 when a file or attack fails; argparse leaves with 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m attacks", description="Attack recorded views, score the guesses.")
    parser.add_argument("views", nargs="*", type=Path, metavar="VIEW", help="a view: safetensors or .npz")
    parser.add_argument("--truth", type=Path, help="the truth that guesses are scored against; attacks never see it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings as JSON; - for standard output")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap over clients (default 0)")
    parser.add_argument("--list", action="store_true", help="explain each attack, its adversary and source")
    options = parser.parse_args(arguments)
    if options.list:
        _print_list(Console())
        return 0
    if not options.views or options.truth is None:
        parser.error("give at least one VIEW, and --truth TRUTH (or --list)")
    if options.seed < 0:
        parser.error("--seed must be 0 or more")
    try:
        views = [storage.load_view(path) for path in options.views]
        findings = run_attacks(views, storage.load_truth(options.truth), None, np.random.default_rng(options.seed))
        to_stdout = options.json == Path("-")
        _print_findings(Console(stderr=to_stdout), findings)
        if options.json is not None:
            text = json.dumps({"findings": [finding.to_json() for finding in findings]}, indent=2) + "\n"
            if to_stdout:
                sys.stdout.write(text)
            else:
                write_whole(options.json, text.encode())
    except (AttackError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return AttackError.exit_code
    return 0


def _print_findings(console: Console, findings: Sequence[Finding]) -> None:
    """One section a finding, narrow enough for 80 columns."""
    table = Table(caption=f"Means over clients. By chance the AUC is {CHANCE_AUC} and the TPR {CHANCE_TPR}.")
    for heading in ("attack and view", "measure", "mean", "95% interval"):
        table.add_column(heading, no_wrap=True)
    for it in findings:
        measures = {
            "AUC": (it.auc, it.low, it.high),
            "popularity AUC": (it.popularity_auc, it.popularity_low, it.popularity_high),
            "advantage in AUC": (it.advantage, it.advantage_low, it.advantage_high),
            "TPR at 1% FPR": (it.tpr_at_1pct_fpr, it.tpr_low, it.tpr_high),
            "F1": (it.f1, it.f1_low, it.f1_high),
        }
        table.add_row(
            f"{it.attack}\n{it.view}\nround {it.round}, {it.n} clients",
            "\n".join(measures),
            "\n".join(f"{mean:.3f}" for mean, _, _ in measures.values()),
            "\n".join(f"{low:.3f} to {high:.3f}" for _, low, high in measures.values()),
        )
        table.add_section()
    console.print(table)


def _print_list(console: Console) -> None:
    for attack in all_attacks():
        console.print(f"[bold]{attack.name}[/bold] on {', '.join(attack.kinds)}")
        console.print(
            f"  {attack.summary}\n  adversary: {attack.adversary}\n  source: {attack.source}", highlight=False
        )


if __name__ == "__main__":
    sys.exit(main())
