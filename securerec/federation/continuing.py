"""Going on from a finished run: devices take in what came since, newcomers join, and new rounds follow.

Nothing is trained again. A device whose list grew goes on from its state; a new one fits its private part alone, from
what was released; item rows go on from the parent's. The new run's ledger begins with the parent's events, so that
every figure it states is of both together: for somebody in both runs the epsilons add up as the accountants compose
them, and for others it is less. Without new rounds nothing is uploaded, and the parent's epsilon stays what it was.
"""

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from securerec.config import Config
from securerec.data.dataset import Dataset
from securerec.data.splits import leave_one_out
from securerec.errors import ConfigError, PrivacyError, RunError
from securerec.evaluation.scoring import TrainedDevices
from securerec.federation.arriving import NEXT, ORIGIN, Released, dump_origin
from securerec.federation.folder import RunFolder
from securerec.federation.pool import DevicePool
from securerec.federation.promise import figure_of
from securerec.federation.releases import INHERITED, own_events
from securerec.federation.results import LAST
from securerec.federation.run import Recorder, Run, check_run
from securerec.federation.stored import read_arrays
from securerec.federation.track import Track
from securerec.federation.warm_start import WarmStart
from securerec.models.head import Head, Heads
from securerec.models.scorers import ScoreFunctions
from securerec.privacy.event_json import to_json
from securerec.scorer_plan import check_model
from securerec.training.cohort import Table

PARENT = "parent"
"""The entry of `identity.json` that names the run which a run continues."""
_STATE = "devices/origin.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class Parent:
    """A run to go on from. rounds: of its kept model, which devices hold. onward: the shared matrix that new rounds may
    send, and after how many rounds it stood. Devices answer a table once, and where an earlier round's is kept they
    have answered it in the round after.
    """

    folder: RunFolder
    dataset: Dataset
    devices: TrainedDevices
    rounds: int
    onward: tuple[Table, int]

    @classmethod
    def finished(cls, folder: RunFolder, dataset: Dataset, devices: TrainedDevices, rounds: int) -> "Parent":
        """A finished run. Raises RunError for files that are missing or were changed."""
        model, _ = read_arrays(folder.path / "model.safetensors")
        played = folder.config().training.rounds or 0
        onward = devices.table, rounds
        if LAST in model:
            onward = model[LAST], played
        elif not played and folder.began_with(ORIGIN):
            # it has sent nothing, and hands on what it was handed
            origin, metadata = folder.first_arrays(ORIGIN)
            if NEXT in origin:
                onward = origin[NEXT], int(metadata[NEXT]) - int(metadata["rounds"])
        return cls(folder, dataset, devices, rounds, onward)


def continued_config(
    parent: Config, dataset: str, *, rounds: int, epsilon: float | None, seed: int | None, workers: int | None = None,
    record_views: bool = False,
) -> Config:  # fmt: skip
    """The parent's settings with another data set, and an epsilon of its own for the new rounds.

    workers: as the parent's where None. record_views: of the first and the last of the new rounds. Raises ConfigError
    where the epsilon is missing or means nothing, for the parent's seed, and for views of no round.
    """
    privacy = parent.privacy
    if seed is not None and seed == parent.seed:
        raise ConfigError(f"--seed {seed} is the parent's, and would repeat its noise: give another")
    if privacy.unit == "interaction":
        raise ConfigError("a run with privacy.unit interaction cannot be continued: start another run")
    if not privacy.privacy and epsilon is not None:
        raise ConfigError("the parent was trained without privacy, so no epsilon holds for its continuation either")
    if privacy.privacy and rounds:
        if epsilon is None:
            raise ConfigError(
                "say with --epsilon what the new rounds may spend beside what the parent has spent; the total is that "
                "of both"
            )
        # of the kind that the parent's noise was sized for
        kind = "epsilon" if privacy.local_epsilon is None else "local_epsilon"
        none = {"epsilon": None, "local_epsilon": None, "noise_multiplier": None}
        privacy = privacy.model_copy(update=none | {kind: epsilon})
    elif epsilon is not None:
        raise ConfigError("without new rounds nothing is uploaded: leave out --epsilon, or give --rounds")
    if record_views and not rounds:
        raise ConfigError("without new rounds there is nothing to record: leave out --record-views, or give --rounds")
    check_model(
        parent.training.model, dual=parent.training.dual, head=None, per_interaction=False, record_views=record_views
    )
    return parent.model_copy(
        update={
            "seed": seed, "privacy": privacy,
            "data": parent.data.model_copy(update={"dataset": dataset}),
            "start": type(parent.start)(head=False, recency=parent.start.recency),
            "training": parent.training.model_copy(update={"rounds": rounds}),
            "evaluation": parent.evaluation.model_copy(update={"published": False}),
            "protocol": parent.protocol.model_copy(update={} if workers is None else {"workers": workers}),
            "views": type(parent.views)(
                record_views=record_views, view_rounds=tuple(sorted({1, rounds})) if record_views else None
            ),
        }
    )  # fmt: skip


class ContinuedRun(Run):
    """A run that starts where another one ended."""

    def start(self, pool: DevicePool, record: Recorder | None) -> WarmStart:
        public, _ = self.folder.first_arrays(ORIGIN)
        private, _ = self.folder.first_arrays(_STATE)
        try:
            train, table = self.split.train, public["shared"]
            functions, heads = ScoreFunctions(private["weights"], private["biases"]), None
            if "base" in public:
                heads = Heads(Head(public["base"], public["directions"]), private["tastes"])
            basis = hashlib.sha256(self.run_id + (self.folder.path / ORIGIN).read_bytes()).digest()
            return WarmStart(
                heads or Heads.none(train.n_users, train.n_items), table, functions, basis, public.get("popularity")
            )
        except KeyError as error:
            raise RunError(f"{self.folder.path} lacks the array {error}: the run cannot go on") from None

    def tracks(self, pool: DevicePool, record: Recorder | None = None) -> dict[str, Track]:
        events, wanted = self.folder.ledger.events(), int(self.folder.identity("inherited"))
        if len(events) - len(own_events(events)) != wanted:
            raise PrivacyError(
                f"{self.folder.ledger.path} lacks events of the run that this one continues: restore it, no epsilon "
                "can be stated without them"
            )
        return super().tracks(pool, record)

    def continues(self) -> dict[str, Any] | None:
        own = figure_of(self.config.privacy)(own_events(self.folder.ledger.events()), delta=self.config.privacy.delta)
        nothing = not own_events(self.folder.ledger.events())
        added = 0.0 if nothing else own.epsilon if np.isfinite(own.epsilon) else None
        return {"run_id": self.folder.identity(PARENT), "added_epsilon": added}

    @classmethod
    def after(cls, parent: Parent, path: Path, config: Config, dataset: Dataset) -> "ContinuedRun":
        """Start the folder of a run that continues another; see `continued_config` and `grown`.

        Raises RunError where the data set is no later one of the parent's, DataError, ConfigError, PrivacyError for
        what cannot be run.
        """
        check_run(config, dataset)
        _check_grown(parent.dataset, dataset)
        seed = np.random.SeedSequence(config.seed)
        initial, draws = seed.spawn(2)
        kept = _before(parent, dataset, parent.devices.table, parent.rounds, initial)
        onward = _before(parent, dataset, *parent.onward, initial)
        released = onward if config.training.rounds else kept
        lists = leave_one_out(dataset.interactions).train
        devices = released.devices(lists, np.random.default_rng(draws), past=parent.devices.functions)
        events = parent.folder.ledger.events()
        parent_id = parent.folder.identity("run_id")
        own = own_events(events)
        inherited = [
            replace(event, label=f"{INHERITED}{parent_id[:8]}: {event.label}") if event in own else event
            for event in events
        ]
        digest = dataset.digest()
        entropy = os.urandom(32) if config.seed is None else config.to_toml() + digest.encode() + parent_id.encode()
        run_id = hashlib.sha256(b"securerec run id" + entropy).digest()[:16]
        functions = devices.functions
        state = {"tastes": devices.heads.tastes, "weights": functions.weights, "biases": functions.biases}
        folder = RunFolder.create(
            path, config, run_id=run_id, dataset_digest=digest,
            more={PARENT: parent_id, "inherited": str(len(inherited))},
            files={ORIGIN: dump_origin(released, onward), _STATE: save(state)},
            growing={"ledger.jsonl": b"".join(to_json(event).encode() + b"\n" for event in inherited)},
        )  # fmt: skip
        return cls(folder, dataset)


def open_run(folder: RunFolder, dataset: Dataset) -> Run:
    """The run in a folder, one that continues another among them. Raises RunError as `Run`."""
    return (ContinuedRun if folder.has_identity(PARENT) else Run)(folder, dataset)


def _before(parent: Parent, dataset: Dataset, table: Table, rounds: int, seed: np.random.SeedSequence) -> Released:
    """What the parent has released, the shared matrix as it was after so many rounds, with rows for the items that are
    new: from their features where there is a head, else at random, as items have them before round 1.
    """
    released = Released.of(parent.folder, parent.dataset, table=table, rounds=rounds)
    n_old = parent.dataset.interactions.n_items
    n_new = dataset.interactions.n_items - n_old
    if not n_new:
        return released
    if released.start is not None:
        return released.with_new_items(dataset)
    rows = released.config.training.learner().initial_table(n_new, np.random.default_rng(seed))[:n_new]
    return replace(released, table=np.concatenate([released.table[:n_old], rows, released.table[n_old:]]))


def _check_grown(before: Dataset, after: Dataset) -> None:
    """Raise RunError unless users and items of the one come first in the other, in their order."""
    for kind, old, new in (("users", before.user_ids, after.user_ids), ("items", before.item_ids, after.item_ids)):
        if new[: len(old)] != old:
            raise RunError(f"{after.name} does not begin with the {kind} of {before.name}: it is no later one of it")
