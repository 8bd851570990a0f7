"""Command line of the fuzzing: see `python -m protocols.fuzzing --help`."""

import argparse
import faulthandler
import json
import secrets
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from protocols.fuzzing.campaign import Report, campaign
from protocols.fuzzing.guided import executions, guided, installed
from protocols.fuzzing.targets import Target, targets

STUCK_SECONDS = 600
"""So long without progress, and the process prints where it is and ends: native code cannot be interrupted."""

_STDERR = 2
"""Descriptor, not the object: faulthandler writes while Python is stuck."""

_COLUMNS = "{:<42} {:>7} {:>7} {:>7} {:>8} {:>7} {:>7} {:>5} {:>5} {:>9} {:>9} {:>7}"
_HEADINGS = (
    "target", "mutants", "refused", "formed", "accepted", "crashed", "spoiled", "slow", "large", "slowest ms",
    "peak kB", "s",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """1 where anything was accepted, crashed, spoiled, slow or large; 2 for arguments that make no sense."""
    parser = argparse.ArgumentParser(prog="python -m protocols.fuzzing", description=__doc__.split(":")[0] + ".")
    parser.add_argument("--mutants", type=_count, default=10_000, metavar="N", help="for each target (10,000)")
    parser.add_argument("--seed", type=int, help="repeats the choices, not the keys; drawn and printed if not given")
    parser.add_argument("--target", metavar="NAME", help="only targets whose name holds this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all counts and harmful messages")
    parser.add_argument("--atheris", type=_count, metavar="SECONDS", help="guided by coverage, so long for each target")
    options = parser.parse_args(arguments)
    chosen = [target for name, target in targets().items() if (options.target or "") in name]
    if not chosen:
        parser.error(f"no target's name holds {options.target!r}; there are: {', '.join(targets())}")
    if options.atheris:
        if not installed():
            parser.error("atheris is not installed: pip install atheris")
        return _guided(chosen, options.atheris)
    seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}, {options.mutants} mutants for each of {len(chosen)} targets")
    print(_COLUMNS.format(*_HEADINGS))
    reports = []
    faulthandler.enable(_STDERR)
    for target in chosen:
        reports.append(campaign(target, mutants=options.mutants, seed=seed, progress=_progress))
        _show(reports[-1])
    faulthandler.cancel_dump_traceback_later()
    if options.json:
        options.json.write_text(json.dumps([_row(report) for report in reports], indent=1) + "\n")
    return 0 if all(report.clean for report in reports) else 1


def _guided(chosen: list[Target], seconds: int) -> int:
    clean = True
    for target in chosen:
        nothing, report = guided(target, seconds=seconds)
        clean = clean and nothing
        print(f"{target.name:<42} {executions(report):>9} messages  {'clean' if nothing else 'FOUND'}", flush=True)
        if not nothing:
            print(report)
    return 0 if clean else 1


def _progress(done: int) -> None:
    faulthandler.dump_traceback_later(STUCK_SECONDS, exit=True, file=_STDERR)
    if sys.stderr.isatty():
        print(f"\r{done:>9}", end="\r", file=sys.stderr, flush=True)


def _show(report: Report) -> None:
    print(
        _COLUMNS.format(
            report.target, report.mutants, report.refused, report.well_formed, report.accepted, report.crashed,
            report.spoiled, report.slow, report.large, f"{1000 * report.slowest:.1f}", report.peak >> 10,
            f"{report.seconds:.0f}",
        ),
        flush=True,
    )  # fmt: skip
    for finding in report.findings:
        print(f"    {finding.what}: {finding.sentence} ({len(finding.message)} bytes)")


def _row(report: Report) -> dict[str, Any]:
    findings = [{**asdict(finding), "message": finding.message.hex()} for finding in report.findings]
    return {**asdict(report), "findings": findings}


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
