"""Samples for parties on machines of their own: start commands, systemd units, a compose file."""

import os
import shlex

from securerec.deploy.layout import Layout
from securerec.deploy.processes import names_of
from securerec.files import write_atomic

HOME = "/var/lib/securerec"
"""Where a party's machine has its folder and `public/`, in the samples."""


def write_samples(layout: Layout) -> None:
    """Put them in `samples/`."""
    names, folder = names_of(layout), layout.path / "samples"
    starts = "".join(f"# {name}\n{shlex.join(start_of(name))}\n\n" for name in names)
    write_atomic(folder / "start-commands.txt", starts.encode())
    for name in names:
        write_atomic(folder / "systemd" / f"securerec-{name}.service", unit_of(name).encode())
    compose = compose_of(names, layout.open_public().superlink(), f"{os.getuid()}:{os.getgid()}")
    write_atomic(folder / "compose.yaml", compose.encode())


def start_of(name: str, home: str = HOME) -> list[str]:
    """The command that starts a process where its folder and `public/` lie in `home`."""
    kind = name if name in ("superlink", "server") else "party"
    more = {"superlink": ["--listen", "0.0.0.0"], "server": ["--metrics-port", "9464"]}.get(name, [])
    return ["securerec", "deploy", kind, f"{home}/{name}", "--public", f"{home}/public", *more]


def unit_of(name: str) -> str:
    """A systemd unit: a user of its own, to whom its folder belongs, no privileges, and of all that lies in `HOME` its
    own folder and `public/` alone. Other files of the machine it sees as any user does, people's homes excepted.
    """
    return f"""[Unit]
Description=securerec {name}
After=network-online.target
Wants=network-online.target

[Service]
User=securerec-{name}
ExecStart=/usr/local/bin/{shlex.join(start_of(name))}
Restart=on-failure
RestartSec=5
Environment=OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1
UMask=0077
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
TemporaryFileSystem={HOME}:ro
BindPaths={HOME}/{name}
BindReadOnlyPaths={HOME}/public
ReadWritePaths={HOME}/{name}
CapabilityBoundingSet=
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
LimitCORE=0

[Install]
WantedBy=multi-user.target
"""


def compose_of(names: list[str], address: str, user: str) -> str:
    """All processes as containers of one image that has securerec installed, each with its own folder alone.

    address: host:port of the SuperLink; user: number:group that the folders belong to, since a container without
    capabilities reads no others' files.
    """
    port = address.rpartition(":")[2]
    lines = [
        "# Every service sees its own folder and public/, and nothing of the others.",
        f"# Parties look for the SuperLink at {address}: here it is superlink:{port}, which the federation must have",
        f"# been made for, with `securerec deploy init --address superlink:{port}`.",
        "services:",
    ]
    for name in names:
        command = ", ".join(f'"{part}"' for part in start_of(name))
        lines += [
            f"  {name}:",
            "    image: securerec:latest",
            f'    user: "{user}"',
            f"    command: [{command}]",
            "    environment: {OMP_NUM_THREADS: 1, OPENBLAS_NUM_THREADS: 1, NUMBA_NUM_THREADS: 1}",
            "    read_only: true",
            "    tmpfs: [/tmp]",
            "    cap_drop: [ALL]",
            "    security_opt: [no-new-privileges:true]",
            "    restart: on-failure",
            "    volumes:",
            f"      - ../{name}:{HOME}/{name}",
            f"      - ../public:{HOME}/public:ro",
        ]
        lines += [f'    ports: ["{port}:{port}"]' if name == "superlink" else "    depends_on: [superlink]"]
    return "\n".join(lines) + "\n"
