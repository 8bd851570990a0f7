"""A run from its configuration to its figures: the rounds, their record, and going on after an interruption."""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import protocols
from securerec.config import Config
from securerec.data.dataset import Dataset
from securerec.data.splits import Candidates, Split, draw_candidates, leave_one_out
from securerec.errors import DataError, RunError
from securerec.federation.folder import RunFolder
from securerec.federation.pool import DevicePool
from securerec.federation.promise import Promise, figure_of, make_promises, planned
from securerec.federation.releases import Releases
from securerec.federation.summing import OpenedSum
from securerec.federation.track import Kept, RoundOutcome, Summing, Track, TrackState
from securerec.federation.warm_start import WarmStart, cold_start, warm_start
from securerec.models.head import public_features
from securerec.models.pfedrec import PFedRec, ScoreFunctions
from securerec.privacy.accounting import Epsilon
from securerec.privacy.mechanism import FixedPoint
from securerec.training.cohort import Table
from securerec.training.draws import Sampler
from securerec.training.interaction.trainer import InteractionTrainer
from securerec.training.trainers import Trainer, trainer_of
from securerec.training.updates import Updates


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run says after each round. `validation`: HR at the first cut-off under the headline scoring.

    `spent`: the epsilon of the run's own unit so far, infinite without privacy; `bytes_sent` what all devices uploaded
    so far, None where nothing is uploaded.
    """

    round_number: int
    rounds: int
    loss: float
    validation: float
    spent: Epsilon
    bytes_sent: int | None


Observer = Callable[[Progress], None]


class Recorder(Protocol):
    """Told what was uploaded, where it is to be recorded."""

    def __call__(self, before: TrackState, outcome: RoundOutcome) -> None:
        """A round, from the state before it."""
        ...

    def release(self, name: str, table: Table, updates: Updates, opened: OpenedSum, scale: float) -> None:
        """A release before the rounds; see `RecordRelease`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """The rounds are done: the tracks' last states by rule, saturated coordinates of all rounds, and bytes of one
    upload by kind of release, None where nothing was sent.
    """

    states: dict[str, TrackState]
    upload_bytes: dict[str, int | None]
    saturated: int


class Run:
    """One run: its folder, its data, and what follows from its configuration."""

    def __init__(self, folder: RunFolder, dataset: Dataset) -> None:
        """Raise RunError when data set, configuration, keys or program are not those that the run began with."""
        self.folder, self.dataset, self.config = folder, dataset, folder.config()
        if folder.identity("dataset") != dataset.digest():
            raise RunError(
                f"{folder.path} was begun with another version of data set {dataset.name}: fetch that one again"
            )
        if folder.identity("version") != version("securerec"):
            raise RunError(
                f"{folder.path} was begun with securerec {folder.identity('version')}: go on with that version"
            )
        self.run_id = bytes.fromhex(folder.identity("run_id"))
        self.split: Split = leave_one_out(dataset.interactions)
        data = self.config.data
        self.candidates: Candidates = draw_candidates(
            dataset.interactions, self.split, np.random.default_rng(data.candidates_seed), data.sampled_negatives
        )
        self.noise_key, self._training_key = folder.noise_key(), folder.training_key()
        self.promises: dict[str, Promise] = make_promises(
            self.config.privacy,
            planned(self.config, dataset.interactions.n_items),
            cohort=self.cohort,
            noise_source=self.noise_key.source,
        )
        self.releases = Releases(folder, self.config, self.promises, self.noise_key, self.run_id, self.cohort)

    @classmethod
    def create(cls, path: Path, config: Config, dataset: Dataset) -> Self:
        """Start a run's folder for a resolved configuration, after checking that a round could be played with it.

        Raises DataError, ConfigError or PrivacyError for what cannot be run, RunError for the folder.
        """
        check_run(config, dataset)
        digest = dataset.digest()
        entropy = os.urandom(32) if config.seed is None else config.to_toml() + digest.encode()
        run_id = hashlib.sha256(b"securerec run id" + entropy).digest()[:16]
        return cls(RunFolder.create(path, config, run_id=run_id, dataset_digest=digest), dataset)

    @property
    def rounds(self) -> int:
        rounds = self.config.training.rounds
        if rounds is None:
            raise ValueError("the configuration is not resolved")
        return rounds

    @property
    def cohort(self) -> int:
        return self.dataset.interactions.n_users

    def continues(self) -> dict[str, Any] | None:
        """Which run this one goes on from, and what it adds to its epsilon; None for a run of its own."""
        return None

    def spent(self) -> Epsilon:
        """The epsilon of everything in the ledger, of the run's own unit."""
        return figure_of(self.config.privacy)(self.folder.ledger.events(), delta=self.config.privacy.delta)

    def start(self, pool: DevicePool, record: Recorder | None) -> WarmStart:
        """Where round 1 starts. Releases what is missing of the warm start; what was opened before is not asked again.

        Everybody can compute the initial values, since their seed is public.
        """
        rng, train = np.random.default_rng(int(self.folder.identity("initial_values"), 16)), self.split.train
        learner = self.config.training.learner()
        cold = cold_start(learner, train, rng)
        if not self.config.start.head:
            return cold
        features = public_features(self.dataset)
        open_sum = partial(self.releases.open, pool, record.release if record else None)
        # Sums of floats depend on how many threads share them, and so would the uploads.
        with threadpool_limits(1):
            return warm_start(self.config.start, learner, features, cold, train, open_sum, basis=self.run_id)

    def summing(self, rule: str, pool: DevicePool, start: WarmStart) -> Summing | FixedPoint | None:
        """How a track's updates are summed; None in a run without rounds."""
        if not self.rounds:
            return None
        quantiser = self.promises["round"].quantiser
        protocol = self.config.protocol.protocol if rule == "clean" else "plain"
        if isinstance(quantiser, FixedPoint) and protocol == "plain":
            return quantiser
        return self.releases.secure_sum("round", rule, protocol, pool, start.table, start.basis, start.heads)

    def _track(self, rule: str, pool: DevicePool, start: WarmStart) -> Track:
        """The run's own track ("clean"), or its twin ("published") whose negatives avoid the held-out items.

        The twin serves only the published protocol's figures: it is noised alike, but summed in the clear.
        """
        config, clean = self.config, rule == "clean"
        as_published = "own" if config.training.dual else "server"
        kept_scoring = ("server" if config.evaluation.scoring != "own" else "own") if clean else as_published
        return Track(
            self._trainer(rule, start),
            self.summing(rule, pool, start),
            start=start,
            training_key=self._training_key,
            server_lr=config.training.server_lr,
            validation=self.candidates.validation,
            cutoffs=config.evaluation.cutoffs,
            kept_scoring=kept_scoring if config.evaluation.keep == "best" else None,
            folder=self.folder.devices,
            noise=self.promises["round"].quantiser.client_sigma if self.rounds else 0.0,
        )

    def _trainer(self, rule: str, start: WarmStart) -> Trainer:
        learner = self.config.training.learner()
        sgd = self.promises["round"].sgd if self.rounds else None
        if sgd is not None and isinstance(learner, PFedRec):
            return InteractionTrainer(learner, self.split.train, sgd, self.noise_key)
        never_negative = self.split.train if rule == "clean" else self.dataset.interactions
        device = self.config.training.device
        return trainer_of(learner, self.split.train, never_negative, heads=start.heads, device=device)

    def tracks(self, pool: DevicePool, record: Recorder | None = None) -> dict[str, Track]:
        """The run's tracks by their rule for training negatives, from where the warm start has brought them.

        record: told of the warm start's releases, where they are not yet opened.
        """
        rules = ("clean", "published") if self.config.evaluation.published else ("clean",)
        committed = self.folder.committed()
        self.folder.check_ledger(up_to=committed[0] if committed else 0)
        started = time.perf_counter()
        start = self.start(pool, record)
        seconds = self.folder.seconds()
        _add(seconds, dict.fromkeys(("warm_start", "total"), time.perf_counter() - started))
        self.folder.write_seconds(seconds)
        return {rule: self._track(rule, pool, start) for rule in rules}

    def play(self, tracks: dict[str, Track], observe: Observer, record: Recorder | None = None) -> Finished:
        """Run the rounds that are missing. Each is final before the next begins; an interruption loses one at most.

        `record` is called with the rounds whose views are wanted, while the outcome's updates are still there.
        """
        states = {rule: track.start() for rule, track in tracks.items()}
        metrics: list[dict[str, Any]] = []
        committed = self.folder.committed()
        if committed is not None:
            round_number, server, devices = committed
            metrics = self.folder.metrics(up_to=round_number)
            states = {rule: _load_state(rule, round_number, server, devices) for rule in tracks}
        seconds = self.folder.seconds()
        wanted = set(self.config.views.view_rounds or ()) if record is not None else set()
        for round_number in range(states["clean"].round_number + 1, self.rounds + 1):
            started = time.perf_counter()
            outcome = tracks["clean"].run_round(
                states["clean"],
                before_upload=partial(self.releases.spend, "round", f"round {round_number}"),
                record=round_number in wanted,
            )
            if record is not None and round_number in wanted:
                record(states["clean"], outcome)
            _add(seconds, outcome.seconds)
            line = {"round": round_number, "loss": outcome.loss, "validation": outcome.validation}
            if "published" in tracks:
                twin_started = time.perf_counter()
                twin = tracks["published"].run_round(states["published"])
                _add(seconds, {"published_twin": time.perf_counter() - twin_started})
                line["published"] = {"loss": twin.loss, "validation": twin.validation}
                states["published"] = twin.state
            states["clean"] = outcome.state
            spent = self.spent()
            line |= _figures_of(spent)
            line["survivors"] = outcome.opened.survivors
            line["upload_bytes"] = outcome.opened.upload_bytes
            line["saturated"] = outcome.opened.saturated
            metrics.append(line)
            _add(seconds, {"total": time.perf_counter() - started})
            self.folder.commit(round_number, *_dump_states(states), metrics, seconds)
            scoring = "own" if self.config.evaluation.scoring == "own" else "server"
            sent = sum(line["upload_bytes"] or 0 for line in metrics) * self.cohort
            observe(
                Progress(
                    round_number, self.rounds, outcome.loss, outcome.validation[scoring][self.headline],
                    spent, sent or None,
                )
            )  # fmt: skip
        sizes = {"round": metrics[-1]["upload_bytes"]} if metrics else {}
        return Finished(states, self.folder.start_sizes() | sizes, sum(line["saturated"] for line in metrics))

    @property
    def headline(self) -> str:
        """The metric shown while a run goes on, such as "hr@10"."""
        return f"hr@{self.config.evaluation.cutoffs[0]}"


def check_run(config: Config, dataset: Dataset) -> None:
    """Raise what a run would raise at its first round, before there is a folder."""
    split, training = leave_one_out(dataset.interactions), config.training
    if not (split.test >= 0).any():
        raise DataError(f"no user of {dataset.name} has 3 items or more, so nothing can be held out to evaluate on")
    draw_candidates(
        dataset.interactions, split, np.random.default_rng(config.data.candidates_seed), config.data.sampled_negatives
    )
    if config.privacy.unit == "user":
        never_negative = dataset.interactions if config.evaluation.published else split.train
        Sampler(split.train, never_negative, negatives=training.negatives)
    n_users, n_items = dataset.interactions.n_users, dataset.interactions.n_items
    promises = make_promises(config.privacy, planned(config, n_items), cohort=n_users, noise_source="os")
    for promise in promises.values():
        protocols.check(config.protocol.protocol, promise.spec(n_users))


def _figures_of(spent: Epsilon) -> dict[str, Any]:
    """Of a line of metrics. Infinite epsilons are null."""
    epsilon = spent.epsilon if np.isfinite(spent.epsilon) else None
    if spent.unit == "user":
        return {"central_epsilon": epsilon}
    return {"central_epsilon": None, "interaction_epsilon": epsilon, "not_noised": ["loss", "validation"]}


def _add(total: dict[str, float], part: dict[str, float]) -> None:
    for phase, seconds in part.items():
        total[phase] = total.get(phase, 0.0) + seconds


Parts = dict[str, NDArray[Any]]


def _dump_states(states: dict[str, TrackState]) -> tuple[Parts, Parts]:
    """What the server has of the run's own track, and all the rest, which stands for the devices (and the twin)."""
    server: Parts = {}
    devices: Parts = {}
    for rule, state in states.items():
        kept = state.kept
        tables = server if rule == "clean" else devices
        tables[f"{rule}.table"] = state.table
        tables[f"{rule}.kept.table"] = kept.table
        tables[f"{rule}.kept.broadcast"] = kept.broadcast
        tables[f"{rule}.kept.round"] = np.array([kept.round_number], np.int64)
        tables[f"{rule}.kept.value"] = np.array([kept.value], np.float64)
        for name, functions in (("functions", state.functions), ("kept.functions", kept.functions_before)):
            devices[f"{rule}.{name}.weights"] = functions.weights
            devices[f"{rule}.{name}.biases"] = functions.biases
    return server, devices


def _load_state(rule: str, round_number: int, server: Parts, devices: Parts) -> TrackState:
    parts = server | devices

    def functions(name: str) -> ScoreFunctions:
        return ScoreFunctions(parts[f"{rule}.{name}.weights"], parts[f"{rule}.{name}.biases"])

    try:
        kept = Kept(
            int(parts[f"{rule}.kept.round"][0]), float(parts[f"{rule}.kept.value"][0]),
            parts[f"{rule}.kept.broadcast"], functions("kept.functions"), parts[f"{rule}.kept.table"],
        )  # fmt: skip
        return TrackState(round_number, parts[f"{rule}.table"], functions("functions"), kept)
    except KeyError as error:
        raise RunError(f"the saved round {round_number} has no array {error}: the run cannot go on") from None
