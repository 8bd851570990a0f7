"""python -m attacks.crypto [PROTOCOL...]: try to break secure sums, and print what came of each attempt."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from attacks.attempts import attempts_table
from attacks.crypto.attempts import crypto_attacks, run_attempts
from attacks.errors import AttackError
from attacks.files import write_json
from protocols import PROTOCOLS


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 where every attempt ended as documented, 7 where one did not or could not be run;
    argparse leaves with 2 for wrong usage.
    """
    parser = argparse.ArgumentParser(prog="python -m attacks.crypto", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument(
        "protocols", nargs="*", metavar="PROTOCOL", help=f"{', '.join(PROTOCOLS)}, or tenseal, the control; default all"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the attempts as JSON; - for standard output")
    parser.add_argument("--list", action="store_true", help="explain each attempt, its adversary and source")
    options = parser.parse_args(arguments)
    if options.list:
        _print_list(Console())
        return 0
    console = Console(stderr=options.json == Path("-"))
    try:
        with console.status("") as status:
            attempts = run_attempts(
                options.protocols or (*PROTOCOLS, "tenseal"),
                before=lambda attack, protocol: status.update(f"{attack.name}: {protocol}"),
            )
        console.print(attempts_table(attempts))
        if options.json is not None:
            write_json(options.json, {"attempts": [attempt.to_json() for attempt in attempts]})
    except (AttackError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return AttackError.exit_code
    return 0 if all(attempt.as_promised for attempt in attempts) else AttackError.exit_code


def _print_list(console: Console) -> None:
    for attack in crypto_attacks():
        console.print(f"[bold]{attack.name}[/bold] on {', '.join(attack.protocols)}")
        console.print(
            f"  {attack.summary}\n  adversary: {attack.adversary}\n  source: {attack.source}", highlight=False
        )


if __name__ == "__main__":
    sys.exit(main())
