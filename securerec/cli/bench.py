"""`securerec bench`: how fast a round is on this machine, and how large it may be."""

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from protocols.registry import PROTOCOLS
from securerec.cli.options import with_settings
from securerec.cli.output import JsonFile, emit
from securerec.config import make_config
from securerec.data import sources
from securerec.errors import ConfigError
from securerec.machine import Device, missing_cuda, usable_cores

app = typer.Typer(help="Measure speed, costs, quality, and what later arrivals get.", no_args_is_help=True)


@app.command("training")
def training_command(
    dataset: Annotated[str, typer.Option("--dataset", metavar="NAME", help="Data set.")] = "ml-100k",
    cohort_rounds: Annotated[int, typer.Option(min=1, metavar="N", help="Rounds of the cohort trainer.")] = 20,
    reference_rounds: Annotated[int, typer.Option(min=0, metavar="N", help="Rounds of the torch loop, or 0.")] = 1,
    device: Annotated[
        Device | None,
        typer.Option(
            metavar="cpu|cuda", show_default=False,
            help="Also time the batched torch trainer on it [dim](default: cuda, where there is one)[/dim].",
        ),
    ] = None,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Time one round (draw, train, aggregate, evaluate) of the cohort trainer against a plain loop of torch clients.

    Both with the paper's settings and without privacy, in this process. The torch loop runs on one thread, the cohort
    trainer on all cores, and beside it on one. Streamed: the same round where nobody's changes are kept. Batched: the
    trainer of `securerec run --device cuda`, as many rounds. Medians.
    """
    from securerec.experiments.training_speed import PHASES, measure_training

    if device is None and missing_cuda() is None:
        device = "cuda"
    speed = measure_training(
        sources.load(dataset), cohort_rounds=cohort_rounds, reference_rounds=reference_rounds, batched_on=device
    )
    table = Table(title=f"Seconds of one round, {dataset}, {speed.threads} threads", title_justify="left")
    for column in ("", *PHASES, "round"):
        table.add_column(column, justify="left" if not column else "right")
    rows = {"cohort": (speed.cohort_phases, speed.cohort_s), "streamed": ({}, speed.streamed_s)}
    if speed.reference_phases is not None and speed.reference_s is not None:
        rows = {"torch loop": (speed.reference_phases, speed.reference_s)} | rows
    if speed.batched_phases is not None and speed.batched_s is not None:
        rows |= {f"batched, {speed.batched_on}": (speed.batched_phases, speed.batched_s)}
    for name, (phases, total) in rows.items():
        table.add_row(name, *(f"{phases[phase]:.4f}" if phase in phases else "" for phase in PHASES), f"{total:.4f}")
    notes = [
        Text(f"On one thread: cohort {speed.cohort_one_thread_s:.4f} s, streamed {speed.streamed_one_thread_s:.4f} s.")
    ]
    if speed.speedup is not None:
        notes.append(Text(f"The cohort trainer is {speed.speedup:.0f} times as fast as the torch loop on one thread."))
    emit(asdict(speed), json_file, table, *notes)


def round_command(
    counted: Annotated[int, typer.Option("--counted", min=1, metavar="N", help="Rounds to time.")] = 3,
    json_file: JsonFile = None,
    settings: dict[str, Any] | None = None,
) -> None:
    """Time whole secure rounds by phase: train (draws included), privatise, encrypt, add, open, evaluate.

    Takes the settings of `securerec run` that a round depends on. Medians over the counted rounds.
    """
    from securerec.experiments.round_speed import measure_round

    given = settings or {}
    # devices answer no table of a round beyond those that a run was begun for; the first one is not counted
    given |= {"training": given.get("training", {}) | {"rounds": counted + 1}, "evaluation": {"published": False}}
    settled = make_config(given)
    dataset = sources.load(settled.data.dataset)
    config = settled.resolved(dataset.interactions.n_users, dataset.interactions.n_items)
    workers = config.protocol.workers or usable_cores()
    speed = measure_round(dataset, config, rounds=counted, workers=workers)
    table = Table(
        title=f"One round, {speed.clients} clients, {speed.dimension:,} values each, protocol {speed.protocol}, "
        f"{speed.workers} processes", title_justify="left",
    )  # fmt: skip
    table.add_column("phase")
    table.add_column("seconds", justify="right")
    for phase, seconds in (*speed.phases.items(), ("round", speed.total_s)):
        table.add_row(phase, f"{seconds:.4f}")
    emit(asdict(speed), json_file, table, f"One upload: {speed.upload_bytes_per_client or 0:,} bytes")


app.command("round")(with_settings(round_command, sections=("", "data", "start", "training", "privacy", "protocol")))


@app.command("scorers")
def scorers_command(
    dataset: Annotated[str, typer.Option("--dataset", metavar="NAME", help="Data set.")] = "ml-100k",
    dim: Annotated[int, typer.Option("--dim", min=1, max=1024, metavar="N", help="Length of an item row.")] = 32,
    json_file: JsonFile = None,
) -> None:
    """What each scorer costs one device, with and without dual personalisation.

    Bytes of an upload under the default protocol and privacy, and of the same vector in float32; milliseconds of a
    local round (draw and train, the mean over devices from the shortest list to the longest) and of scoring the whole
    catalogue for a recommendation, on one thread.
    """
    from securerec.experiments.scorer_costs import measure_scorers

    data = sources.load(dataset)
    with Console(stderr=True).status("measuring ...") as status:
        costs = measure_scorers(data, dim=dim, step=lambda what: status.update(f"measuring {what} ..."))
    table = Table(
        title=f"One device, {dataset}, dim {dim}, {costs[0].protocol}", title_justify="left", box=SIMPLE,
        padding=(0, 1, 0, 0),
    )  # fmt: skip
    for column in ("scorer", "dual", "shared", "private", "upload", "float32", "round ms", "recommend ms"):
        table.add_column(column, justify="left" if column in ("scorer", "dual") else "right", no_wrap=True)
    for cost in costs:
        table.add_row(
            cost.model, "yes" if cost.dual else "no", f"{cost.shared_parameters:,}", f"{cost.private_parameters:,}",
            f"{cost.upload_bytes:,}", f"{cost.float32_bytes:,}", f"{cost.round_ms:.2f}", f"{cost.recommend_ms:.2f}",
        )  # fmt: skip
    emit(
        {"dataset": dataset, "scorers": [asdict(cost) for cost in costs]}, json_file, table,
        Text("shared, private: numbers; upload: bytes of all of a device's messages of a round"),
    )  # fmt: skip


@app.command("scale")
def scale_command(
    users: Annotated[int, typer.Option(min=10, metavar="N", help="Users of the largest world.")] = 100_000,
    items: Annotated[int, typer.Option(min=10, metavar="N", help="Items of every world.")] = 50_000,
    interactions: Annotated[
        int, typer.Option(min=30, metavar="N", help="Interactions of the largest world.")
    ] = 10_000_000,
    rounds: Annotated[int, typer.Option(min=1, metavar="N", help="Rounds to time in each world.")] = 3,
    json_file: JsonFile = None,
) -> None:
    """Time rounds of all clients, and measure memory, in made-up worlds of a tenth of the users up to all of them.

    All have the same items and as many interactions a user. A round: draw, train and add up with the paper's settings
    and without privacy, and validate by the own view and by the server's table. Medians; each world in a process of its
    own.
    """
    from securerec.experiments.scale import ladder, measure_scale

    rows = []
    with Console(stderr=True).status("") as status:
        for some_users, some_interactions in ladder(users, interactions):
            status.update(f"{some_users:,} users, {some_interactions:,} interactions ...")
            rows.append(measure_scale(some_users, items, some_interactions, rounds=rounds))
    title = f"Seconds of one round over {items:,} items, {rows[0].threads} threads"
    table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for column in ("users", "interactions", "devices", "server", "round", "/ 1000", "CPU / 1000", "peak MiB"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            f"{row.users:,}", f"{row.interactions:,}", f"{row.devices_s:.3f}", f"{row.server_s:.3f}",
            f"{row.round_s:.3f}", f"{row.round_s_per_1000_clients:.4f}", f"{row.cpu_s_per_1000_clients:.4f}",
            "" if row.peak_mb is None else f"{row.peak_mb:.0f}",
        )  # fmt: skip
    clock, processor = (
        max(costs) / min(costs)
        for costs in zip(*((row.round_s_per_1000_clients, row.cpu_s_per_1000_clients) for row in rows), strict=True)
    )
    note = Text(
        f"Cost of a client, the dearest world over the cheapest: {clock:.2f} by the clock, {processor:.2f} by the "
        "processor; / 1000: of a round, for 1000 clients"
    )
    emit({"items": items, "rows": [asdict(row) for row in rows]}, json_file, table, note)


@app.command("protocols")
def protocols_command(
    length: Annotated[
        list[int] | None, typer.Option(min=1, metavar="N", help="Values of a vector; repeatable.")
    ] = None,
    clients: Annotated[list[int] | None, typer.Option(min=2, metavar="N", help="Clients; repeatable.")] = None,
    bits: Annotated[
        list[int] | None, typer.Option(min=2, max=32, metavar="N", help="Bits of a value; repeatable.")
    ] = None,
    protocol: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Protocol; repeatable.")] = None,
    dropouts: Annotated[
        float, typer.Option(min=0, max=0.4, metavar="X", help="Share of those asked who are gone from a phase on.")
    ] = 0.0,
    dropouts_at: Annotated[
        str, typer.Option(metavar="PHASE", help="That phase, of those that the protocols have.")
    ] = "upload",
    sizes: Annotated[bool, typer.Option("--sizes", help="Only show how large each kind of message is.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Measure whole rounds of secure sums: bytes, milliseconds, the server's memory, and whether sums are exact.

    Beside them the tutorial way, a TenSEAL ckks_vector, serialised whole, and Flower's SecAgg where flwr is installed.
    Without options: lengths 53,824 and 118,592, 10, 100 and 1000 clients, 8 and 16 bits, all protocols; that takes a
    while.
    """
    from securerec.experiments.other_sums import FLOWER, NAIVE, flower_is_installed
    from securerec.experiments.protocol_costs import measure
    from securerec.experiments.sum_settings import phases_of, settings

    names = protocol or list(PROTOCOLS)
    unknown = sorted(set(names) - set(PROTOCOLS))
    if unknown:
        raise ConfigError(f"there is no protocol {unknown[0]!r}: choose among {', '.join(PROTOCOLS)}")
    lengths, cohorts, widths = length or [53_824, 118_592], clients or [10, 100, 1000], bits or [8, 16]
    if sizes:
        _sizes(names, lengths[0], cohorts[0], widths[0], json_file)
        return
    phases = {name: phases_of(name) for name in names}
    played = [name for name in names if dropouts_at in phases[name]]
    if not played:
        known = dict.fromkeys(phase for each in phases.values() for phase in each)
        raise ConfigError(f"no protocol here has a phase {dropouts_at!r}: choose among {', '.join(known)}")
    notes = []
    if played != names:
        left_out = ", ".join(name for name in names if name not in played)
        notes.append(f"without a phase {dropouts_at!r}, and so left out: {left_out}")
    beside = [NAIVE]
    if flower_is_installed():
        beside.append(FLOWER)
    else:
        notes.append("flwr is not installed: the rows of Flower's SecAgg are left out")
    rows = []
    grid = list(settings(played, lengths, cohorts, widths, beside=beside, dropouts=dropouts, dropouts_at=dropouts_at))
    with Console(stderr=True).status("measuring ...") as status:
        for place, setting in enumerate(grid, 1):
            status.update(
                f"{place} of {len(grid)}: {setting.protocol}, {setting.length:,} values, {setting.clients} clients, "
                f"{setting.bits} bits"
            )
            rows.append(measure(setting))
    tables = []
    for shape in dict.fromkeys((row.length, row.bits) for row in rows):
        title = f"{shape[0]:,} values of {shape[1]} bits, whole rounds of n clients"
        table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
        table.add_column("protocol", no_wrap=True)
        for column in ("n", "sent", "x f32", "client", "server", "open", "wrong", "MB"):
            table.add_column(column, justify="right", no_wrap=True)
        for row in rows:
            if (row.length, row.bits) == shape:
                table.add_row(
                    row.protocol, str(row.clients), f"{row.upload_bytes:,}", f"{row.expansion:.2f}",
                    f"{row.client_ms:.1f}", f"{row.server_ms:.2f}", f"{row.opening_ms:.0f}", str(row.wrong),
                    "" if row.peak_mb is None else f"{row.peak_mb:.0f}",
                )  # fmt: skip
        tables.append(table)
    notes.append(
        "sent: bytes of all messages of one client; client, server: ms for one client; open: ms a round; MB: growth of "
        "the server's memory in a round"
    )
    figures = {"dropouts": dropouts, "dropouts_at": dropouts_at, "rows": [asdict(row) for row in rows]}
    emit(figures | {"notes": notes[:-1]}, json_file, *tables, *map(Text, notes))


def _sizes(names: list[str], length: int, clients: int, bits: int, json_file: str | None) -> None:
    from securerec.experiments.protocol_costs import message_sizes

    sizes = {name: message_sizes(name, length, clients, bits) for name in names}
    table = Table(
        title=f"Bytes of each message: {length:,} values, {clients} clients, {bits} bits", title_justify="left"
    )
    for column in ("protocol", "message", "bytes"):
        table.add_column(column, justify="right" if column == "bytes" else "left")
    for name, messages in sizes.items():
        for message, size in messages.items():
            table.add_row(name, message, f"{size:,}")
    emit({"length": length, "clients": clients, "bits": bits, "sizes": sizes}, json_file, table)
