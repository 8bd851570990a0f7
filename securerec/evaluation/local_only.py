"""The local-only baseline: every device trains the same learner on its own, with an item table of its own, and no
server.
"""

import numpy as np
from numpy.typing import NDArray

from securerec.data.interactions import Interactions
from securerec.evaluation.protocols import Scorer
from securerec.models.pfedrec import PFedRec, ScoreFunctions
from securerec.training.cohort import CohortTrainer


def local_only_scorer(
    train: Interactions, never_negative: Interactions, model: PFedRec, *, rounds: int, rng: np.random.Generator
) -> Scorer:
    """Train each user alone for `rounds` rounds from one common start; score by its own table.

    `never_negative` says which items are not drawn as negatives: the published rule leaks the held-out item through
    it, and a learner that shares nothing shows how much.
    """
    start = model.initial_table(train.n_items, rng)
    functions = model.initial_functions(1, rng)
    seeds = rng.integers(0, 2**64, (train.n_users, rounds), dtype=np.uint64)
    scores = np.empty((train.n_users, train.n_items), np.float32)
    for user in range(train.n_users):
        scores[user] = _train_alone(
            CohortTrainer(model, _only(train, user), _only(never_negative, user), threads=1),
            start,
            functions,
            seeds[user],
        )
    return lambda users: scores[users]


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
