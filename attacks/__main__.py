"""python -m attacks VIEW... --truth TRUTH: run every attack on recorded views and print what they learnt."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from attacks import storage
from attacks.case import Case, Public
from attacks.errors import AttackError
from attacks.files import write_json
from attacks.findings import Finding
from attacks.registry import all_attacks, run_attacks


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 7 when a file or attack fails; argparse leaves with 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m attacks", description="Attack recorded views, score the guesses.")
    parser.add_argument("views", nargs="*", type=Path, metavar="VIEW", help="a view: safetensors or .npz")
    parser.add_argument("--truth", type=Path, help="the truth that guesses are scored against; attacks never see it")
    parser.add_argument("--public", type=Path, help="what everybody knows: genres, how clients train")
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
        public = Public() if options.public is None else storage.load_public(options.public)
        case = Case(storage.recording(options.views), storage.load_truth(options.truth), public)
        findings = run_attacks(case, seed=options.seed)
        _print_findings(Console(stderr=options.json == Path("-")), findings)
        if options.json is not None:
            write_json(options.json, {"findings": [finding.to_json() for finding in findings]})
    except (AttackError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return AttackError.exit_code
    return 0


def _print_findings(console: Console, findings: Sequence[Finding]) -> None:
    """One section a finding, narrow enough for 80 columns."""
    table = Table(caption="95% intervals. Controls are what the same measure gives without the view.")
    for heading in ("attack and view", "measure", "mean", "95% interval"):
        table.add_column(heading, no_wrap=True)
    for it in findings:
        rounds = ", ".join(map(str, it.rounds))
        measures = {it.measure: it.result, f"beyond {it.against}": it.beyond} | dict(it.controls) | dict(it.others)
        table.add_row(
            f"{it.attack}\n{it.target}\n{it.view}\nround {rounds}, n = {it.n}",
            "\n".join(measures),
            "\n".join(f"{each.mean:.3f}" for each in measures.values()),
            "\n".join(f"{each.low:.3f} to {each.high:.3f}" for each in measures.values()),
        )
        table.add_section()
    console.print(table)


def _print_list(console: Console) -> None:
    for attack in all_attacks():
        console.print(f"[bold]{attack.name}[/bold] on {', '.join(attack.kinds)}: {attack.goal.question}")
        console.print(
            f"  {attack.summary}\n  adversary: {attack.adversary}\n  source: {attack.source}", highlight=False
        )


if __name__ == "__main__":
    sys.exit(main())
