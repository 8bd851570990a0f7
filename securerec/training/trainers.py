"""Which trainer trains which learner."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from securerec.data.interactions import Interactions
from securerec.machine import Device, cuda_device
from securerec.models.fedncf import FedNCF
from securerec.models.fedrecon import FedRecon
from securerec.models.head import Heads
from securerec.models.pfedrec import PFedRec
from securerec.models.scorers import Learner, ScoreFunctions
from securerec.training.cohort import CohortTrainer, CohortUpdate, IntegerSum, Table
from securerec.training.network_cohort import NetworkTrainer
from securerec.training.reconstruction import ReconstructionTrainer
from securerec.training.row_trainer import Keep, StreamedRound


class Trainer(Protocol):
    """Trains every client of a data set, one round a call. What `draw` returns is the trainer's own matter."""

    @property
    def train_set(self) -> Interactions: ...

    @property
    def model(self) -> Learner: ...

    @property
    def heads(self) -> Heads:
        """What is added to every score and not trained."""
        ...

    def draw(self, rng: np.random.Generator) -> Any:
        """A round's samples; `rng` as made from the run's seed and the round."""
        ...

    def train(
        self, table: Table, functions: ScoreFunctions, draws: Any, *, scale: float = 0.0, limit: int = 0
    ) -> tuple[ScoreFunctions, CohortUpdate, IntegerSum | None]:
        """One round for everybody from the shared matrix; see `CohortTrainer.train`."""
        ...

    def untrained(self, functions: ScoreFunctions) -> CohortUpdate:
        """Nobody has changed anything."""
        ...

    def score(self, table: Table, functions: ScoreFunctions, candidates: NDArray[np.int32]) -> NDArray[np.float32]:
        """Logits (n_users, n_candidates) of each user's candidates under one shared matrix."""
        ...

    def score_own(
        self, table: Table, functions: ScoreFunctions, update: CohortUpdate, candidates: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """Logits (n_users, n_candidates) under each user's own view."""
        ...


@runtime_checkable
class StreamingTrainer(Trainer, Protocol):
    """One that need not keep everybody's changes."""

    def stream(
        self, table: Table, functions: ScoreFunctions, rng: np.random.Generator, *, scale: float = 0.0, limit: int = 0,
        candidates: NDArray[np.int32] | None = None, into: ScoreFunctions | None = None, keep: Keep | None = None,
    ) -> StreamedRound:  # fmt: skip
        """`draw`, `train` and, for `candidates`, `score_own` in one pass; see `RowTrainer.stream`."""
        ...


def trainer_of(
    learner: Learner, train: Interactions, never_negative: Interactions, *, heads: Heads | None = None,
    threads: int | None = None, device: Device = "cpu",
) -> Trainer:  # fmt: skip
    """The trainer of a learner. `never_negative`: for each user the items that may not be drawn as its negatives.

    heads: only for PFedRec's linear scores. device: cpu for the compiled loops, cuda for torch on the GPU; results
    agree within rounding of float32. Raises ValueError for a learner that nobody trains, ConfigError where cuda is
    asked for and there is none.
    """
    if device == "cuda":
        from securerec.training.torch_cohort import TorchTrainer

        return TorchTrainer(learner, train, never_negative, cuda_device(), heads=heads, threads=threads)
    match learner:
        case PFedRec():
            return CohortTrainer(learner, train, never_negative, heads=heads, threads=threads)
        case FedNCF():
            return NetworkTrainer(learner, train, never_negative, threads=threads)
        case FedRecon():
            return ReconstructionTrainer(learner, train, never_negative, threads=threads)
    raise ValueError(f"there is no trainer for {learner}")
