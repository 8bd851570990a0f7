"""One model on its way through the rounds: broadcast, local training, sum, server step, evaluation on validation."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from securerec.errors import RunError
from securerec.evaluation import ranking
from securerec.evaluation.protocols import Ranks
from securerec.federation.step import stepped
from securerec.federation.summing import OpenedSum
from securerec.federation.warm_start import WarmStart
from securerec.models.pfedrec import ScoreFunctions
from securerec.privacy.mechanism import FixedPoint
from securerec.training.stored_updates import StoredUpdates, UpdateStore
from securerec.training.trainers import StreamingTrainer, Trainer
from securerec.training.updates import IntegerSum, Table, Updates


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
    """What a round left behind. `loss`: mean over clients, nats. `validation`: metrics by scoring, own and server.
    `updates`: what the clients changed, until the track's next round; None where it was only summed.
    """

    state: TrackState
    loss: float
    validation: dict[str, dict[str, float]]
    opened: OpenedSum
    seconds: dict[str, float]
    updates: Updates | None


class Summing(Protocol):
    """Turns a round's updates into one sum of integers, `scale` of them to a unit of the item table."""

    @property
    def scale(self) -> float: ...

    def __call__(
        self, table: Table, updates: Updates, round_number: int, /, *, functions: ScoreFunctions | None = None,
        record: bool = False,
    ) -> OpenedSum:  # fmt: skip
        """functions: what clients score with after training; record: keep the clients' integers in the result."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Trained:
    """What local training left. own: validation's logits by each device's own view. summed: where it was fused."""

    functions: ScoreFunctions
    losses: NDArray[np.float64]
    updates: Updates | None
    own: NDArray[np.float32]
    summed: IntegerSum | None


class Track:
    """Runs rounds of one model. Holds no model: a state goes in, a state comes out.

    Nor does it hold everybody's changes: they are summed as they come, or wait in a file for those who need them.
    """

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
        folder: Path,
        noise: float = 0.0,
    ) -> None:
        """`summing`: a protocol's sums, or the grid on which the trainer adds in the clear by itself; None for a track
        without rounds.

        `start`: where round 1 starts; after a warm start the server takes of a round's mean what is more than noise.
        `noise`: deviation of one client's noise, in its integers. `training_key`, the devices' own, seeds their draws.
        `validation` (n_users, 1 + negatives) candidates. With `kept_scoring` ("own" or "server") the round with the
        best validation HR under it is kept, else the last. folder: the devices' own, where their changes wait.
        """
        self.trainer, self.summing = trainer, summing
        self._noise, self._folder = noise, folder
        self._start, self._training_key, self._server_lr = start, training_key, server_lr
        self._validation, self._cutoffs, self._kept_scoring = validation, cutoffs, kept_scoring

    def _rng(self, round_number: int) -> np.random.Generator:
        """For the devices' draws of a round."""
        return np.random.default_rng(np.random.SeedSequence(self._training_key, spawn_key=(round_number,)))

    def start(self) -> TrackState:
        """The state before the first round."""
        table, functions = self._start.table, self._start.functions
        return TrackState(0, table, functions, Kept(0, 0.0, table, functions, table))

    def run_round(
        self, state: TrackState, *, before_upload: Callable[[Updates | None], None] | None = None, record: bool = False
    ) -> RoundOutcome:
        """The round after `state`.

        `before_upload` is called with what was trained, before anything of it leaves a device; with None where each
        device's part is summed as soon as it is trained. With `record` the clients' integers are kept in the outcome's
        `opened`, and what they changed in `updates`.
        """
        round_number, clock = state.round_number + 1, _Clock()
        seconds: dict[str, float] = {}
        summing = self.summing
        if summing is None:
            raise ValueError("a track without a way to sum has no rounds")
        fused = summing if isinstance(summing, FixedPoint) else None
        at_once = fused is not None and isinstance(self.trainer, StreamingTrainer)
        if before_upload is not None and at_once:
            before_upload(None)
            clock.lap()
        trained = self._train(state, round_number, fused, keep=record or not at_once, seconds=seconds)
        clock.lap()
        if before_upload is not None and not at_once:
            before_upload(trained.updates)
            clock.lap()
        if trained.summed is not None:
            total = trained.summed.total.ravel()
            opened = OpenedSum(total, self.trainer.train_set.n_users, None, trained.summed.saturated)
        elif not isinstance(summing, FixedPoint) and trained.updates is not None:
            opened = summing(state.table, trained.updates, round_number, functions=trained.functions, record=record)
            seconds |= opened.seconds
            clock.lap()
        table = stepped(
            state.table, opened.total, survivors=opened.survivors, scale=summing.scale, server_lr=self._server_lr,
            client_sigma=self._noise, popularity=self._start.popularity,
        )  # fmt: skip
        seconds["step"] = clock.lap()
        validation = self._validate(table, trained)
        kept = state.kept
        value = validation[self._kept_scoring][f"hr@{self._cutoffs[0]}"] if self._kept_scoring else 0.0
        if kept.round_number == 0 or self._kept_scoring is None or value > kept.value:
            kept = Kept(round_number, value, state.table, state.functions, table)
        seconds["evaluate"] = clock.lap()
        after = TrackState(round_number, table, trained.functions, kept)
        return RoundOutcome(after, float(trained.losses.mean()), validation, opened, seconds, trained.updates)

    def _train(
        self, state: TrackState, round_number: int, fused: FixedPoint | None, *, keep: bool, seconds: dict[str, float]
    ) -> _Trained:
        """Local training and validation by the devices' own views; the sum where it is fused, the changes if kept."""
        scale, limit = (fused.scale, fused.value_bound) if fused else (0.0, 0)
        trainer, rng, clock = self.trainer, self._rng(round_number), _Clock()
        if isinstance(trainer, StreamingTrainer):
            store = self._store() if keep else None
            streamed = trainer.stream(
                state.table, state.functions, rng, scale=scale, limit=limit, candidates=self._validation, keep=store
            )
            seconds["train"] = clock.lap()
            updates, summed = store.stored() if store else None, streamed.total if fused else None
            own = streamed.scores if streamed.scores is not None else np.empty(self._validation.shape, np.float32)
            return _Trained(streamed.functions, streamed.losses, updates, own, summed)
        draws = trainer.draw(rng)
        seconds["draw"] = clock.lap()
        functions, update, summed = trainer.train(state.table, state.functions, draws, scale=scale, limit=limit)
        seconds["train"] = clock.lap()
        own = trainer.score_own(state.table, functions, update, self._validation)
        return _Trained(functions, update.losses, update, own, summed)

    def _store(self) -> UpdateStore:
        return UpdateStore(self._folder, self.trainer.train_set.n_users, self.trainer.model.dim)

    def replay(self, kept: Kept) -> tuple[ScoreFunctions, StoredUpdates]:
        """Every device's score function and change of the items in the kept round, trained once more from the same
        draws. No change before the first round.
        """
        store, trainer = self._store(), self.trainer
        if kept.round_number == 0:
            return kept.functions_before, store.stored()
        rng = self._rng(kept.round_number)
        if isinstance(trainer, StreamingTrainer):
            functions = trainer.stream(kept.broadcast, kept.functions_before, rng, keep=store).functions
        else:
            functions, update, _ = trainer.train(kept.broadcast, kept.functions_before, trainer.draw(rng))
            store(0, update)
        return functions, store.stored()

    def _validate(self, table: Table, trained: _Trained) -> dict[str, dict[str, float]]:
        scores = {"own": trained.own, "server": self.trainer.score(table, trained.functions, self._validation)}
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
