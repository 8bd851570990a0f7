"""Samples for parties on machines of their own: start commands, systemd units, a compose file."""

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
    write_atomic(folder / "compose.yaml", compose_of(names).encode())


def start_of(name: str, home: str = HOME) -> list[str]:
    """The command that starts a process where its folder and `public/` lie in `home`."""
    kind = name if name in ("superlink", "server") else "party"
    more = {"superlink": ["--listen", "0.0.0.0"], "server": ["--metrics-port", "9464"]}.get(name, [])
    return ["securerec", "deploy", kind, f"{home}/{name}", "--public", f"{home}/public", *more]


def unit_of(name: str) -> str:
    """A systemd unit: no privileges, nothing of the machine but its own folder."""
    return f"""[Unit]
Description=securerec {name}
After=network-online.target
Wants=network-online.target

[Service]
User=securerec
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
ReadWritePaths={HOME}/{name}
CapabilityBoundingSet=
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
LimitCORE=0

[Install]
WantedBy=multi-user.target
"""


def compose_of(names: list[str]) -> str:
    """All processes as containers of one image that has securerec installed, each with its own folder alone."""
    lines = ["# Every service sees its own folder and public/, and nothing of the others.", "services:"]
    for name in names:
        command = ", ".join(f'"{part}"' for part in start_of(name))
        lines += [
            f"  {name}:",
            "    image: securerec:latest",
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
        if name != "superlink":
            lines += ["    depends_on: [superlink]"]
    return "\n".join(lines) + "\n"
