"""`securerec device`: what a device keeps, what has left it, and what it recommends to its owner."""

import datetime
import math
import os
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table
from rich.text import Text

from securerec.cli.output import JsonFile, emit
from securerec.cli.recommend import item_figures
from securerec.data.arrival_files import read_history
from securerec.data.interactions import Interactions
from securerec.deploy.layout import Public, is_node, node_identities
from securerec.device.folder import LEDGER, POLICY, STORE, STORE_KEY, open_store
from securerec.device.ledger import DAY, DeviceLedger, as_json
from securerec.device.policy import Policy
from securerec.device.records import INTERACTIONS, OwnInteractions, read_interactions, write_interactions
from securerec.device.store import KeyFile, Passphrase, Store, held
from securerec.errors import ConfigError, DataError
from securerec.federation.parties.recommending import own_scores
from securerec.privacy.accounting import central_epsilon
from securerec.report.lookup import item_index

app = typer.Typer(
    help="A device's own side: its interactions, its policy, what has left it, what it recommends.",
    no_args_is_help=True,
)

PASSPHRASE = "SECUREREC_PASSPHRASE"
"""Environment variable that a passphrase is taken from, where nobody is there to be asked."""

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The device's or silo's own folder.")]
PublicFolder = Annotated[
    Path | None,
    typer.Option("--public", metavar="DIR", help="The federation's public files; beside the folder by default."),
]
Client = Annotated[
    int | None,
    typer.Option("--client", metavar="N", help="Which device, by its client number, where a silo holds several."),
]


@app.command("ledger")
def ledger_command(folder: Folder, json_file: JsonFile = None) -> None:
    """Show what has left this device: when, for whom, and under which promise.

    One line for each letter that was answered. Epsilons are of everything up to that line: central, against whoever
    sees the opened sums, and local, against whoever could open this device's own uploads.
    """
    policy, ledger = _policy(folder), DeviceLedger(folder / LEDGER)
    lines = ledger.sent()
    title = f"What has left {folder.name}: {len(lines)} letters" if lines else f"Nothing has left {folder.name} yet"
    table = Table(title=Text(title), title_justify="left")
    for column in ("when (UTC)", "release", "round", "attempt", "devices", "bytes", "summed with", "by", "server"):
        table.add_column(column, justify="right" if column in ("round", "attempt", "devices", "bytes") else "left")
    table.add_column("central epsilon", justify="right")
    table.add_column("local epsilon", justify="right")
    for line in lines:
        table.add_row(
            _moment(line.when), line.release, str(line.round_number), str(line.attempt), str(len(line.devices)),
            f"{line.size:,}", f"{line.cohort} or more of {line.enrolled}", line.protocol, line.server[:8],
            _epsilon(line.central_epsilon), _epsilon(line.local_epsilon),
        )  # fmt: skip
    last = lines[-1] if lines else None
    today = central_epsilon(ledger.events(since=_now() - DAY), delta=policy.delta).epsilon if lines else 0.0
    spent = last.central_epsilon if last else 0.0
    figures = {
        "letters": [as_json(line) for line in lines],
        "bytes": sum(line.size for line in lines),
        "central_epsilon": _finite(spent),
        "central_epsilon_24_hours": _finite(today),
        "max_epsilon": _finite(policy.max_epsilon),
        "max_epsilon_day": _finite(policy.max_epsilon_day),
        "delta": policy.delta,
    }
    note = Text(
        f"central epsilon {_epsilon(spent)} of {_epsilon(policy.max_epsilon)} allowed, {_epsilon(today)} of "
        f"{_epsilon(policy.max_epsilon_day)} within 24 hours, at a delta of {policy.delta:g}"
    )
    emit(figures, json_file, table, note, private=True)


@app.command("policy")
def policy_command(folder: Folder, json_file: JsonFile = None) -> None:
    """Show what the device's owner allows. To change it, edit policy.toml in the folder and start the device again."""
    policy = _policy(folder)
    rows = {
        "federations enrolled by": policy.enrolment,
        "servers": ", ".join(policy.servers) or "none",
        "protocols": ", ".join(policy.protocols) or "none",
        "fewest devices in a sum": str(policy.min_cohort),
        "central epsilon, ever": _epsilon(policy.max_epsilon),
        "central epsilon, 24 hours": _epsilon(policy.max_epsilon_day),
        "local epsilon, ever": _epsilon(policy.max_local_epsilon),
        "at a delta of": f"{policy.delta:g}",
        "noise from a seed": "allowed: simulation only" if policy.reproducible_noise else "refused",
    }
    table = Table("allowed", "", title=Text(f"Policy of {folder.name}"), title_justify="left")
    for name, value in rows.items():
        table.add_row(name, Text(value, overflow="fold"))
    figures = {
        "enrolment": policy.enrolment, "servers": list(policy.servers), "protocols": list(policy.protocols),
        "min_cohort": policy.min_cohort, "max_epsilon": _finite(policy.max_epsilon),
        "max_epsilon_day": _finite(policy.max_epsilon_day), "max_local_epsilon": _finite(policy.max_local_epsilon),
        "delta": policy.delta, "reproducible_noise": policy.reproducible_noise,
    }  # fmt: skip
    emit(figures, json_file, table)


@app.command("import")
def import_command(
    folder: Folder,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A CSV file with a column item, identifiers or titles of the catalogue, and perhaps timestamp; "
            "without it the last row is the newest.",
        ),
    ],
    client: Client = None,
    public: PublicFolder = None,
) -> None:
    """Put a device's own interactions into its store, in place of what it had; they are encrypted there.

    Where there is no store yet, one is made with a new key file beside it; with a passphrase where the environment
    variable SECUREREC_PASSPHRASE holds one.
    """
    catalogue, numbers = _public(folder, public).catalogue, sorted(node_identities(folder))
    number = _one_of(numbers, client)
    items = read_history(file, lambda text: item_index(catalogue, text))
    with held(folder):
        store = open_store(folder, _ask) if (folder / STORE / "lock").exists() else _new_store(folder)
        lists: dict[int, list[int]] = dict.fromkeys(numbers, [])
        if INTERACTIONS in store.names():
            own = read_interactions(store)
            lists |= {int(each): own.lists.of(place).tolist() for place, each in enumerate(own.numbers)}
        lists[number] = items
        everybody = Interactions.from_lists([lists[each] for each in numbers], catalogue.interactions.n_items)
        write_interactions(store, OwnInteractions(np.array(numbers, np.int64), everybody))
    print(f"{len(items)} items of client {number} lie in {folder / STORE}, encrypted")


@app.command("recommend")
def recommend_command(
    folder: Folder,
    client: Client = None,
    count: Annotated[int, typer.Option("--count", min=1, max=1000, metavar="N", help="How many items.")] = 10,
    public: PublicFolder = None,
    json_file: JsonFile = None,
) -> None:
    """Show what a device recommends, by the last table it was sent and its own score function. Nothing is sent."""
    files = _public(folder, public)
    store = open_store(folder, _ask)
    number = _one_of(read_interactions(store).numbers.tolist(), client)
    known, scores, round_number = own_scores(files.federation(), store, number)
    left = len(scores) - len(np.unique(known))
    if not left:
        raise DataError("every item of the catalogue is in this list: nothing is left to recommend")
    ranked = scores.astype(np.float64)
    ranked[known] = -np.inf
    best = np.argsort(-ranked, kind="stable")[: min(count, left)]
    catalogue = files.catalogue
    found = [item_figures(catalogue, int(item)) | {"score": float(scores[item])} for item in best]
    figures: dict[str, Any] = {
        "client": number, "round": round_number, "known": len(known), "uploaded_bytes": 0, "recommendations": found,
    }  # fmt: skip
    when = f"the table of round {round_number}" if round_number else "what was released before the rounds"
    table = Table(title=f"For client {number}, by {when}", title_justify="left")
    for column in ("rank", "title", "year", "genres", "score"):
        table.add_column(column, justify="right" if column in ("rank", "score") else "left")
    for rank, item in enumerate(found, 1):
        table.add_row(
            str(rank), Text(item["title"]), str(item["year"] or ""), ", ".join(item["genres"]), f"{item['score']:.2f}"
        )
    emit(figures, json_file, table, private=True)


def _public(folder: Path, public: Path | None) -> Public:
    return Public.open(public or folder.absolute().parent / "public", pinned=_policy(folder).pinned)


def _policy(folder: Path) -> Policy:
    if folder.is_dir() and not is_node(folder):
        raise ConfigError(f"{folder} is no device: nobody's identities are in it")
    return Policy.read(folder / POLICY)


def _new_store(folder: Path) -> Store:
    passphrase = os.environ.get(PASSPHRASE)
    return Store.create(folder / STORE, Passphrase(passphrase) if passphrase else KeyFile.make(folder / STORE_KEY))


def _ask() -> str:
    """The passphrase, from the environment or from whoever sits there."""
    return os.environ.get(PASSPHRASE) or str(
        typer.prompt("Passphrase of the device's store", hide_input=True, err=True)
    )


def _one_of(numbers: list[int], client: int | None) -> int:
    """Raises ConfigError where it does not follow which one is meant."""
    if client is None and len(numbers) == 1:
        return numbers[0]
    if client is None:
        raise ConfigError(f"{len(numbers)} devices live here: say which with --client, such as --client {numbers[0]}")
    if client not in numbers:
        raise ConfigError(f"client {client} does not live here; {', '.join(map(str, numbers))} do")
    return client


def _moment(when: float) -> str:
    return datetime.datetime.fromtimestamp(when, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def _now() -> float:
    return datetime.datetime.now(datetime.UTC).timestamp()


def _epsilon(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "unlimited"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
