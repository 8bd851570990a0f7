"""`securerec keys`: make, show and rotate the keys of a federation."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from protocols.identity import Address
from protocols.roster import Roster
from securerec.cli.output import JsonFile, emit
from securerec.errors import ConfigError
from securerec.keys import KeyFolder

app = typer.Typer(help="Make, show and rotate the keys of a federation.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the federation's keys.")]


@app.command("make")
def make_command(
    folder: Folder,
    clients: Annotated[int, typer.Option(min=1, max=1 << 20, metavar="N", help="Devices to enrol.")],
    decryptors: Annotated[int, typer.Option(min=0, max=1024, metavar="N", help="Members of the committee.")] = 7,
    threshold: Annotated[int, typer.Option(min=0, metavar="T", help="Members needed to open a sum.")] = 5,
    tolerated: Annotated[int, typer.Option(min=0, metavar="F", help="Members that may side with the server.")] = 2,
    json_file: JsonFile = None,
) -> None:
    """Make identities for a server, devices and decryptors, an enrolment key, and the roster that it signs.

    Each party's secrets go to a folder of its own that only you can read; hand each its own and nothing else. The
    enrolment key belongs offline: whoever has it decides who takes part. A threshold must be more than half of
    members and tolerated ones together, so that no two sets of members can open two different sums of a round.
    """
    keys = KeyFolder(folder)
    roster = keys.make(clients=clients, decryptors=decryptors, threshold=threshold, tolerated=tolerated)
    _emit(keys, roster, json_file)


@app.command("show")
def show_command(folder: Folder, json_file: JsonFile = None) -> None:
    """Show who is enrolled and their public keys; never a secret. Names secret files that others could read."""
    keys = KeyFolder(folder)
    _emit(keys, keys.roster(), json_file)


@app.command("rotate")
def rotate_command(
    folder: Folder,
    server: Annotated[bool, typer.Option("--server", help="The server's keys.")] = False,
    client: Annotated[list[int] | None, typer.Option(metavar="N", help="A device's keys; may be repeated.")] = None,
    decryptor: Annotated[list[int] | None, typer.Option(metavar="N", help="A member's keys; may be repeated.")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Everybody's keys but the enrolment key.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Replace keys and sign a new roster. Whoever still holds the old roster refuses the new keys until it has the
    new one.
    """
    keys = KeyFolder(folder)
    chosen = [Address("server", 0)] if server else []
    chosen += [Address("client", number) for number in client or ()]
    chosen += [Address("decryptor", number) for number in decryptor or ()]
    if everybody:
        chosen = [party.address for party in keys.roster()]
    if not chosen:
        raise ConfigError("nothing to rotate: name --server, --client N, --decryptor N, or --all")
    _emit(keys, keys.rotate(chosen), json_file)


def _emit(keys: KeyFolder, roster: Roster, json_file: str | None) -> None:
    loose = keys.loose()
    figures: dict[str, Any] = {
        "folder": str(keys.path),
        "roster_digest": roster.digest.hex(),
        "threshold": roster.threshold,
        "tolerated": roster.tolerated,
        "parties": [
            {"role": party.role, "number": party.number, "signing": party.signing.hex(), "box": party.box.hex()}
            for party in roster
        ],
        "readable_by_others": [str(path) for path in loose],
    }
    table = Table(title=f"Keys in {keys.path}", title_justify="left")
    for column in ("party", "signing key", "box key"):
        table.add_column(column)
    parties = list(roster)
    shown = [roster.server, *roster.clients[:5], *roster.decryptors]
    for party in shown:
        table.add_row(str(party.address), party.signing.hex()[:16] + "...", party.box.hex()[:16] + "...")
    lines = [
        f"{roster.threshold} of {len(roster.decryptors)} decryptors open a sum; {roster.tolerated} may be corrupt."
    ]
    if len(parties) > len(shown):
        lines.append(f"{len(parties) - len(shown)} more devices are enrolled.")
    lines.append(f"Roster {roster.digest.hex()[:32]}")
    lines += [f"WARNING: others can read {path}: chmod 600 it and rotate its keys" for path in loose]
    emit(figures, json_file, table, Text("\n".join(lines)))
