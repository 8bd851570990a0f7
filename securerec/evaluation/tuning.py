"""Baselines whose few settings are chosen on the validation lists, so that every method in a table had that chance.

What is chosen here looks at everybody's validation item in one place, and no accountant counts it. That is fair for a
reference without privacy, and part of what a table of references has to say.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from securerec.data.interactions import Interactions
from securerec.data.splits import Candidates
from securerec.evaluation.baselines import ials_scorer
from securerec.evaluation.ease import ease_scorer, ease_weights
from securerec.evaluation.protocols import Scorer, sampled_ranks

EASE_REGS = (400.0, 800.0, 1500.0, 3000.0, 6000.0)
EASE_EXPONENTS = (0.4, 0.6, 0.8, 1.0)
IALS_DIMS = (32, 64)
IALS_ALPHAS = (2.0, 5.0)
IALS_REGS = (5.0, 20.0)
_K = 10


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The scorer that did best on the validation lists.

    settings: what it was fitted with. validation: its {"hr@10":, "ndcg@10":} there. tried: how many were compared.
    """

    scorer: Scorer
    settings: Mapping[str, float]
    validation: Mapping[str, float]
    tried: int


def best_on_validation(fitted: Iterable[tuple[Mapping[str, float], Scorer]], candidates: Candidates) -> Chosen:
    """The scorer with the highest HR@10 + NDCG@10 / 2 on the validation lists, the first of equals.

    `fitted` gives (settings, scorer), one at a time; at most two of them are held. Raises ValueError for none, and for
    candidates without a held-out item.
    """
    best: Chosen | None = None
    tried = 0
    for settings, scorer in fitted:
        tried += 1
        figures = sampled_ranks(scorer, candidates.validation).metrics([_K])
        if best is None or _goal(figures) > _goal(best.validation):
            best = Chosen(scorer, dict(settings), figures, tried)
    if best is None:
        raise ValueError("nothing to choose from: give at least one setting")
    return Chosen(best.scorer, best.settings, best.validation, tried)


def ease_on_validation(
    train: Interactions,
    candidates: Candidates,
    *,
    recency: bool,
    regs: tuple[float, ...] = EASE_REGS,
    exponents: tuple[float, ...] = EASE_EXPONENTS,
) -> Chosen:
    """EASE with the best `reg`, and with `recency` the best exponent too (without: exponent 0).

    One inverse for each of `regs`. Settings are {"reg":, "exponent":}.
    """

    def fitted() -> Iterable[tuple[Mapping[str, float], Scorer]]:
        for reg in regs:
            weights = ease_weights(train, reg=reg)
            for exponent in exponents if recency else (0.0,):
                yield {"reg": reg, "exponent": exponent}, ease_scorer(weights, train, exponent=exponent)

    return best_on_validation(fitted(), candidates)


def ials_on_validation(
    train: Interactions,
    candidates: Candidates,
    *,
    rng: np.random.Generator,
    dims: tuple[int, ...] = IALS_DIMS,
    alphas: tuple[float, ...] = IALS_ALPHAS,
    regs: tuple[float, ...] = IALS_REGS,
    iterations: int = 15,
) -> Chosen:
    """iALS with the best dimension, weight and penalty, every one from the same start. Settings are {"dim":, "alpha":,
    "reg":}."""
    seed = int(rng.integers(2**63))

    def fitted() -> Iterable[tuple[Mapping[str, float], Scorer]]:
        for dim in dims:
            for alpha in alphas:
                for reg in regs:
                    start = np.random.default_rng(seed)
                    scorer = ials_scorer(train, dim=dim, alpha=alpha, reg=reg, iterations=iterations, rng=start)
                    yield {"dim": dim, "alpha": alpha, "reg": reg}, scorer

    return best_on_validation(fitted(), candidates)


def _goal(figures: Mapping[str, float]) -> float:
    return figures[f"hr@{_K}"] + figures[f"ndcg@{_K}"] / 2
