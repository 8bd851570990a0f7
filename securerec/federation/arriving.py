"""Who arrives after a run: what a device that no round has seen makes of what the run released.

Such a device uploads nothing. It goes the way that a device of the run has gone, with its own list: the private parts
of the warm start, and as many passes of local training as there were rounds, with the item rows held as they are. All
that it reads is the server's, who may hand it to anybody.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from threadpoolctl import threadpool_limits

from securerec.config import Config
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.errors import RunError
from securerec.evaluation.scoring import TrainedDevices
from securerec.federation.folder import RunFolder
from securerec.federation.promise import make_promises, planned
from securerec.federation.releases import noisy_sum
from securerec.federation.warm_start import NoisySum, SegmentVectors, WarmStart, cold_start, warm_start
from securerec.models.head import NO_INPUTS, Head, Heads, public_features
from securerec.models.new_items import carried, foretold
from securerec.models.newcomer import PublicStart
from securerec.models.scorers import ScoreFunctions
from securerec.models.segments import Segments
from securerec.training.cohort import Table
from securerec.training.trainers import trainer_of
from securerec.training.updates import RowUpdates, Updates

ORIGIN = "origin.safetensors"
"""In the folder of a run that continues another: what had been released before."""
NEXT = "next"
"""In that file: the shared matrix that nobody was sent yet, where it is another; and after how many rounds it stood."""


@dataclass(frozen=True, slots=True, eq=False)
class Released:
    """What a run has released.

    start: of its warm start, None without one. cold: one device's score function before anything was trained, the same
    for everybody. table: (n_rows, dim) float32, the shared matrix after `rounds` rounds.
    """

    config: Config
    start: PublicStart | None
    cold: ScoreFunctions
    table: Table
    rounds: int

    @classmethod
    def of(cls, folder: RunFolder, dataset: Dataset, *, table: Table, rounds: int) -> "Released":
        """Of the run in a folder. dataset: the run's; of its interactions only the number of users is read.

        Raises RunError where what was released is missing.
        """
        config = folder.config()
        if folder.began_with(ORIGIN):
            start, cold, before = read_origin(folder, config)
            return cls(config, start, cold, table, before + rounds)
        start = public_start(folder, config, dataset) if config.start.head else None
        nobody = Interactions.from_lists([[]], dataset.interactions.n_items)
        rng = np.random.default_rng(int(folder.identity("initial_values"), 16))
        cold = cold_start(config.training.learner(), nobody, rng).functions
        return cls(config, start, cold, table, rounds)

    def before_rounds(self, lists: Interactions) -> tuple[Heads, ScoreFunctions]:
        """What devices with these lists would have had before round 1."""
        cold = self.cold.of([0] * lists.n_users)
        if self.start is None:
            return Heads.none(lists.n_users, lists.n_items), cold
        negatives = self.config.training.learner().negatives
        with threadpool_limits(1):
            heads, functions = self.start.private(lists, recency=self.config.start.recency, negatives=negatives)
        return heads, functions if self.start.segments else ScoreFunctions(cold.weights, functions.biases)

    def devices(
        self, lists: Interactions, rng: np.random.Generator, *, past: ScoreFunctions | None = None
    ) -> TrainedDevices:
        """Devices with these lists and the run's item table, none of which has uploaded anything for them.

        rng: for their draws of negatives. past: what the first of them score with so far; they go on from that, where
        it does not follow from their lists anew. Raises DataError for a list that leaves too few items to draw
        negatives from.
        """
        heads, functions = self.before_rounds(lists)
        if past is not None and not (self.start and self.start.segments):
            functions.weights[: len(past.weights)] = past.weights
            if self.start is None:
                functions.biases[: len(past.biases)] = past.biases
        learner = self.config.training.learner()
        trainer = trainer_of(learner.with_frozen_items(), lists, lists, heads=heads)
        for _ in range(self.rounds):
            functions, _, _ = trainer.train(self.table, functions, trainer.draw(rng))
        return TrainedDevices(learner, self.table, self.table, functions, heads, _unchanged(lists.n_users, self.table))

    def with_new_items(self, extended: Dataset) -> "Released":
        """Before a catalogue to which items were added that nobody has touched, scored from genres and years.

        extended: the run's data set with the new items last. Raises RunError for a run without a head, whose items are
        nothing but their rows.
        """
        if self.start is None:
            raise RunError(
                "a new item has no score in this run: without a head an item is nothing but its row, and a row comes "
                "from rounds. Train with --model auto, or go on with `securerec continue`"
            )
        values = carried(public_features(extended), len(self.table))
        _, table = foretold(values, self.start.head.base, self.table)
        return replace(self, start=self.start.with_new_items(values), table=table)

    def before_all_items(self, devices: TrainedDevices) -> TrainedDevices:
        """Devices of the run before the catalogue of `with_new_items`, with what they had fitted to the old one."""
        if self.start is None:
            return devices
        new = self.table[len(devices.table) :]
        heads = Heads(self.start.head, devices.heads.tastes)
        return replace(devices, table=self.table, broadcast=np.concatenate([devices.broadcast, new]), heads=heads)


def public_start(folder: RunFolder, config: Config, dataset: Dataset) -> PublicStart:
    """What everybody may know of a run's warm start, from the sums that were opened for it."""
    n_items = dataset.interactions.n_items
    promises = make_promises(
        config.privacy, planned(config, n_items), cohort=dataset.interactions.n_users, noise_source="os"
    )
    segments: list[Segments] = []

    def opened(name: str, table: Table, updates: Updates, basis: bytes) -> NoisySum:
        kept = folder.start_sum(name)
        if kept is None:
            raise RunError(f"{folder.path / 'start.safetensors'} lacks the sum {name}: restore the file")
        if isinstance(updates, SegmentVectors):
            segments.append(updates.segments)
        return noisy_sum(promises[name], kept, len(table))

    nobody, learner = Interactions.from_lists([[]], n_items), config.training.learner()
    cold = cold_start(learner, nobody, np.random.default_rng(0))
    with threadpool_limits(1):
        start: WarmStart = warm_start(config.start, learner, public_features(dataset), cold, nobody, opened, basis=b"")
    if start.popularity is None:
        raise RunError(f"{folder.path / 'start.safetensors'} lacks the sum popularity: restore the file")
    table = start.table if segments else np.zeros((n_items, 0), np.float32)
    return PublicStart(start.heads.head, table, tuple(segments), start.popularity)


def _unchanged(n_users: int, table: Table) -> RowUpdates:
    """No device has changed a row."""
    rows, delta = np.zeros(0, np.int32), np.zeros((0, table.shape[1]), np.float32)
    return RowUpdates(np.arange(n_users), np.zeros(n_users + 1, np.int64), rows, delta)


def dump_origin(released: Released, onward: Released) -> bytes:
    """As a file of a run that continues another; "shared" is where its matrix starts. onward: as rounds to come would
    start from it. `read_origin` reads the rest.
    """
    cold = released.cold
    arrays: dict[str, NDArray[Any]] = {
        "shared": released.table, "cold.weights": cold.weights, "cold.biases": cold.biases
    }  # fmt: skip
    start = released.start
    if start is not None:
        arrays |= {
            "base": start.head.base, "directions": start.head.directions, "inputs": start.head.inputs,
            "table": start.table, "popularity": start.popularity,
        }  # fmt: skip
        for number, each in enumerate(start.segments):
            arrays |= {f"{number}.directions": each.directions, f"{number}.curvature": each.curvature}
    metadata = {"rounds": str(released.rounds)}
    if not np.array_equal(onward.table, released.table):
        arrays, metadata = arrays | {NEXT: onward.table}, metadata | {NEXT: str(onward.rounds)}
    return save(arrays, metadata)


def read_origin(folder: RunFolder, config: Config) -> tuple[PublicStart | None, ScoreFunctions, int]:
    """The start, a cold score function, and how many rounds were played before. Raises RunError for a damaged file or
    one that was changed.
    """
    arrays, metadata = folder.first_arrays(ORIGIN)
    try:
        cold, rounds = ScoreFunctions(arrays["cold.weights"], arrays["cold.biases"]), int(metadata["rounds"])
        if "base" not in arrays:
            return None, cold, rounds
        segments: list[Segments] = []
        while f"{len(segments)}.directions" in arrays:
            number = len(segments)
            directions, curvature = arrays[f"{number}.directions"], arrays[f"{number}.curvature"]
            segments.append(Segments(directions, curvature, config.start.recency))
        head = Head(arrays["base"], arrays["directions"], arrays.get("inputs", NO_INPUTS))
        return PublicStart(head, arrays["table"], tuple(segments), arrays["popularity"]), cold, rounds
    except (KeyError, ValueError):
        raise RunError(f"{folder.path / ORIGIN} is damaged: restore it") from None
