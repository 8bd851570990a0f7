"""A run's folder: what is written when, such that a run killed at any instant goes on from its last whole round.

The commit point of a round is `server.safetensors`. What belongs to the round is written before it (the ledger's event
before any upload leaves, then metrics and the devices' states), and what is ahead of it is ignored when a run resumes.
"""

import fcntl
import hmac
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors.numpy import save

from securerec.config import Config, make_config, read_config
from securerec.errors import PrivacyError, RunError
from securerec.federation.identity import Beginnings, check_readable, fingerprint, identity_of
from securerec.federation.stored import dump_sums, read_arrays, read_object, read_sums
from securerec.federation.summing import OpenedSum
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
    def create(
        cls, path: Path, config: Config, *, run_id: bytes, dataset_digest: str,
        more: Mapping[str, str] | None = None, files: Mapping[str, bytes] | None = None,
        growing: Mapping[str, bytes] | None = None,
    ) -> "RunFolder":  # fmt: skip
        """Start a folder with a resolved configuration and fresh secrets; it appears whole or not at all.

        more: further entries of what the run is bound to. files: to lie in it from the beginning, by their place, and
        never to change; growing: those that will. Raises RunError when something is there already, or the folder
        cannot be made.
        """
        # The place itself, not a link to it: a rename replaces an empty folder, but not a link.
        path = path.resolve()
        draft = cls(path.parent / f".{path.name}.draft")
        try:
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                raise RunError(f"{path} is not empty: choose another --out, or go on with `securerec resume {path}`")
            path.parent.mkdir(parents=True, exist_ok=True)
            # What a start that was killed has left.
            shutil.rmtree(draft.path, ignore_errors=True)
            draft.devices.mkdir(mode=0o700, parents=True)
            beginnings, toml, files = Beginnings.of(config.seed), config.to_toml(), files or {}
            identity = identity_of(
                beginnings, run_id=run_id, dataset_digest=dataset_digest, toml=toml,
                files={_file_entry(name): content for name, content in files.items()},
            )  # fmt: skip
            write_atomic(draft.devices / "noise.key", beginnings.noise, private=True)
            write_atomic(draft.devices / "training.key", beginnings.training, private=True)
            write_atomic(draft.path / "identity.json", json.dumps(identity | dict(more or {}), indent=2).encode())
            write_atomic(draft.path / "config.toml", toml)
            for name, content in {**files, **(growing or {})}.items():
                write_atomic(draft.path / name, content, private=name.startswith("devices/"))
            draft.path.rename(path)
        except OSError as error:
            raise RunError(f"{path} cannot be made: {error.strerror}: choose another --out") from None
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
            for stale in self.path.rglob(".*.tmp"):
                stale.unlink()
            yield

    def config(self) -> Config:
        """The resolved configuration. Raises ConfigError when it cannot be read, RunError when it is not the run's
        own.
        """
        config = make_config(read_config(self.path / "config.toml"))
        if self.identity("config") != fingerprint(config.to_toml()):
            if (began := self.identity("version")) != version("securerec"):
                raise RunError(f"{self.path} was begun with securerec {began}: read it with that version")
            raise RunError(
                f"{self.path / 'config.toml'} was changed since the run began, and its promises with it: undo the "
                "change, or start another run"
            )
        return config

    def identity(self, key: str) -> str:
        """What the run is bound to: "run_id", "dataset" (digest), "version" of the program that began it, and
        fingerprints.

        Raises RunError when the file or the entry is missing.
        """
        value = read_object(self.path / "identity.json").get(key)
        if not isinstance(value, str):
            raise RunError(f"{self.path / 'identity.json'} has no entry {key!r}: the run cannot go on")
        return value

    def check_readable(self) -> None:
        """Raise RunError unless this program reads a finished run of the version that made this one."""
        check_readable(self.path, self.identity("version"))

    def began_with(self, name: str) -> bool:
        """Whether a file of this name lay in the folder from the beginning, never to change."""
        return self.has_identity(_file_entry(name))

    def first_arrays(self, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Arrays and metadata of a file that lay in the folder from the beginning.

        Raises RunError when it is gone, or another.
        """
        path = self.path / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}: restore it") from None
        if not hmac.compare_digest(fingerprint(content), self.identity(_file_entry(name))):
            raise RunError(f"{path} was changed since the run began: restore it, the run cannot be read without it")
        return read_arrays(path)

    def has_identity(self, key: str) -> bool:
        """Whether the run is bound to such a thing, for those that not every run has."""
        return key in read_object(self.path / "identity.json")

    def noise_key(self) -> NoiseKey:
        """Where the devices' noise grows from. Raises RunError when it is gone or another."""
        return NoiseKey.from_bytes(self._secret("noise_key", "noise.key"))

    def training_key(self) -> int:
        """Seed of the devices' draws. Raises RunError when it is gone or another."""
        return int.from_bytes(self._secret("training_key", "training.key"), "little")

    def _secret(self, key: str, name: str) -> bytes:
        path = self.devices / name
        try:
            secret = path.read_bytes()
        except OSError:
            raise RunError(f"{path} cannot be read: the run cannot go on without it") from None
        if not hmac.compare_digest(fingerprint(secret), self.identity(key)):
            raise RunError(
                f"{path} is not the key that the run began with: restore it, the run cannot go on without it"
            )
        return secret

    def attempts(self, label: str) -> list[str]:
        """Digests of the updates that were about to leave for this release, each time it was tried with others."""
        return list(self._sent().get(label, ()))

    def write_attempts(self, label: str, digests: list[str]) -> None:
        """Remember them; to be written before anything is uploaded."""
        record = self._sent() | {label: digests}
        write_atomic(self.devices / "sent.json", json.dumps(record).encode(), private=True)

    def _sent(self) -> dict[str, list[str]]:
        path = self.devices / "sent.json"
        return read_object(path) if path.exists() else {}

    def check_ledger(self, *, up_to: int) -> None:
        """Raise PrivacyError unless the ledger has the warm start and every round up to this one: a lost line would
        lower epsilon.
        """
        labels = {event.label.split(",")[0] for event in self.ledger.events()}
        for label in (*self._start_sums(), *(f"round {number}" for number in range(1, up_to + 1))):
            if label not in labels:
                raise PrivacyError(
                    f"{self.path / 'ledger.jsonl'} lacks {label}, which was played: restore it, no epsilon can be "
                    "stated without it"
                )

    def _start_sums(self) -> dict[str, OpenedSum]:
        return read_sums(self.path / "start.safetensors")

    def start_sum(self, name: str) -> OpenedSum | None:
        """What was opened of a release of the warm start; None before that. Raises RunError for a damaged file."""
        return self._start_sums().get(name)

    def start_sizes(self) -> dict[str, int | None]:
        """Bytes of one client's upload for each release of the warm start; None where nothing was sent."""
        return {name: opened.upload_bytes for name, opened in self._start_sums().items()}

    def write_start_sum(self, name: str, opened: OpenedSum) -> None:
        """Keep it: it is not asked of the devices again, and whoever holds the model may know it."""
        write_atomic(self.path / "start.safetensors", dump_sums(self._start_sums() | {name: opened}))

    def committed(self) -> tuple[int, dict[str, NDArray[Any]], dict[str, NDArray[Any]]] | None:
        """The last whole round: its number, the server's arrays and the devices'. None before the first one ended."""
        server = self.path / "server.safetensors"
        if not server.exists():
            return None
        arrays, metadata = read_arrays(server)
        round_number = int(metadata["round"])
        devices, _ = read_arrays(self._devices_file(round_number))
        return round_number, arrays, devices

    def commit(
        self,
        round_number: int,
        server: Arrays,
        devices: Arrays,
        metrics: list[dict[str, Any]],
        seconds: dict[str, float],
    ) -> None:
        """Make a round final. `metrics`: the lines of all rounds up to it; `seconds`: by phase, all rounds together."""
        self.write_metrics(metrics)
        self.write_seconds(seconds)
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
        try:
            lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        except ValueError:
            raise RunError(f"{path} is damaged: the run cannot go on") from None
        kept = [line for line in lines if line["round"] <= up_to]
        if [line["round"] for line in kept] != list(range(1, up_to + 1)):
            raise RunError(f"{path} does not have rounds 1 to {up_to}: the run cannot go on")
        return kept

    def seconds(self) -> dict[str, float]:
        """Seconds by phase of all whole rounds so far, and "total"; apart from the figures, as they differ from run
        to run.
        """
        path = self.path / "seconds.json"
        return read_object(path) if path.exists() else {}

    def write_seconds(self, seconds: dict[str, float]) -> None:
        write_atomic(self.path / "seconds.json", json.dumps(seconds, indent=2).encode())

    def finish(self, results: dict[str, Any], model: Arrays, devices: Iterable[bytes]) -> None:
        """Write what a finished run leaves; `results.json` last, as its mark. The keys are not needed any more.

        devices: their file, as of `dump_devices`.
        """
        write_atomic(self.path / "model.safetensors", save(dict(model)))
        write_atomic(self.devices / "state.safetensors", devices, private=True)
        write_atomic(self.path / "results.json", (json.dumps(results, indent=2, allow_nan=False) + "\n").encode())
        self.clear_rounds()

    def clear_rounds(self) -> None:
        """Drop what only an unfinished run needs, the keys among it: what was uploaded stays noised for good."""
        secrets = [self.devices / name for name in ("noise.key", "training.key", "sent.json")]
        for old in (*self.devices.glob("round-*.safetensors"), *secrets, self.path / "server.safetensors"):
            old.unlink(missing_ok=True)

    def results(self) -> dict[str, Any] | None:
        """A finished run's figures, None for an unfinished one. Raises RunError when the file is damaged."""
        if not (self.path / "results.json").exists():
            return None
        results = read_object(self.path / "results.json")
        kept = results.get("kept_round")
        if not isinstance(kept, dict) or "clean" not in kept:
            raise RunError(f"{self.path / 'results.json'} lacks 'kept_round': it is damaged or of another version")
        return results

    def _devices_file(self, round_number: int) -> Path:
        return self.devices / f"round-{round_number:06d}.safetensors"


def _file_entry(name: str) -> str:
    return f"file {name}"
