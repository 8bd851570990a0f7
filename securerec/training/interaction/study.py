"""What interaction-level DP-SGD reaches on a data set, beside popularity and PFedRec without privacy.

Held-out items are ranked against sampled ones under the clean rule, with the server's table and each device's score
function. Sums are the integers that a secure sum would open. Noise grows from seeds: figures, not protection.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securerec.data.dataset import Dataset
from securerec.data.splits import Candidates, Split, draw_candidates, leave_one_out
from securerec.evaluation import ranking
from securerec.evaluation.baselines import popularity_scorer
from securerec.evaluation.protocols import Ranks, sampled_ranks
from securerec.models.pfedrec import PFedRec, ScoreFunctions
from securerec.privacy.accounting import interaction_epsilon
from securerec.privacy.accounting.accountants import DEFAULT
from securerec.privacy.randomness import NoiseKey
from securerec.training.cohort import CohortTrainer, Table
from securerec.training.interaction.plans import InteractionPlan, plan_for
from securerec.training.interaction.trainer import InteractionTrainer

FRACTION_BITS = 10
VALUE_BOUND = 1 << 21
"""A coordinate travels in steps of 2^-10, within +-2048, as any upload without user-level noise."""


@dataclass(frozen=True, slots=True)
class InteractionFigure:
    """One method's means over users and then seeds, and the standard deviation over seeds (0 of one).

    interaction_epsilon: as counted from the run's events, infinite without privacy. The user-level epsilon of all of
    these is infinite.
    """

    method: str
    interaction_epsilon: float
    rounds: int
    noise_multiplier: float
    hit_rate: float
    hit_rate_deviation: float
    ndcg: float
    ndcg_deviation: float


def study_interactions(
    dataset: Dataset,
    *,
    epsilons: Sequence[float] = (8.0, 4.0, 2.0, 1.0),
    seeds: Sequence[int] = (0, 1, 2),
    delta: float = 1e-5,
    held_out: str = "test",
    plan: InteractionPlan | None = None,
    without_privacy_rounds: int = 100,
    accountant: str = DEFAULT,
) -> Iterator[InteractionFigure]:
    """Popularity, PFedRec without privacy, then DP-SGD for each epsilon by its plan (or by the one given).

    held_out: "test" or "validation". Figures are HR@10 and NDCG@10, one after the other as they are found.
    """
    split = leave_one_out(dataset.interactions)
    lists = draw_candidates(dataset.interactions, split, np.random.default_rng(0))
    wanted = lists.test if held_out == "test" else lists.validation
    popularity = sampled_ranks(popularity_scorer(split.train), wanted)
    yield _figure("popularity", math.inf, 0, 0.0, [popularity])
    if without_privacy_rounds:
        ranks = [_without_privacy(split, lists, wanted, without_privacy_rounds, seed) for seed in seeds]
        yield _figure("PFedRec without privacy", math.inf, without_privacy_rounds, 0.0, ranks)
    for epsilon in epsilons:
        used = plan or plan_for(epsilon)
        settings = used.settings(epsilon=epsilon, delta=delta, accountant=accountant)
        events = [settings.event(f"round {number}", noise_source="seed") for number in range(used.rounds)]
        spent = interaction_epsilon(events, delta=delta, accountant=accountant).epsilon
        ranks = []
        for seed in seeds:
            trainer = InteractionTrainer(used.model(), split.train, settings, NoiseKey.from_seed(seed))
            table, functions = _rounds(trainer, used.rounds, seed)[-1]
            ranks.append(_ranks(trainer.score(table, functions, wanted), wanted))
        yield _figure("DP-SGD on the device", spent, used.rounds, settings.exact_multiplier, ranks)


def _without_privacy(
    split: Split, lists: Candidates, wanted: NDArray[np.int32], rounds: int, seed: int
) -> Ranks:  # fmt: skip
    """The round that is best on validation."""
    trainer = CohortTrainer(PFedRec(), split.train, split.train)

    def ranks(state: tuple[Table, ScoreFunctions], candidates: NDArray[np.int32]) -> Ranks:
        table, functions = state
        return _ranks(trainer.score(table, functions, candidates), candidates)

    best = max(_rounds(trainer, rounds, seed), key=lambda state: ranks(state, lists.validation).metrics([10])["hr@10"])
    return ranks(best, wanted)


def _rounds(
    trainer: CohortTrainer | InteractionTrainer, rounds: int, seed: int
) -> list[tuple[Table, ScoreFunctions]]:  # fmt: skip
    """Every round's end: the server's table and the devices' score functions."""
    initial, draws = (np.random.default_rng([seed, part]) for part in range(2))
    model, n_users, n_items = trainer.model, trainer.train_set.n_users, trainer.train_set.n_items
    table, functions = model.initial_table(n_items, initial), model.initial_functions(n_users, initial)
    states = []
    scale = math.ldexp(1.0, FRACTION_BITS)
    for _ in range(rounds):
        # mypy sees no pairing of a trainer with its own draws
        functions, _, summed = trainer.train(table, functions, trainer.draw(draws), scale=scale, limit=VALUE_BOUND)  # type: ignore[arg-type]
        assert summed is not None
        table = (table + summed.total / (scale * n_users)).astype(np.float32)
        states.append((table, functions))
    return states


def _ranks(logits: NDArray[np.float32], wanted: NDArray[np.int32]) -> Ranks:
    users = np.flatnonzero(wanted[:, 0] >= 0)
    return Ranks(users, *ranking.better_and_tied(logits[users], wanted[users] >= 0))


def _figure(method: str, epsilon: float, rounds: int, noise: float, ranks: list[Ranks]) -> InteractionFigure:
    found = [rank.metrics([10]) for rank in ranks]
    hit_rates, ndcgs = np.array([m["hr@10"] for m in found]), np.array([m["ndcg@10"] for m in found])
    spread = [float(values.std(ddof=1)) if len(values) > 1 else 0.0 for values in (hit_rates, ndcgs)]
    return InteractionFigure(
        method, epsilon, rounds, noise, float(hit_rates.mean()), spread[0], float(ndcgs.mean()), spread[1]
    )
