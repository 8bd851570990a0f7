"""A run's releases: charged to the ledger before an upload leaves, summed by the run's protocol, opened once."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from securerec.config import Config
from securerec.errors import PrivacyError
from securerec.federation.folder import RunFolder
from securerec.federation.guards import Origin
from securerec.federation.pool import DevicePool
from securerec.federation.promise import Promise, attempt_label, figure_of
from securerec.federation.summing import OpenedSum, SecureSum, clear_sum
from securerec.federation.warm_start import NoisySum
from securerec.models.head import Heads
from securerec.privacy.accounting import local_epsilon
from securerec.privacy.events import Event, Unprotected
from securerec.privacy.mechanism import FixedPoint
from securerec.privacy.randomness import NoiseKey
from securerec.training.cohort import Table
from securerec.training.updates import Updates

RecordRelease = Callable[[str, Table, Updates, OpenedSum, float], None]
"""Told of a release before the rounds: its kind, what devices were sent, their vectors, what was opened, and integers
to a unit."""


class Releases:
    """What leaves the devices of a run, by the kinds that were planned for it."""

    def __init__(
        self, folder: RunFolder, config: Config, promises: dict[str, Promise], noise_key: NoiseKey, run_id: bytes,
        cohort: int,
    ) -> None:  # fmt: skip
        self._folder, self._config, self._promises = folder, config, promises
        self._noise_key, self._run_id, self._cohort = noise_key, run_id, cohort
        self._attempts: dict[str, int] = {}

    def open(
        self, pool: DevicePool, record: RecordRelease | None, name: str, table: Table, updates: Updates, basis: bytes
    ) -> NoisySum:
        """The sum of a release before the rounds: from the folder, where it was opened before, or from the devices.

        name: its kind; table, basis: what devices were sent; record: told of what was uploaded. Raises as `spend` and
        `SecureSum`.
        """
        quantiser, protocol = self._promises[name].quantiser, self._config.protocol.protocol
        opened = self._folder.start_sum(name)
        if opened is None:
            self.spend(name, name, updates)
            if isinstance(quantiser, FixedPoint) and protocol == "plain":
                streams = partial(self._noise_key.stream, name, 1)
                opened = clear_sum(quantiser, updates, self._cohort, streams)
            else:
                open_sum = self.secure_sum(name, name, protocol, pool, table, basis)
                opened = open_sum(table, updates, 1, record=record is not None)
            if record is not None:
                record(name, table, updates, opened, quantiser.scale)
            self._folder.write_start_sum(name, opened)
        return noisy_sum(self._promises[name], opened, len(table))

    def secure_sum(
        self, name: str, label: str, protocol: str, pool: DevicePool, table: Table, basis: bytes,
        heads: Heads | None = None,
    ) -> SecureSum:  # fmt: skip
        """How vectors of a kind are summed: all parties of a protocol. table: what devices are sent first; heads: what
        is added to their scores.
        """
        promise, training = self._promises[name], self._config.training
        origin = Origin.of(
            table, promise.quantiser, min_survivors=promise.min_survivors, server_lr=training.server_lr,
            rounds=(training.rounds or 0) if name == "round" else 1,
        )  # fmt: skip
        if promise.sgd is not None:
            origin = replace(origin, noised=True)
        return SecureSum(
            protocol, promise.spec(self._cohort), promise.quantiser, self._noise_key, pool, run_id=self._run_id,
            label=label, origin=origin, learner=training.learner(), folder=self._folder.path, basis=basis,
            heads=heads, attempt=lambda: self._attempts.get(name, 1),
        )  # fmt: skip

    def spend(self, name: str, label: str, updates: Updates | None) -> None:
        """Write a release's event before its first upload leaves; it stays spent whatever happens then.

        After a crash the same updates are the same attempt, as their noise is the same; others are another one. Raises
        PrivacyError when that, and what is still planned, would exceed the epsilon the run was begun with.

        updates: None where they leave while they are trained, which only those may that nothing protects: once is
        without limit already, so that another attempt adds nothing.
        """
        settings, ledger = self._config.privacy, self._folder.ledger
        if updates is None:
            event = self._promises[name].event(label)
            if not isinstance(event, Unprotected):
                raise ValueError(f"{label} is protected, and its updates must be known before it is charged")
            ledger.append(event)
            return
        digest = updates.digest()
        attempts, known = self._folder.attempts(label), own_events(ledger.events())
        if digest not in attempts:
            # an attempt that the ledger knows and the devices have forgotten was one with other updates
            charged = sum(event.label.split(",")[0] == label for event in known)
            attempts += ["forgotten"] * (charged - len(attempts)) + [digest]
        attempt = attempts.index(digest) + 1
        event = self._promises[name].event(attempt_label(label, attempt))
        # the first attempt at each release is what was planned, and fits
        rest = self._planned_after(label, known) if attempt > 1 else ()
        after = (*known, *(() if event in known else (event,)), *rest)
        for budget, count in ((settings.epsilon, figure_of(settings)), (settings.local_epsilon, local_epsilon)):
            if budget is not None and count(after, delta=settings.delta).epsilon > budget * (1 + 1e-9):
                raise PrivacyError(
                    f"{event.label} would spend more than the epsilon of {budget:g} that the run was begun with: its "
                    "uploads differ from those that left before the run was interrupted"
                )
        self._folder.write_attempts(label, attempts)
        ledger.append(event)
        self._attempts[name] = attempt

    def _planned_after(self, label: str, known: Sequence[Event]) -> Sequence[Event]:
        """Events of the releases that are planned beside this one and not yet in the ledger."""
        gone = {label, *(event.label.split(",")[0] for event in known)}
        rounds = [("round", f"round {number}") for number in range(1, (self._config.training.rounds or 0) + 1)]
        start = [(name, name) for name in self._promises if name != "round"]
        return [self._promises[name].event(each) for name, each in start + rounds if each not in gone]


INHERITED = "parent "
"""How the labels of events begin that a run has from the run it continues: their budget is spent, and not its own."""


def own_events(events: Sequence[Event]) -> tuple[Event, ...]:
    """Without those of the run that this one continues."""
    return tuple(event for event in events if not event.label.startswith(INHERITED))


def noisy_sum(promise: Promise, opened: OpenedSum, n_rows: int) -> NoisySum:
    """What was opened of a release of that many rows, in the vectors' own units."""
    quantiser = promise.quantiser
    noise = quantiser.client_sigma * math.sqrt(opened.survivors) / quantiser.scale
    return NoisySum(np.asarray(opened.total, np.float64).reshape(n_rows, -1) / quantiser.scale, noise)
