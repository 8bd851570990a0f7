"""Interaction-level DP-SGD for a whole cohort, with the surface of `securerec.training.cohort.CohortTrainer`.

PFedRec's round, made private for one interaction. Its two stages (the score function steps first, the item rows follow
by the new one) become one joint step from the same gradients, each part with its learning rate. The second stage as
published would look at the same examples once more, under a score function that has just moved: another release, which
doubles what a step costs (rho adds up), for a difference of second order in `score_lr`. The order survives between
steps: each step's item gradients lie along the score function that the step before left behind.

Everything that follows from the examples is in the noised sums, the score function too. So not only the uploads but
each device's whole state is covered by the same epsilon, and a round may start from it without more being spent.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, field

import numpy as np
from numpy.typing import NDArray

from securerec.data.interactions import Interactions
from securerec.errors import RunError
from securerec.models.head import Heads
from securerec.models.pfedrec import PFedRec, ScoreFunctions
from securerec.privacy.randomness import KeyStream, NoiseKey
from securerec.training.cohort import CohortTrainer, CohortUpdate, IntegerSum, Table
from securerec.training.draws import block_runner
from securerec.training.interaction import kernels
from securerec.training.interaction.examples import coin_limit, distinct, draw_words
from securerec.training.interaction.settings import InteractionSettings


@dataclass(frozen=True, slots=True)
class RoundDraws:
    """What tells one round's randomness from another's. The randomness itself grows from the devices' noise keys."""

    nonce: int


@dataclass(frozen=True, slots=True, eq=False)
class TrainedInteractions:
    """One client after a round: `weights` (dim,), `bias`, the change of its view of all items `delta` (n_items, dim),
    all float32; how many examples were taken, and their binary cross-entropy together, nats.
    """

    weights: NDArray[np.float32] = field(repr=False)
    bias: np.float32
    delta: NDArray[np.float32] = field(repr=False)
    taken: int
    loss: float


def train_client(
    items: NDArray[np.int32],
    table: Table,
    weights: NDArray[np.float32],
    bias: float,
    negatives: int,
    settings: InteractionSettings,
    stream: KeyStream,
) -> TrainedInteractions:
    """One client's round. items: (n,) distinct; table: (n_items, dim) as broadcast; weights: (dim,).

    The stream must serve this client, this round and this input only. `device.train_client` is the same through opacus.
    """
    n_items, dim = table.shape
    local, w, b = table.astype(np.float64), weights.astype(np.float64), float(bias)
    limit, noise = coin_limit(settings.sample_rate), settings.noise
    taken, loss = 0, 0.0
    for _ in range(settings.steps):
        total = np.zeros(dim + 1 + n_items, np.int64)
        count, cost = kernels.sum_clipped(
            items, draw_words(stream, n_items, negatives), limit, local, w, b,
            settings.clip_norm, settings.clip_units, total,
        )  # fmt: skip
        taken, loss = taken + count, loss + cost
        noised = total + noise.sample(stream, len(total))
        b = kernels.descend(noised, settings.unit, settings.score_lr, settings.item_lr, local, w, b)
    with np.errstate(over="ignore", invalid="ignore"):
        delta = (local - table).astype(np.float32)
        return TrainedInteractions(w.astype(np.float32), np.float32(b), delta, taken, loss)


class InteractionTrainer:
    """Trains every client of a data set by DP-SGD, one round a call.

    Holds every client's change of every item row, n_users * n_items * dim float32. Where the run begins must not
    follow from users' interactions unless that was paid for: the model's initial values, no warm start, no heads.
    """

    def __init__(
        self,
        model: PFedRec,
        train: Interactions,
        settings: InteractionSettings,
        noise_key: NoiseKey,
        *,
        threads: int | None = None,
    ) -> None:
        """noise_key: from the operating system where it is to protect anybody, from a seed in experiments. Coins and
        negatives grow from it too: whoever can tell which examples were taken takes the sampling's share of privacy
        away.

        Of `model` count dim, negatives and the initial values; learning rates are the settings'.
        """
        self.model, self.settings = model, settings
        self.train_set = distinct(train)
        nobody = Interactions(np.zeros_like(train.offsets), np.empty(0, np.int32), train.n_items)
        self._scoring = CohortTrainer(model, self.train_set, nobody, threads=threads)
        self.threads = self._scoring.threads
        executor = ThreadPoolExecutor(self.threads) if self.threads > 1 else None
        # Noise on every row dominates, so each client is the same work, whatever it has.
        each = np.ones(train.n_users, np.int64)
        self.run_blocks = block_runner(each, executor, self.threads)
        self._noise_key = noise_key
        self._starts = np.arange(train.n_users, dtype=np.int64) * train.n_items
        self._rows = np.tile(np.arange(train.n_items, dtype=np.int32), train.n_users)
        self._delta = np.empty((train.n_users * train.n_items, model.dim), np.float32)

    @property
    def heads(self) -> Heads:
        """None: a head fitted on the device follows from all its interactions without noise, and would put them into
        every gradient.
        """
        return self._scoring.heads

    def draw(self, rng: np.random.Generator) -> RoundDraws:
        """The round's own randomness; `rng` as made from the run's seed and the round. Only needs to differ between
        rounds.
        """
        return RoundDraws(int(rng.integers(0, 2**63)))

    def train(
        self, table: Table, functions: ScoreFunctions, draws: RoundDraws, *, scale: float = 0.0, limit: int = 0
    ) -> tuple[ScoreFunctions, CohortUpdate, IntegerSum | None]:
        """One round for everybody, as `CohortTrainer.train`; every client changes every item row.

        The losses are before noise, of taken examples (0 without any): figures of a simulation that must not leave a
        device. Raises RunError when a client's training diverges.
        """
        n_clients, n_items = self.train_set.n_users, self.train_set.n_items
        new = ScoreFunctions(functions.weights.copy(), functions.biases.copy())
        losses = np.zeros(n_clients, np.float64)
        sums = np.zeros((self.threads if scale else 1, *(table.shape if scale else (1, 1))), np.int64)
        saturated = np.zeros(self.threads, np.int64)
        public = self._public_label(table)

        def block(worker: int, first: int, last: int) -> None:
            for client in range(first, last):
                items = self.train_set.of(client)
                label = _label(public, items, functions.weights[client], functions.biases[client])
                stream = self._noise_key.stream(label, draws.nonce, client)
                trained = train_client(
                    items, table, functions.weights[client], functions.biases[client], self.model.negatives,
                    self.settings, stream,
                )  # fmt: skip
                new.weights[client], new.biases[client] = trained.weights, trained.bias
                self._delta[client * n_items : (client + 1) * n_items] = trained.delta
                losses[client] = trained.loss / max(1, trained.taken * (1 + self.model.negatives))
                if not (np.isfinite(trained.delta).all() and np.isfinite(trained.weights).all()):
                    losses[client] = np.nan
                elif scale:
                    saturated[worker] += kernels.add_rounded(trained.delta, float(scale), float(limit), sums[worker])

        self.run_blocks(block)
        diverged = np.flatnonzero(~np.isfinite(losses))
        if diverged.size:
            raise RunError(
                f"local training of {diverged.size} of {n_clients} clients left the finite numbers (first: client "
                f"{diverged[0]}): lower score_lr or item_lr"
            )
        update = CohortUpdate(
            self._starts, np.full(n_clients, n_items, np.int64), self._rows, self._delta, losses, new
        )  # fmt: skip
        return new, update, IntegerSum(sums.sum(axis=0), int(saturated.sum())) if scale else None

    def untrained(self, functions: ScoreFunctions) -> CohortUpdate:
        """Nobody has changed anything."""
        return self._scoring.untrained(functions)

    def score(self, table: Table, functions: ScoreFunctions, candidates: NDArray[np.int32]) -> NDArray[np.float32]:
        """As `CohortTrainer.score`."""
        return self._scoring.score(table, functions, candidates)

    def score_own(
        self, table: Table, functions: ScoreFunctions, update: CohortUpdate, candidates: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """As `CohortTrainer.score_own`."""
        return self._scoring.score_own(table, functions, update, candidates)

    def _public_label(self, table: Table) -> bytes:
        settings = repr((*astuple(self.settings), self.model.negatives, table.shape)).encode()
        return hashlib.sha256(settings + table.tobytes()).digest()


def _label(
    public: bytes, items: NDArray[np.int32], weights: NDArray[np.float32], bias: np.floating | float
) -> str:  # fmt: skip
    """Names a client's randomness by all that its round follows from.

    The same input twice gives the same bits, so a retry tells nothing new; any other input (another table for the same
    round, one interaction more) gets independent noise, never the same noise on another gradient.
    """
    state = hashlib.sha256(public)
    for part in (items, weights, np.float32(bias)):
        state.update(part.tobytes())
    return f"interaction sgd {state.hexdigest()}"
