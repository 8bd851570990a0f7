"""A run's folder: what is written when, such that a run killed at any instant goes on from its last whole round.

The commit point of a round is `server.safetensors`. What belongs to the round is written before it (the ledger's event
before any upload leaves, then metrics and the devices' states), and what is ahead of it is ignored when a run resumes.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from securerec.config import Config, make_config, read_config
from securerec.errors import RunError
from securerec.files import write_atomic
from securerec.privacy.ledger import Ledger
from securerec.privacy.randomness import NoiseKey

Arrays = Mapping[str, NDArray[Any]]


class RunFolder:
    """Paths and files of one run. Holds no model."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.devices = path / "devices"
        self.views = path / "views"
        self.ledger = Ledger(path / "ledger.jsonl")

    @classmethod
    def create(cls, path: Path, config: Config, identity: dict[str, str]) -> "RunFolder":
        """Start a folder with a resolved configuration and fresh secrets; it appears whole or not at all.

        `identity` says what the run is bound to: run id, digest of the data set, version. Raises RunError when
        something is there already.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunError(f"{path} is not empty: choose another --out, or go on with `securerec resume {path}`")
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as temporary:
            draft = cls(Path(temporary) / "run")
            draft.path.mkdir()
            draft.devices.mkdir(mode=0o700)
            seed = config.seed
            noise = NoiseKey.from_os() if seed is None else NoiseKey.from_seed(seed)
            write_atomic(draft.devices / "noise.key", noise.to_bytes(), private=True)
            # Draws of negatives are the devices' own: their seed is theirs, and the server's files do not have it.
            key = os.urandom(16) if seed is None else seed.to_bytes(16, "little")
            write_atomic(draft.devices / "training.key", key, private=True)
            write_atomic(draft.path / "identity.json", json.dumps(identity, indent=2).encode())
            write_atomic(draft.path / "config.toml", config.to_toml())
            draft.path.rename(path)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """An existing run. Raises RunError when there is none."""
        if not (path / "config.toml").is_file():
            raise RunError(f"{path} is no run: there is no config.toml in it")
        return cls(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from going on with the same run. Raises RunError when one does."""
        with open(self.path / ".lock", "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(f"{self.path} is being run by another process: wait for it or stop it") from None
            yield

    def config(self) -> Config:
        """The resolved configuration. Raises ConfigError when the file was damaged."""
        return make_config(read_config(self.path / "config.toml"))

    def identity(self) -> dict[str, str]:
        """Run id, digest of the data set, version of the program that started the run."""
        return dict(json.loads((self.path / "identity.json").read_bytes()))

    def noise_key(self) -> NoiseKey:
        """Where the devices' noise grows from. Raises RunError when it is gone."""
        return NoiseKey.from_bytes(self._secret("noise.key"))

    def training_key(self) -> int:
        """Seed of draws and initial values. Raises RunError when it is gone."""
        return int.from_bytes(self._secret("training.key"), "little")

    def _secret(self, name: str) -> bytes:
        try:
            return (self.devices / name).read_bytes()
        except OSError:
            raise RunError(f"{self.devices / name} cannot be read: the run cannot go on without it") from None

    def committed(self) -> tuple[int, dict[str, NDArray[Any]], dict[str, NDArray[Any]]] | None:
        """The last whole round: its number, the server's arrays and the devices'. None before the first one ended."""
        server = self.path / "server.safetensors"
        if not server.exists():
            return None
        arrays, metadata = read_arrays(server)
        round_number = int(metadata["round"])
        devices, _ = read_arrays(self._devices_file(round_number))
        return round_number, arrays, devices

    def commit(self, round_number: int, server: Arrays, devices: Arrays, metrics: list[dict[str, Any]]) -> None:
        """Make a round final. `metrics`: the lines of all rounds up to it."""
        self.write_metrics(metrics)
        write_atomic(self._devices_file(round_number), save(dict(devices)), private=True)
        write_atomic(self.path / "server.safetensors", save(dict(server), {"round": str(round_number)}))
        for old in self.devices.glob("round-*.safetensors"):
            if old != self._devices_file(round_number):
                old.unlink()

    def write_metrics(self, metrics: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(line) + "\n" for line in metrics)
        write_atomic(self.path / "metrics.jsonl", lines.encode())

    def metrics(self, *, up_to: int) -> list[dict[str, Any]]:
        """The lines of rounds 1 to `up_to`. Raises RunError when one is missing."""
        path = self.path / "metrics.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        kept = [line for line in lines if line["round"] <= up_to]
        if [line["round"] for line in kept] != list(range(1, up_to + 1)):
            raise RunError(f"{path} does not have rounds 1 to {up_to}: the run cannot go on")
        return kept

    def seconds(self) -> dict[str, float]:
        """Seconds by phase of all whole rounds so far, and "total"; apart from the figures, as they differ from run
        to run.
        """
        path = self.path / "seconds.json"
        return dict(json.loads(path.read_bytes())) if path.exists() else {}

    def write_seconds(self, seconds: dict[str, float]) -> None:
        write_atomic(self.path / "seconds.json", json.dumps(seconds, indent=2).encode())

    def finish(self, results: dict[str, Any], model: Arrays, devices: Arrays) -> None:
        """Write what a finished run leaves; `results.json` last, as its mark."""
        write_atomic(self.path / "model.safetensors", save(dict(model)))
        write_atomic(self.devices / "state.safetensors", save(dict(devices)), private=True)
        write_atomic(self.path / "results.json", (json.dumps(results, indent=2, allow_nan=False) + "\n").encode())
        self.clear_rounds()

    def clear_rounds(self) -> None:
        """Drop what only an unfinished run needs."""
        for old in (*self.devices.glob("round-*.safetensors"), self.path / "server.safetensors"):
            old.unlink(missing_ok=True)

    def results(self) -> dict[str, Any] | None:
        """A finished run's figures, None for an unfinished one."""
        path = self.path / "results.json"
        return dict(json.loads(path.read_bytes())) if path.exists() else None

    def _devices_file(self, round_number: int) -> Path:
        return self.devices / f"round-{round_number:06d}.safetensors"


def read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Arrays and metadata of a safetensors file. Raises RunError when it is missing or damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: np.array(file.get_tensor(name)) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} cannot be read: {error}") from None
