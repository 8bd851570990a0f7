"""`securerec bench chaos` and `securerec bench uploads`: does a federation hold, and how fast is its server?"""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from protocols.registry import PROTOCOLS
from securerec.cli.output import JsonFile, emit
from securerec.errors import ConfigError, RunError

BROKEN = 9
"""Exit code where an invariant was broken."""


class InvariantBroken(RunError):
    """A federation under chaos did something that it must never do."""

    exit_code = BROKEN


def chaos_command(
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=1000, metavar="N", help="Rounds to play.")] = 100,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of the plan of faults.")] = 0,
    protocol: Annotated[str, typer.Option("--protocol", metavar="NAME", help="How uploads are summed.")] = (
        "ckks-committee"
    ),
    json_file: JsonFile = None,
) -> None:
    """Play a small federation through kills, dropouts, late and old letters and a server that lies; check what it did.

    24 devices on 12 nodes, 7 decryptors, each with a disk of its own, in this process. Nodes, decryptors and the server
    are killed in every phase and start again; up to 30% of the devices and 2 of 7 decryptors are gone; the server sends
    different tables, old letters, other survivor sets, second broadcasts. After every attempt what was opened is held
    against what devices uploaded. Fails where an invariant is broken.
    """
    from securerec.experiments.chaos.play import play_chaos

    if protocol not in PROTOCOLS:
        raise ConfigError(f"there is no protocol {protocol!r}: choose among {', '.join(PROTOCOLS)}")
    with Console(stderr=True).status("enrolling ...") as status:
        result = play_chaos(rounds, seed, protocol=protocol, step=lambda what: status.update(f"{what} ..."))
    tables = []
    counted = (
        ("attempts", "outcome", result.outcomes),
        ("faults", "of a letter or a party", result.faults),
        ("lies", "of the server", result.lies),
        ("kills", "of the server, while it waits for", result.kills),
        ("refusals", "of the server's, by name", result.complaints),
    )
    for title, column, counts in counted:
        table = Table(title=f"{title.capitalize()}: {sum(counts.values())}", title_justify="left", box=SIMPLE)
        table.add_column(column)
        table.add_column("times", justify="right")
        for name, times in counts.items():
            table.add_row(Text(name), str(times))
        tables.append(table)
    held = Table(title="Invariants", title_justify="left", box=SIMPLE)
    for column in ("", "checked", "broken"):
        held.add_column(column, justify="left" if not column else "right")
    for name, times in result.checked.items():
        held.add_row(name, str(times), str(len(result.broken[name])))
    notes = [Text(f"refused by nodes and decryptors: {result.refused_by_parties} messages")]
    notes += [Text(f"broken: {line}") for lines in result.broken.values() for line in lines[:10]]
    if result.stopped:
        notes.append(Text(f"stopped before the last round: {result.stopped}"))
    notes.append(Text(f"{result.rounds} rounds by {result.protocol}, seed {result.seed}: {result.seconds:.0f} seconds"))
    emit(asdict(result) | {"violations": result.violations}, json_file, *tables, held, *notes)
    if result.violations:
        raise InvariantBroken(f"{result.violations} times an invariant was broken: repeat it with --seed {seed}")


def uploads_command(
    length: Annotated[int, typer.Option("--length", min=1, metavar="N", help="Values of a vector.")] = 53_824,
    bits: Annotated[int, typer.Option("--bits", min=2, max=32, metavar="N", help="Bits of a value.")] = 8,
    clients: Annotated[list[int] | None, typer.Option(min=2, metavar="N", help="Clients; repeatable.")] = None,
    protocol: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Protocol; repeatable.")] = None,
    json_file: JsonFile = None,
) -> None:
    """How many uploads a second a server takes in on one core, and how its memory grows with the cohort.

    A server's whole work for a client in all phases of its round: messages made, seals checked, uploads added up. It
    runs in a process of its own, on one thread; the clients' work is not counted. Without options: 100, 300 and 1000
    clients, by ckks-committee and pairwise.
    """
    from securerec.experiments.protocol_costs import measure
    from securerec.experiments.sum_settings import Setting

    names = protocol or ["ckks-committee", "pairwise"]
    for name in names:
        if name not in PROTOCOLS:
            raise ConfigError(f"there is no protocol {name!r}: choose among {', '.join(PROTOCOLS)}")
    rows = []
    with Console(stderr=True).status("") as status:
        for name in names:
            for number in clients or [100, 300, 1000]:
                status.update(f"{name}, {number} clients ...")
                rows.append(measure(Setting(name, length, number, bits)))
    table = Table(title=f"Uploads of {length:,} values of {bits} bits", title_justify="left", box=SIMPLE)
    for column in ("protocol", "clients", "bytes of one", "uploads / s", "wrong", "MB"):
        table.add_column(column, justify="left" if column == "protocol" else "right")
    for row in rows:
        table.add_row(
            row.protocol, f"{row.clients:,}", f"{row.upload_bytes:,}", f"{1000 / row.server_ms:,.0f}", str(row.wrong),
            "" if row.peak_mb is None else f"{row.peak_mb:.0f}",
        )  # fmt: skip
    figures = [asdict(row) | {"uploads_per_second": 1000 / row.server_ms} for row in rows]
    emit({"rows": figures}, json_file, table, Text("MB: growth of the server's memory in a round, at its peak"))
