"""What the devices of a node compute: the way through the warm start, and local training.

Everything that a device does follows from its own list, its own keys and what was opened, whoever else is in the same
silo: a device alone, in a silo, or among a whole simulated cohort comes to the same bits.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from securerec.device.records import OwnInteractions, PrivateState
from securerec.errors import RunError
from securerec.federation.guards import TableRefused
from securerec.federation.parties.public import Federation
from securerec.federation.warm_start import NoisySum, Wanted, WarmStart, warm_steps
from securerec.models.scorers import ScoreFunctions
from securerec.training.cohort import Table
from securerec.training.row_trainer import RowTrainer
from securerec.training.trainers import trainer_of
from securerec.training.updates import Change, RowUpdates, Updates, digest_of, place_of

ROUND = "round"
"""Name of the kind of release that rounds are."""


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """What devices are about to add to a release.

    table, basis: what they were sent, and the digest of what was opened before. updates: by client number. start: of
    the rounds, None for a release before them. state: where the devices stand after local training; None likewise.
    """

    table: Table
    basis: bytes
    updates: Updates = field(repr=False)
    start: WarmStart | None = None
    state: PrivateState | None = None


class Silo:
    """Some devices of a federation, one or many."""

    def __init__(self, federation: Federation, own: OwnInteractions, training_key: int) -> None:
        """training_key: seeds the devices' draws. Raises DataError for a list that leaves too few negatives."""
        self._federation, self._own, self._training_key = federation, own, training_key
        self._walk: _Walk | None = None
        self._trainer: tuple[WarmStart, RowTrainer] | None = None

    def before(self, release: str, opened: Mapping[str, NoisySum]) -> Wanted:
        """A release before the rounds. opened: the sums of those before it, in order. Raises TableRefused where they
        are others.
        """
        walk = self._walked(opened)
        if walk.wanted is None or walk.wanted.name != release:
            raise TableRefused(f"The release {release} does not follow the sums that were sent with it.")
        return walk.wanted

    def start(self, opened: Mapping[str, NoisySum]) -> WarmStart:
        """Where round 1 starts. Raises TableRefused where the sums are not those of all releases before it."""
        if not self._federation.config.start.head:
            return self._federation.cold(self._own.lists)
        walk = self._walked(opened)
        if walk.start is None:
            raise TableRefused("The rounds do not begin yet: the sums that were sent are not all that come before.")
        return walk.start

    def add(self, wanted: Wanted) -> Work:
        """What the devices add to a release before the rounds."""
        return Work(wanted.table, wanted.basis, NumberedUpdates(self._own.numbers, wanted.updates))

    def train(self, start: WarmStart, table: Table, before: ScoreFunctions, round_number: int) -> Work:
        """Local training of a round, from its table. Raises RunError where it diverges."""
        trainer = self._trainer_from(start)
        seed = np.random.SeedSequence(self._training_key, spawn_key=(round_number,))
        keys = own_keys(seed, self._own.numbers)
        with threadpool_limits(1):
            after, update, _ = trainer.train(table, before, trainer.sampler.draw(keys, trainer.run_blocks))
            places = np.arange(len(self._own.numbers))
            changes = replace(update.part(places), clients=self._own.numbers)
        state = PrivateState(round_number, table, before, after, changes.cuts, changes.rows, changes.delta)
        return Work(table, start.basis, changes, start, state)

    def _trainer_from(self, start: WarmStart) -> RowTrainer:
        if self._trainer is None or self._trainer[0] is not start:
            lists, learner = self._own.lists, self._federation.config.training.learner()
            trainer = trainer_of(learner, lists, lists, heads=start.heads, threads=1)
            if not isinstance(trainer, RowTrainer):
                raise RunError(f"devices of a federation cannot train {self._federation.config.training.model}")
            self._trainer = start, trainer
        return self._trainer[1]

    def _walked(self, opened: Mapping[str, NoisySum]) -> "_Walk":
        """The warm start as far as these sums lead. Goes on from where it stands, or else from the beginning."""
        given = [(name, each.digest()) for name, each in opened.items()]
        walk = self._walk
        if walk is None or walk.given != given[: len(walk.given)]:
            federation = self._federation
            steps = warm_steps(
                federation.config.start, federation.config.training.learner(), federation.features,
                federation.cold(self._own.lists), self._own.lists, basis=federation.run_id,
            )  # fmt: skip
            walk = _Walk(steps)
        # what fails on its way is not gone on from
        self._walk = None
        for name, _ in given[len(walk.given) :]:
            walk.take(name, opened[name])
        self._walk = walk
        return walk


class _Walk:
    """One way through `warm_steps`. given: names and digests of the sums that it has taken; wanted: what comes next,
    start: what it has come to; one of them is None.
    """

    def __init__(self, steps: Generator[Wanted, NoisySum, WarmStart]) -> None:
        self._steps = steps
        self.given: list[tuple[str, bytes]] = []
        self.start: WarmStart | None = None
        with threadpool_limits(1):
            self.wanted: Wanted | None = next(steps)

    def take(self, name: str, opened: NoisySum) -> None:
        """Raises TableRefused for a sum that does not come next, or has another shape."""
        if self.wanted is None or name != self.wanted.name:
            raise TableRefused(f"The sum {name} has no place after {[given for given, _ in self.given]}.")
        if opened.total.shape != self.wanted.table.shape:
            raise TableRefused(
                f"The sum {name} is of shape {opened.total.shape}, and its release of {self.wanted.table.shape}."
            )
        self.given.append((name, opened.digest()))
        try:
            with threadpool_limits(1):
                self.wanted = self._steps.send(opened)
        except StopIteration as end:
            self.wanted, self.start = None, end.value


@dataclass(frozen=True, slots=True, eq=False)
class NumberedUpdates:
    """The updates of devices that are counted from 0, by their client numbers `clients` (n,), rising."""

    clients: NDArray[np.int64]
    inner: Updates = field(repr=False)

    def of(self, client: int) -> Change:
        return self.inner.of(place_of(self.clients, client))

    def digest(self) -> str:
        return digest_of(self, self.clients)

    def part(self, clients: NDArray[np.int64]) -> RowUpdates:
        return RowUpdates.gathered(self, clients)


def own_keys(seed: np.random.SeedSequence, numbers: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint64]:
    """The keys (n,) that clients of these numbers, rising, have among all that `client_keys` gives from this seed."""
    words, at = np.random.PCG64(seed), 0
    keys = np.empty(len(numbers), np.uint64)
    for place, number in enumerate(numbers):
        words.advance(int(number) - at)
        keys[place] = words.random_raw()
        at = int(number) + 1
    return keys
