"""One federated round without privacy, timed: the cohort trainer against a plain loop of torch clients, and the batched
torch trainer.
"""

import statistics
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.data.splits import Candidates, draw_candidates, leave_one_out
from securerec.evaluation import ranking
from securerec.federation.promise import CLEAR_FRACTION_BITS, CLEAR_VALUE_BOUND
from securerec.machine import Device, cuda_device
from securerec.models.pfedrec import PFedRec
from securerec.training.cohort import CohortTrainer
from securerec.training.reference import train_client
from securerec.training.torch_cohort import TorchTrainer
from securerec.training.trainers import Trainer

PHASES = ("draw", "train", "aggregate", "evaluate")


@dataclass(frozen=True, slots=True)
class TrainingSpeed:
    """Median seconds of a whole round, and of its phases, for both; `speedup` is the ratio of the two.

    The torch loop runs on one thread, the cohort trainer on `threads`, and for comparison on one. streamed_s: the
    cohort trainer where nobody's changes are kept. Without a round of the torch loop its figures are None. batched_s:
    the batched torch trainer on `batched_on`, None where it was not asked for.
    """

    reference_s: float | None
    cohort_s: float
    cohort_one_thread_s: float
    streamed_s: float
    streamed_one_thread_s: float
    speedup: float | None
    reference_phases: dict[str, float] | None
    cohort_phases: dict[str, float]
    threads: int
    batched_s: float | None = None
    batched_phases: dict[str, float] | None = None
    batched_on: str | None = None


def measure_training(
    dataset: Dataset, *, cohort_rounds: int, reference_rounds: int, threads: int | None = None,
    batched_on: Device | None = None,
) -> TrainingSpeed:  # fmt: skip
    """Draw, train, aggregate and evaluate with the paper's settings, both sides in turn on the same machine.

    Both evaluate each client's own view on its validation and test candidates, as the paper's code does every round.
    Aggregation is fused into training on the cohort's side. A streamed round evaluates validation twice instead, by the
    own view and by the server's new table. batched_on: what to time the batched torch trainer on, for as many rounds as
    the cohort trainer. Raises ConfigError for cuda where there is none.
    """
    model, split = PFedRec(), leave_one_out(dataset.interactions)
    candidates = draw_candidates(dataset.interactions, split, np.random.default_rng(0))
    trainer = CohortTrainer(model, split.train, dataset.interactions, threads=threads)
    alone = CohortTrainer(model, split.train, dataset.interactions, threads=1)
    batched = _batched_rounds(model, split.train, dataset, candidates, batched_on, cohort_rounds, threads)
    for played in (_cohort_round, _streamed_round):
        played(trainer, candidates, 0)
    cohort = [_cohort_round(trainer, candidates, seed) for seed in range(cohort_rounds)]
    streamed = [_streamed_round(trainer, candidates, seed) for seed in range(cohort_rounds)]
    one_thread = [_cohort_round(alone, candidates, seed) for seed in range(cohort_rounds)]
    streamed_alone = [_streamed_round(alone, candidates, seed) for seed in range(cohort_rounds)]
    torch_threads = torch.get_num_threads()
    # torch gains nothing from more threads on batches this small, and two fight over a loaded machine's cores.
    torch.set_num_threads(1)
    try:
        reference = [_reference_round(trainer, dataset, candidates, seed) for seed in range(reference_rounds)]
    finally:
        torch.set_num_threads(torch_threads)
    reference_s = _median_round(reference) if reference else None
    cohort_s = _median_round(cohort)
    return TrainingSpeed(
        reference_s,
        cohort_s,
        _median_round(one_thread),
        statistics.median(streamed),
        statistics.median(streamed_alone),
        reference_s / cohort_s if reference_s is not None else None,
        _medians(reference) if reference else None,
        _medians(cohort),
        trainer.threads,
        _median_round(batched) if batched else None,
        _medians(batched) if batched else None,
        batched_on,
    )


def _batched_rounds(
    model: PFedRec, train: Interactions, dataset: Dataset, candidates: Candidates, on: Device | None, rounds: int,
    threads: int | None,
) -> list[dict[str, float]]:  # fmt: skip
    """Phases of each round of the batched torch trainer, after one that is not counted."""
    if on is None:
        return []
    device = cuda_device() if on == "cuda" else torch.device("cpu")
    trainer = TorchTrainer(model, train, dataset.interactions, device, threads=threads)
    return [_cohort_round(trainer, candidates, seed) for seed in (0, *range(rounds))][1:]


def _median_round(rounds: list[dict[str, float]]) -> float:
    return statistics.median(sum(phases.values()) for phases in rounds)


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {phase: statistics.median(r[phase] for r in rounds) for phase in PHASES}


def _cohort_round(trainer: Trainer, candidates: Candidates, seed: int) -> dict[str, float]:
    rng, n_items = np.random.default_rng(seed), trainer.train_set.n_items
    table = trainer.model.initial_table(n_items, rng)
    functions = trainer.model.initial_functions(trainer.train_set.n_users, rng)
    scale = 2.0**CLEAR_FRACTION_BITS
    times = [time.perf_counter()]
    draws = trainer.draw(rng)
    times.append(time.perf_counter())
    functions, update, total = trainer.train(table, functions, draws, scale=scale, limit=CLEAR_VALUE_BOUND)
    times.append(time.perf_counter())
    assert total is not None
    new = (table + total.total / (scale * trainer.train_set.n_users)).astype(np.float32)
    times.append(time.perf_counter())
    for held_out in (candidates.validation, candidates.test):
        _hit_rate(trainer.score_own(table, functions, update, held_out), held_out)
    times.append(time.perf_counter())
    assert new.shape == table.shape
    return dict(zip(PHASES, np.diff(times).tolist(), strict=True))


def _streamed_round(trainer: CohortTrainer, candidates: Candidates, seed: int) -> float:
    rng, n_items = np.random.default_rng(seed), trainer.train_set.n_items
    table = trainer.model.initial_table(n_items, rng)
    functions = trainer.model.initial_functions(trainer.train_set.n_users, rng)
    scale, held_out = 2.0**CLEAR_FRACTION_BITS, candidates.validation
    start = time.perf_counter()
    streamed = trainer.stream(table, functions, rng, scale=scale, limit=CLEAR_VALUE_BOUND, candidates=held_out)
    new = (table + streamed.total.total / (scale * trainer.train_set.n_users)).astype(np.float32)
    assert streamed.scores is not None
    for logits in (streamed.scores, trainer.score(new, streamed.functions, held_out)):
        _hit_rate(logits, held_out)
    return time.perf_counter() - start


def _reference_round(trainer: CohortTrainer, dataset: Dataset, candidates: Candidates, seed: int) -> dict[str, float]:
    rng, model, train = np.random.default_rng(seed), trainer.model, trainer.train_set
    table = model.initial_table(train.n_items, rng)
    functions = model.initial_functions(train.n_users, rng)
    samples, clients = [], []
    times = [time.perf_counter()]
    for user in range(train.n_users):
        free = np.setdiff1d(np.arange(train.n_items, dtype=np.int32), dataset.interactions.of(user))
        negatives = [rng.choice(free, model.negatives, replace=False) for _ in train.of(user)]
        items = np.concatenate([train.of(user), *negatives])
        labels = (np.arange(len(items)) < len(train.of(user))).astype(np.int32)
        order = rng.permutation(len(items))
        samples.append((items[order], labels[order]))
    times.append(time.perf_counter())
    for user, (items, labels) in enumerate(samples):
        clients.append(train_client(model, table, functions.weights[user], functions.biases[user], items, labels))
    times.append(time.perf_counter())
    new = np.mean([client.table for client in clients], axis=0)
    times.append(time.perf_counter())
    for held_out in (candidates.validation, candidates.test):
        logits = [
            client.table[np.maximum(wanted, 0)] @ client.weights + client.bias
            for client, wanted in zip(clients, held_out, strict=True)
        ]
        _hit_rate(np.stack(logits), held_out)
    times.append(time.perf_counter())
    assert new.shape == table.shape
    return dict(zip(PHASES, np.diff(times).tolist(), strict=True))


def _hit_rate(logits: NDArray[np.float32], candidates: NDArray[np.int32]) -> float:
    known = candidates[:, 0] >= 0
    return ranking.hit_rate(*ranking.better_and_tied(logits[known], candidates[known] >= 0), k=10)
