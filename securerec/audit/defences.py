"""Ways to protect uploads, each as a run that can be attacked and whose utility can be measured."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from attacks.views import Kind
from securerec.audit.laplace import LaplaceSum
from securerec.audit.recording import recorder_of
from securerec.config import Config, make_config
from securerec.data.dataset import Dataset
from securerec.federation import results
from securerec.federation.folder import RunFolder
from securerec.federation.pool import DevicePool
from securerec.federation.run import Observer, Run
from securerec.federation.track import Summing
from securerec.federation.warm_start import WarmStart
from securerec.privacy.mechanism import FixedPoint

VIEW_ROUNDS = (1, 5, 10, 11, 30)
"""Recorded of every run: early and late ones, and two that follow one another."""

Training = Literal["none", "laplace-0.1", "laplace-0.5", "local-1", "local-8", "local-64", "central-8", "default"]


@dataclass(frozen=True, slots=True)
class Defence:
    """name: in tables and files. training: whose run it is; defences that differ only in what the server sees share
    one. uploads: the kind of single uploads that the server sees, or, where `secure_sum`, that it sees only sums of.
    """

    name: str
    training: Training
    uploads: Kind
    secure_sum: bool = False


DEFENCES = (
    Defence("none", "none", "unprotected_upload"),
    Defence("Laplace .1", "laplace-0.1", "noised_upload"),
    Defence("Laplace .5", "laplace-0.5", "noised_upload"),
    Defence("local epsilon 64", "local-64", "noised_upload"),
    Defence("local epsilon 8", "local-8", "noised_upload"),
    Defence("local epsilon 1", "local-1", "noised_upload"),
    Defence("secure sum", "none", "unprotected_upload", secure_sum=True),
    Defence("secure sum, central epsilon 8", "central-8", "noised_upload", secure_sum=True),
    Defence("secure sum, local epsilon 8", "local-8", "noised_upload", secure_sum=True),
    Defence("the same, warm start (default)", "default", "noised_upload", secure_sum=True),
)
"""All but the last train PFedRec alone, so that what differs is the defence."""

_PRIVACY: dict[str, dict[str, Any]] = {
    "none": {"privacy": False},
    "laplace": {"privacy": False},
    "local": {"local_epsilon": None},
    "central": {"epsilon": None},
    "default": {},
}


def configuration(training: Training, dataset: Dataset, seed: int, rounds: int | None) -> Config:
    """The resolved configuration of a defence's run: `securerec run`'s own defaults, summed in the clear.

    The model is the same to the bit as with a secure sum. rounds: fewer than the default, for a quick look. A catalogue
    that is too small for the default's sampled candidates is ranked against as many as everybody has.
    """
    interactions = dataset.interactions
    untouched = interactions.n_items - int(np.diff(interactions.offsets).max())
    family, _, strength = training.partition("-")
    privacy = {key: float(strength) if value is None else value for key, value in _PRIVACY[family].items()}
    values: dict[str, Any] = {
        "seed": seed,
        "data": {"dataset": dataset.name, "sampled_negatives": max(1, min(99, untouched))},
        "privacy": privacy,
        "training": {"model": "auto" if training == "default" else "pfedrec"}
        | ({} if rounds is None else {"rounds": rounds}),
        "protocol": {"protocol": "plain"},
        "evaluation": {"published": False},
        "views": {"record_views": True},
    }
    config = make_config(values).resolved(interactions.n_users, interactions.n_items)
    last = config.training.rounds or 1
    wanted = [number for number in VIEW_ROUNDS if number <= last]
    values["views"]["view_rounds"] = sorted(
        {*wanted, *(() if len(wanted) == len(VIEW_ROUNDS) else (last - 1 or 1, last))}
    )
    return make_config(values).resolved(interactions.n_users, interactions.n_items)


class _LaplaceRun(Run):
    """A run whose uploads bear the paper's noise; its ledger says, rightly, that no epsilon covers it."""

    strength: float

    def summing(self, rule: str, pool: DevicePool, start: WarmStart) -> Summing | FixedPoint | None:
        seed = self.config.seed
        if seed is None:
            raise ValueError("this noise is for experiments, which have a seed")
        return LaplaceSum(self.strength, seed, self.cohort)


def train(
    path: Path, config: Config, training: Training, dataset: Dataset, workers: int, observe: Observer
) -> dict[str, Any]:
    """Play what is missing of a defence's run in `path`, views recorded, and return its utility.

    Goes on with a run that was interrupted. Raises RunError, ConfigError, PrivacyError.
    """
    family, _, strength = training.partition("-")
    kind = _LaplaceRun if family == "laplace" else Run
    run = kind(RunFolder.open(path), dataset) if path.exists() else kind.create(path, config, dataset)
    scale = None
    if isinstance(run, _LaplaceRun):
        run.strength, scale = float(strength), LaplaceSum.scale
    with run.folder.locked(), DevicePool(workers) as pool:
        recorder = recorder_of(run, scale=scale)
        tracks = run.tracks(pool, recorder)
        finished = run.play(tracks, observe, recorder)
        return results.utility(run, finished, tracks)
