"""What each scorer costs a device: bytes of an upload, milliseconds of a local round and of a recommendation."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

import protocols
from securerec.config import make_config
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.data.splits import leave_one_out
from securerec.federation.promise import make_promises, planned
from securerec.models.pfedrec import PFedRec
from securerec.models.scorers import Learner
from securerec.scorer_plan import Model
from securerec.training.trainers import trainer_of

SCORERS: tuple[tuple[Model, bool], ...] = tuple(
    (model, dual) for model in get_args(Model) if model != "auto" for dual in (False, True)
)
DEVICES = 40
"""Devices that are timed, spread evenly over the data set's by how many interactions they have."""
REPEATS = 5
FEW = 8
"""Clients that play a round to measure its messages, whose size follows from the whole cohort that it is made for."""
BEST = 10
"""Items of a recommendation."""


@dataclass(frozen=True, slots=True)
class ScorerCost:
    """Of one device. shared_parameters: of the shared matrix; private_parameters: of its score function.
    upload_bytes: all its messages of a round under `protocol`; float32_bytes: the same vector in the clear.
    round_ms: draw and train a round, the mean over devices; recommend_ms: score the catalogue and pick the best.
    """

    model: str
    dual: bool
    dim: int
    shared_parameters: int
    private_parameters: int
    protocol: str
    upload_bytes: int
    float32_bytes: int
    round_ms: float
    recommend_ms: float


def measure_scorers(dataset: Dataset, *, dim: int, step: Callable[[str], None]) -> list[ScorerCost]:
    """Every scorer, with item rows of `dim` numbers and the settings of a run with the defaults' privacy.

    step: told what is measured next. One thread.
    """
    costs = []
    for model, dual in SCORERS:
        step(f"{model}{', dual personalisation' if dual else ''}")
        costs.append(_measure(dataset, model, dual, dim))
    return costs


def _measure(dataset: Dataset, model: Model, dual: bool, dim: int) -> ScorerCost:
    n_users, n_items = dataset.interactions.n_users, dataset.interactions.n_items
    config = make_config({"training": {"model": model, "dual": dual, "dim": dim}}).resolved(n_users, n_items)
    promise = make_promises(config.privacy, planned(config, n_items), cohort=n_users, noise_source="os")["round"]
    learner, protocol = config.training.learner(), config.protocol.protocol
    length = promise.quantiser.dimension
    round_ms, recommend_ms = _times(learner, leave_one_out(dataset.interactions).train)
    return ScorerCost(
        model, dual, dim, length, learner.private_width + (isinstance(learner, PFedRec) and learner.bias), protocol,
        _sent(protocol, promise.spec(n_users)), 4 * length, round_ms, recommend_ms,
    )  # fmt: skip


def _sent(protocol: str, spec: protocols.SumSpec) -> int:
    """Bytes of all that one client sends in a round, the largest."""
    few = min(FEW, spec.max_clients)
    enrolled = protocols.enrol(protocol, replace(spec, min_clients=few), run_id=b"scorer costs", client_ids=range(few))
    parties = protocols.LocalParties(enrolled)
    parties.values = dict.fromkeys(range(few), np.zeros(spec.length, np.int64))
    sent = dict.fromkeys(range(few), 0)

    def deliver(to: protocols.Address, message: bytes) -> bytes | None:
        answer = parties(to, message)
        if to.role == "client" and answer is not None:
            sent[to.number] += len(answer)
        return answer

    protocols.conduct(enrolled.server().open_round(1, context=bytes(32), min_survivors=few), deliver)
    return max(sent.values())


def _times(learner: Learner, train: Interactions) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    table = learner.initial_table(train.n_items, rng)
    functions = learner.initial_functions(1, rng)
    rounds, recommendations = [], []
    by_length = np.argsort(train.counts(), kind="stable")
    by_length = by_length[train.counts()[by_length] > 0]
    places = np.linspace(0, len(by_length) - 1, min(DEVICES, len(by_length))).astype(np.int64)
    for user in by_length[places].tolist():
        own = Interactions.from_lists([train.of(user).tolist()], train.n_items)
        device = trainer_of(learner, own, own, threads=1)
        training, scoring = [], []
        # the first turn compiles, and brings what the others find in the cache
        for turn in range(1 + REPEATS):
            started = time.perf_counter()
            after, update, _ = device.train(table, functions, device.draw(np.random.default_rng(turn)))
            trained = time.perf_counter()
            if learner.dual:
                logits = learner.own_logits(table, after, [update.of(0)])[0]
            else:
                logits = learner.logits(table, after)[0]
            best = np.argpartition(-logits, min(BEST, len(logits) - 1))[:BEST]
            best[np.argsort(-logits[best])]
            training.append(trained - started)
            scoring.append(time.perf_counter() - trained)
        rounds.append(statistics.median(training[1:]))
        recommendations.append(statistics.median(scoring[1:]))
    return 1e3 * statistics.fmean(rounds), 1e3 * statistics.fmean(recommendations)
