"""One model on its way through the rounds: broadcast, local training, sum, server step, evaluation on validation."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from securerec.errors import RunError
from securerec.evaluation import ranking
from securerec.evaluation.protocols import Ranks
from securerec.federation.summing import OpenedSum
from securerec.federation.warm_start import WarmStart
from securerec.models.pfedrec import ScoreFunctions
from securerec.models.shrinkage import wiener
from securerec.privacy.mechanism import FixedPoint
from securerec.training.cohort import CohortUpdate, Table
from securerec.training.trainers import Trainer

LEFT = 1e-3
"""Share of a round's noise that is never taken away: a table that did not move at all would be no new one, and devices
answer a table once."""

DOUBT = 2.0
"""How sure the server asks to be that a round's mean is more than noise: its share of the budget may be small."""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """The round whose model is kept, such that it can be trained once more: what was broadcast, what came of it.

    `value` is the validation figure it was kept for; 0 where the last round is kept.
    """

    round_number: int
    value: float
    broadcast: Table
    functions_before: ScoreFunctions
    table: Table


@dataclass(frozen=True, slots=True, eq=False)
class TrackState:
    """Where a track stands after `round_number` rounds: the server's shared matrix `table` (n_rows, dim), every
    device's functions.
    """

    round_number: int
    table: Table
    functions: ScoreFunctions
    kept: Kept


@dataclass(frozen=True, slots=True, eq=False)
class RoundOutcome:
    """What a round left behind. `loss`: mean over clients, nats. `validation`: metrics by scoring, own and server."""

    state: TrackState
    loss: float
    validation: dict[str, dict[str, float]]
    opened: OpenedSum
    seconds: dict[str, float]
    update: CohortUpdate


class Summing(Protocol):
    """Turns a round's updates into one sum of integers, `scale` of them to a unit of the item table."""

    @property
    def scale(self) -> float: ...

    def __call__(
        self, table: Table, updates: CohortUpdate, round_number: int, /, *, functions: ScoreFunctions | None = None,
        record: bool = False,
    ) -> OpenedSum:  # fmt: skip
        """functions: what clients score with after training; record: keep the clients' integers in the result."""
        ...


class Track:
    """Runs rounds of one model. Holds no model: a state goes in, a state comes out."""

    def __init__(
        self,
        trainer: Trainer,
        summing: Summing | FixedPoint | None,
        *,
        start: WarmStart,
        training_key: int,
        server_lr: float,
        validation: NDArray[np.int32],
        cutoffs: tuple[int, ...],
        kept_scoring: str | None,
        noise: float = 0.0,
    ) -> None:
        """`summing`: a protocol's sums, or the grid on which the trainer adds in the clear by itself; None for a track
        without rounds.

        `start`: where round 1 starts; after a warm start the server takes of a round's mean what is more than noise.
        `noise`: deviation of one client's noise, in its integers. `training_key`, the devices' own, seeds their draws.
        `validation` (n_users, 1 + negatives) candidates. With `kept_scoring` ("own" or "server") the round with the
        best validation HR under it is kept, else the last.
        """
        self.trainer, self.summing = trainer, summing
        self._noise = noise
        self._start, self._training_key, self._server_lr = start, training_key, server_lr
        self._validation, self._cutoffs, self._kept_scoring = validation, cutoffs, kept_scoring

    def _draws(self, round_number: int) -> Any:
        seed = np.random.SeedSequence(self._training_key, spawn_key=(round_number,))
        return self.trainer.draw(np.random.default_rng(seed))

    def start(self) -> TrackState:
        """The state before the first round."""
        table, functions = self._start.table, self._start.functions
        return TrackState(0, table, functions, Kept(0, 0.0, table, functions, table))

    def run_round(
        self, state: TrackState, *, before_upload: Callable[[CohortUpdate], None] | None = None, record: bool = False
    ) -> RoundOutcome:
        """The round after `state`.

        `before_upload` is called with what was trained, before anything of it leaves a device. With `record` the
        clients' integers are kept in the outcome's `opened`.
        """
        round_number, seconds, clock = state.round_number + 1, {}, _Clock()
        draws = self._draws(round_number)
        seconds["draw"] = clock.lap()
        summing = self.summing
        if summing is None:
            raise ValueError("a track without a way to sum has no rounds")
        fused = summing if isinstance(summing, FixedPoint) else None
        functions, update, summed = self.trainer.train(
            state.table, state.functions, draws,
            scale=fused.scale if fused else 0.0, limit=fused.value_bound if fused else 0,
        )  # fmt: skip
        seconds["train"] = clock.lap()
        if before_upload is not None:
            before_upload(update)
            clock.lap()
        if not isinstance(summing, FixedPoint):
            opened = summing(state.table, update, round_number, functions=update.functions, record=record)
            seconds |= opened.seconds
            clock.lap()
        elif summed is not None:
            opened = OpenedSum(summed.total.ravel(), self.trainer.train_set.n_users, None, summed.saturated)
        mean = opened.total.reshape(state.table.shape) / (opened.survivors * summing.scale)
        if self._start.popularity is not None:
            noise = self._noise / (math.sqrt(opened.survivors) * summing.scale)
            mean = LEFT * mean + (1 - LEFT) * wiener(mean, noise, self._start.popularity, doubt=DOUBT)
        table = (state.table + self._server_lr * mean).astype(np.float32)
        seconds["step"] = clock.lap()
        validation = self._validate(state.table, table, functions, update)
        kept = state.kept
        value = validation[self._kept_scoring][f"hr@{self._cutoffs[0]}"] if self._kept_scoring else 0.0
        if kept.round_number == 0 or self._kept_scoring is None or value > kept.value:
            kept = Kept(round_number, value, state.table, state.functions, table)
        seconds["evaluate"] = clock.lap()
        after = TrackState(round_number, table, functions, kept)
        return RoundOutcome(after, float(update.losses.mean()), validation, opened, seconds, update)

    def replay(self, kept: Kept) -> tuple[ScoreFunctions, CohortUpdate]:
        """Every device's score function and change of the items in the kept round, trained once more from the same
        draws. No change before the first round.
        """
        if kept.round_number == 0:
            return kept.functions_before, self.trainer.untrained(kept.functions_before)
        draws = self._draws(kept.round_number)
        functions, update, _ = self.trainer.train(kept.broadcast, kept.functions_before, draws)
        return functions, update

    def _validate(
        self, broadcast: Table, table: Table, functions: ScoreFunctions, update: CohortUpdate
    ) -> dict[str, dict[str, float]]:
        scores = {
            "own": self.trainer.score_own(broadcast, functions, update, self._validation),
            "server": self.trainer.score(table, functions, self._validation),
        }
        if not all(np.isfinite(logits).all() for logits in scores.values()):
            raise RunError("the model's scores left the finite numbers: lower the learning rates")
        users = np.flatnonzero(self._validation[:, 0] >= 0)
        present = self._validation[users] >= 0
        return {
            name: Ranks(users, *ranking.better_and_tied(logits[users], present)).metrics(self._cutoffs)
            for name, logits in scores.items()
        }


class _Clock:
    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.perf_counter()
        spent, self._last = now - self._last, now
        return spent
