"""`securerec bench`: how fast a round is on this machine."""

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from securerec.cli.options import with_settings
from securerec.cli.output import JsonFile, emit
from securerec.config import make_config
from securerec.data import sources
from securerec.machine import usable_cores

app = typer.Typer(help="How fast a round is on this machine.", no_args_is_help=True)


@app.command("training")
def training_command(
    dataset: Annotated[str, typer.Option("--dataset", metavar="NAME", help="Data set.")] = "ml-100k",
    cohort_rounds: Annotated[int, typer.Option(min=1, metavar="N", help="Rounds of the cohort trainer.")] = 20,
    reference_rounds: Annotated[int, typer.Option(min=1, metavar="N", help="Rounds of the torch loop.")] = 1,
    json_file: JsonFile = None,
) -> None:
    """Time one round (draw, train, aggregate, evaluate) of the cohort trainer against a plain loop of torch clients.

    Both with the paper's settings and without privacy, in this process. The torch loop runs on one thread, the cohort
    trainer on all cores, and beside it on one. Medians.
    """
    from securerec.experiments.training_speed import PHASES, measure_training

    speed = measure_training(sources.load(dataset), cohort_rounds=cohort_rounds, reference_rounds=reference_rounds)
    table = Table(title=f"Seconds of one round, {dataset}, {speed.threads} threads", title_justify="left")
    for column in ("", *PHASES, "round"):
        table.add_column(column, justify="left" if not column else "right")
    rows = (("torch loop", speed.reference_phases, speed.reference_s), ("cohort", speed.cohort_phases, speed.cohort_s))
    for name, phases, total in rows:
        table.add_row(name, *(f"{phases[phase]:.4f}" for phase in PHASES), f"{total:.4f}")
    ratio = Text(
        f"The cohort trainer on {speed.threads} threads is {speed.speedup:.0f} times as fast as the torch loop on one; "
        f"on one thread it takes {speed.cohort_one_thread_s:.4f} s."
    )
    emit(asdict(speed), json_file, table, ratio)


def round_command(
    counted: Annotated[int, typer.Option("--counted", min=1, metavar="N", help="Rounds to time.")] = 3,
    json_file: JsonFile = None,
    settings: dict[str, Any] | None = None,
) -> None:
    """Time whole secure rounds by phase: draw, train, privatise, encrypt, add, open, evaluate.

    Takes the settings of `securerec run` that a round depends on. Medians over the counted rounds.
    """
    from securerec.experiments.round_speed import measure_round

    config = make_config((settings or {}) | {"evaluation": {"published": False}}).resolved()
    workers = config.protocol.workers or usable_cores()
    speed = measure_round(sources.load(config.data.dataset), config, rounds=counted, workers=workers)
    table = Table(
        title=f"One round, {speed.clients} clients, {speed.dimension:,} values each, protocol {speed.protocol}, "
        f"{speed.workers} processes", title_justify="left",
    )  # fmt: skip
    table.add_column("phase")
    table.add_column("seconds", justify="right")
    for phase, seconds in (*speed.phases.items(), ("round", speed.total_s)):
        table.add_row(phase, f"{seconds:.4f}")
    emit(asdict(speed), json_file, table, f"One upload: {speed.upload_bytes_per_client or 0:,} bytes")


app.command("round")(with_settings(round_command, sections=("", "data", "training", "privacy", "protocol")))
