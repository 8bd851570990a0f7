"""What a run is bound to from its beginning: data, settings, keys and program, by name or by fingerprint."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from securerec.errors import RunError
from securerec.privacy.randomness import NoiseKey

TRAINING_KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Beginnings:
    """What a run's draws grow from.

    noise: a stored NoiseKey; training: seed of the devices' draws of negatives, theirs alone: the server's files do not
    have it. initial_values: public, since the server makes the first item table from them.
    """

    noise: bytes = field(repr=False)
    training: bytes = field(repr=False)
    initial_values: bytes

    @classmethod
    def of(cls, seed: int | None) -> "Beginnings":
        """From a seed, which is for simulation only, or from the operating system."""
        noise = (NoiseKey.from_os() if seed is None else NoiseKey.from_seed(seed)).to_bytes()
        if seed is None:
            return cls(noise, os.urandom(TRAINING_KEY_BYTES), os.urandom(16))
        training = seed.to_bytes(TRAINING_KEY_BYTES, "little")
        return cls(noise, training, hashlib.sha256(b"initial values" + training).digest()[:16])


def identity_of(
    beginnings: Beginnings, *, run_id: bytes, dataset_digest: str, toml: bytes, files: Mapping[str, bytes]
) -> dict[str, str]:
    """The entries of `identity.json`. toml: the configuration; files: by the entry that holds their fingerprint."""
    return {
        "run_id": run_id.hex(),
        "initial_values": beginnings.initial_values.hex(),
        "dataset": dataset_digest,
        "version": version("securerec"),
        "config": fingerprint(toml),
        "noise_key": fingerprint(beginnings.noise),
        "training_key": fingerprint(beginnings.training),
        **{entry: fingerprint(content) for entry, content in files.items()},
    }


def fingerprint(data: bytes) -> str:
    """Hex digest of a file of a run."""
    return hashlib.sha256(b"securerec run file\0" + data).hexdigest()


def check_readable(path: Path, began: str) -> None:
    """Raise RunError unless this program reads what the version `began` has written.

    Files of a finished run are the same in all versions that differ in their last number alone.
    """
    ours = version("securerec")
    if began.split(".")[:2] != ours.split(".")[:2]:
        raise RunError(f"{path} was made with securerec {began}, and this is {ours}: read it with that version")
