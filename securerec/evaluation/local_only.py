"""The local-only baseline: every device trains the same learner on its own, with an item table of its own, and no
server.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from securerec.data.interactions import Interactions
from securerec.evaluation.protocols import Scorer
from securerec.models.pfedrec import PFedRec, ScoreFunctions
from securerec.training.cohort import CohortTrainer

SCORES_AT_ONCE = 1 << 22
"""Cells of some users' scores, 16 MiB."""


def local_only_scorer(
    train: Interactions, never_negative: Interactions, model: PFedRec, *, rounds: int, rng: np.random.Generator
) -> Scorer:
    """Scores by what each user trained alone, all of them held: n_users * n_items float32; see `local_only_scores`."""
    parts = local_only_scores(train, never_negative, model, rounds=rounds, rng=rng)
    scores = np.concatenate([scores for _, scores in parts])
    return lambda users: scores[users]


def local_only_scores(
    train: Interactions, never_negative: Interactions, model: PFedRec, *, rounds: int, rng: np.random.Generator,
    cells: int = SCORES_AT_ONCE,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:  # fmt: skip
    """Train each user alone for `rounds` rounds from one common start; score by its own table. Gives some consecutive
    users at a time, and their logits (m, n_items), about `cells` together.

    `never_negative` says which items are not drawn as negatives: the published rule leaks the held-out item through
    it, and a learner that shares nothing shows how much.
    """
    start = model.initial_table(train.n_items, rng)
    functions = model.initial_functions(1, rng)
    seeds = rng.integers(0, 2**64, (train.n_users, rounds), dtype=np.uint64)
    at_once = max(1, cells // train.n_items)
    for first in range(0, train.n_users, at_once):
        users = np.arange(first, min(first + at_once, train.n_users))
        scores = np.empty((len(users), train.n_items), np.float32)
        for place, user in enumerate(users.tolist()):
            device = CohortTrainer(model, _only(train, user), _only(never_negative, user), threads=1)
            scores[place] = _train_alone(device, start, functions, seeds[user])
        yield users, scores


def _train_alone(
    device: CohortTrainer, start: NDArray[np.float32], functions: ScoreFunctions, seeds: NDArray[np.uint64]
) -> NDArray[np.float32]:
    """Logits (n_items,) of one device after a round for each seed."""
    table = start.copy()
    for seed in seeds:
        draws = device.sampler.draw(np.array([seed]), device.run_blocks)
        functions, update, _ = device.train(table, functions, draws)
        rows, delta = update.of(0)
        table[rows] += delta
    return np.asarray(table @ functions.weights[0] + functions.biases[0], np.float32)


def _only(interactions: Interactions, user: int) -> Interactions:
    items = interactions.of(user)
    return Interactions(np.array([0, len(items)], np.int64), items, interactions.n_items)
