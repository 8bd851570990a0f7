"""`securerec deploy`: a federation of separate processes, on one machine or many."""

import logging
import signal
import threading
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from securerec.cli.options import merged, with_settings
from securerec.cli.output import JsonFile, emit
from securerec.config import make_config, read_config
from securerec.errors import ConfigError, RunError

app = typer.Typer(help="A federation of separate processes: make it, start it, watch it.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The federation's folder.")]
Own = Annotated[Path, typer.Argument(metavar="FOLDER", help="The process's own folder.")]
PublicFolder = Annotated[Path, typer.Option("--public", metavar="DIR", help="The federation's public folder.")]
Devices = Annotated[int, typer.Option(min=1, max=1 << 16, metavar="N", help="Nodes that share out the users.")]
Decryptors = Annotated[int, typer.Option(min=0, max=1024, metavar="N", help="Members of the committee.")]
Address = Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the SuperLink is reached.")]
Host = Annotated[
    list[str] | None, typer.Option("--host", metavar="NAME", help="Another name of the SuperLink; may be repeated.")
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML; flags go before them.")
]

LOCAL = "127.0.0.1:9092"


@with_settings
def init_command(
    folder: Folder,
    devices: Devices = 20,
    decryptors: Decryptors = 7,
    address: Address = LOCAL,
    host: Host = None,
    config: ConfigFile = None,
    settings: dict[str, Any] | None = None,
) -> None:
    """Write everything for a federation: configuration, certificates, keys, policies, each node's share of a data set.

    Each party's secrets lie in a folder of its own that only you can read: hand each its folder and a copy of
    `public/`, and keep `enrolment/` offline.
    """
    _init(folder, devices, decryptors, address, host, config, settings)
    console = Console()
    console.print(Text(f"Federation: {folder.resolve()}"), soft_wrap=True)
    _warn_of_a_small_committee(folder, console)
    console.print(Text(f"Start it here with: securerec deploy up {folder}"), soft_wrap=True)
    console.print(Text(f"Samples for machines of their own: {folder / 'samples'}"), soft_wrap=True)


def _init(
    folder: Path, devices: int, decryptors: int, address: str, host: list[str] | None, config: Path | None,
    settings: dict[str, Any] | None,
) -> None:  # fmt: skip
    from securerec.data import sources
    from securerec.deploy.enrol import Wanted, enrol
    from securerec.deploy.samples import write_samples

    name, _, port = address.rpartition(":")
    if not name or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise ConfigError(f"--address is a host and a port with a colon between, not {address!r}")
    file = read_config(config) if config else {}
    settled = make_config(merged(file, settings or {}))
    dataset = sources.load_distinct(settled.data.dataset)
    resolved = settled.resolved(dataset.interactions.n_users, dataset.interactions.n_items)
    hosts = ("localhost", "127.0.0.1", *(host or ()))
    layout = enrol(folder, dataset, Wanted(resolved, devices, decryptors, address, hosts))
    write_samples(layout)


def _warn_of_a_small_committee(folder: Path, console: Console) -> None:
    from securerec.deploy.enrol import committee
    from securerec.deploy.layout import Layout

    members = Layout(folder).open_public().start.members
    threshold, tolerated = committee(members) if members else (0, 1)
    if not tolerated:
        console.print(
            Text(
                f"A committee of {members} tolerates no member that sides with the server: {threshold} open a sum, and "
                "one of them together with the server may open more. Take --decryptors 4 or more.",
                style="yellow",
            ),
            soft_wrap=True,
        )


@with_settings
def up_command(
    folder: Folder = Path("federation"),
    local: Annotated[bool, typer.Option("--local", help="Make the folder first if there is none.")] = False,
    devices: Devices = 20,
    decryptors: Decryptors = 7,
    config: ConfigFile = None,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running and return.")] = False,
    metrics_port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Of the server; 0: any.")] = 0,
    settings: dict[str, Any] | None = None,
) -> None:
    """Start every process of a federation on this machine, TLS and node authentication on, and follow the run.

    Refused while one of them runs. Ctrl-C ends all that it started; `securerec deploy up DIR` goes on where the run
    was.
    """
    from securerec.deploy.layout import Layout
    from securerec.deploy.processes import choose_port, end_children, names_of, refuse_if_any_runs, start

    console = Console()
    if not (folder / "public").is_dir():
        if not local:
            raise RunError(f"{folder} is no federation: `securerec deploy init` makes one, or say --local")
        console.print(Text(f"Making {folder.resolve()}"), soft_wrap=True)
        _init(folder, devices, decryptors, LOCAL, None, config, settings)
        _warn_of_a_small_committee(folder, console)
    elif settings:
        raise ConfigError(f"{folder} has its settings already: leave them out, or choose another folder")
    layout = Layout(folder)
    public = layout.open_public()
    refuse_if_any_runs(layout)
    choose_port(layout)
    from securerec.deploy.following import follow

    started, children = False, {}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for name in names_of(layout):
            options = ["--metrics-port", str(metrics_port)] if name == "server" else []
            children[name] = start(layout, name, *options)
        started = True
        if detach:
            console.print(Text(f"{len(children)} processes started; securerec deploy status {folder}"), soft_wrap=True)
            return
        code = follow(layout, public, children, console)
    except KeyboardInterrupt:
        code = 130
        console.print("Stopped.")
    finally:
        if not (detach and started):
            end_children(children)
    if code:
        raise typer.Exit(code)


# with_settings makes them what the command line can read; named here, they stand first in the help
app.command("init")(init_command)
app.command("up")(up_command)


@app.command("status")
def status_command(folder: Folder, json_file: JsonFile = None) -> None:
    """Which processes run, and how far the run is."""
    from securerec.deploy.following import progress_of
    from securerec.deploy.layout import Layout
    from securerec.deploy.processes import processes

    layout = Layout(folder)
    progress = progress_of(layout, layout.open_public())
    found = processes(layout)
    table = Table(title=Text(progress.sentence()))
    table.add_column("process")
    table.add_column("runs")
    table.add_column("last event")
    lines = {}
    for process in found:
        last = progress.last_event(process)
        lines[process.name] = {"process": process.number, "last": last}
        runs = "-" if process.number is None else f"yes ({process.number})"
        table.add_row(process.name, runs, Text(last))
    emit({"run": progress.figures(), "processes": lines}, json_file, table)


@app.command("logs")
def logs_command(
    folder: Folder,
    process: Annotated[list[str] | None, typer.Argument(metavar="[PROCESS]...", help="Whose; all if none.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, metavar="N", help="The last so many.")] = 40,
) -> None:
    """The processes' logs, merged by time."""
    from securerec.deploy.layout import Layout
    from securerec.deploy.logs import read_log
    from securerec.deploy.processes import logs_of, names_of

    layout = Layout(folder)
    known = names_of(layout)
    wanted = process or known
    if unknown := [name for name in wanted if name not in known]:
        raise ConfigError(f"there is no process {unknown[0]!r}: there are {', '.join(known)}")
    found = []
    for name in wanted:
        moment = ""
        for line in read_log(logs_of(layout) / f"{name}.log"):
            # what has no time of its own, such as a traceback, stays behind what it came after
            moment = str(line.get("time") or moment)
            found.append((moment, {"party": name} | line))
    for _, line in sorted(found, key=lambda each: each[0])[-lines:]:
        head = f"{line.pop('time', '')} {line.pop('party')}: {line.pop('event', '')}"
        rest = {key: value for key, value in line.items() if key not in ("level", "logger")}
        typer.echo(head + (f"  {' '.join(f'{key}={value}' for key, value in rest.items())}" if rest else ""))


@app.command("down")
def down_command(folder: Folder) -> None:
    """End every process of a federation on this machine. The run goes on with `securerec deploy up`."""
    from securerec.deploy.layout import Layout
    from securerec.deploy.processes import down

    layout = Layout(folder)
    layout.open_public()
    typer.echo(f"{down(layout)} processes ended")


@app.command("rotate")
def rotate_command(
    folder: Folder,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="node-07, decryptor-2, server, tls, operator.")],
) -> None:
    """Give parties new keys and sign `public/` anew; needs `enrolment/`. Hand everybody the new `public/`."""
    from securerec.deploy.layout import Layout
    from securerec.deploy.rotate import rotate

    rotate(Layout(folder), names)
    typer.echo(f"rotated {', '.join(names)}: hand everybody the new {folder / 'public'}")


@app.command("timeline")
def timeline_command(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The picture, PNG or SVG.")] = Path("timeline.png"),
    attempt: Annotated[
        str | None, typer.Option(metavar="NAME", help='Such as "round 2"; the last one if not given.')
    ] = None,
) -> None:
    """One release's timeline as a picture: when each party was asked, and when its answer came."""
    from securerec.deploy.layout import Layout
    from securerec.deploy.timeline import draw
    from securerec.deploy.watching import read_spans

    layout = Layout(folder)
    layout.open_public()
    drawn = draw(read_spans(layout.server / "run" / "letters.jsonl"), out, attempt)
    typer.echo(f"{out}: {drawn}")


@app.command("superlink")
def superlink_command(
    own: Own,
    public: PublicFolder,
    host: Annotated[str | None, typer.Option("--listen", metavar="HOST", help="Where to listen.")] = None,
) -> None:
    """Run the SuperLink: it relays letters, and holds no key of a sum."""
    from securerec.deploy.logs import log_as
    from securerec.deploy.roles import run_superlink

    log_as(own.name)
    run_superlink(own, public, host=host)


@app.command("party")
def party_command(
    own: Own,
    public: PublicFolder,
    poll: Annotated[float, typer.Option(min=0.01, max=60, metavar="SECONDS", help="Between looks for letters.")] = 0.2,
) -> None:
    """Run a node or a decryptor from its own folder."""
    from securerec.deploy.logs import log_as
    from securerec.deploy.roles import run_party

    log_as(own.name)
    # at whatever instant: what must outlive the process is on disk before an answer leaves
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run_party(own, public, stop=threading.Event(), poll=poll)
    except KeyboardInterrupt:
        return
    except Exception as error:
        _say_and_raise(error)


@app.command("server")
def server_command(
    own: Own,
    public: PublicFolder,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, metavar="N", help="Prometheus metrics on loopback; 0: any port.")
    ] = None,
    first: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Deadline while devices train.")] = 600.0,
    later: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Deadline of every other phase.")] = 120.0,
    settle: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Wait for the last of the enrolled.")] = 60.0,
    gather: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Wait for as many as a sum needs.")] = 300.0,
    poll: Annotated[float, typer.Option(min=0.01, max=60, metavar="SECONDS", help="Between looks for answers.")] = 0.2,
) -> None:
    """Play the federation's run, from where it is."""
    from securerec.deploy.logs import log_as
    from securerec.deploy.roles import run_server
    from securerec.federation.parties.attempt import Deadlines

    log_as(own.name)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run_server(
            own, public, metrics_port=metrics_port, poll=poll,
            deadlines=Deadlines(first=first, later=later, settle=settle, gather=gather),
        )  # fmt: skip
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except Exception as error:
        _say_and_raise(error)


def _say_and_raise(error: Exception) -> None:
    """In the log as everything else is, then to the command line's own end."""
    from protocols.errors import ProtocolError
    from securerec.errors import SecurerecError

    known = isinstance(error, SecurerecError | ProtocolError)
    said = str(error) if known else type(error).__name__
    logging.getLogger("securerec.deploy").error("ended", extra={"fields": {"because": said}})
    raise error
