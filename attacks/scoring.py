"""From scores and the truth to findings: AUC, TPR at 1% FPR and F1, each with an interval, beside their controls."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.errors import AttackError
from attacks.registry import Attack, ItemScores, all_attacks
from attacks.views import Truth, UploadView

CHANCE_AUC = 0.5
CHANCE_TPR = 0.01
RESAMPLES = 2000

_RESAMPLES_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """How well one attack told each client's items from all others, in one view.

    attack, view (its kind), round. auc: mean over clients, with `low` and `high` its 95% bootstrap interval over
    clients. popularity_auc: the same for popularity alone; chance is .5. advantage: auc - popularity_auc, with an
    interval of its own (the same clients are drawn for both). tpr_at_1pct_fpr: mean share of a client's items found
    while 1% of the others are called wrongly; chance is .01. f1: mean F1 of the attack's own yes or no. n: clients
    scored (those with at least one item and not all of them).
    """

    attack: str
    view: str
    round: int
    n: int
    auc: float
    low: float
    high: float
    popularity_auc: float
    popularity_low: float
    popularity_high: float
    advantage: float
    advantage_low: float
    advantage_high: float
    tpr_at_1pct_fpr: float
    tpr_low: float
    tpr_high: float
    f1: float
    f1_low: float
    f1_high: float

    def to_json(self) -> dict[str, str | int | float | None]:
        """Plain data, under the names of the fields; a bound that is not known is None."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }


def run_attacks(
    views: Sequence[UploadView],
    truth: Truth,
    popularity: NDArray[np.integer] | None,
    rng: np.random.Generator,
    attacks: Sequence[Attack] | None = None,
) -> list[Finding]:
    """Run each attack on each view it applies to.

    popularity: (n_items,), the control's ranking; None takes the popularity in each view. rng draws the bootstrap's
    clients and nothing else: attacks are deterministic. attacks: all known ones if None. Raises AttackError when an
    attack's answer has the wrong shape or is not finite, ViewError when the truth lacks a view's client.
    """
    chosen = all_attacks() if attacks is None else attacks
    return [
        evaluate(attack.name, view, checked(attack, view), truth, popularity, rng)
        for view in views
        for attack in chosen
        if view.kind in attack.kinds
    ]


def checked(attack: Attack, view: UploadView) -> ItemScores:
    """Run the attack and hold its answer to the contract of `ItemScores`. Raises AttackError."""
    answer = attack.run(view)
    shape = (view.n_matrices, view.n_items)
    if answer.scores.shape != shape or answer.predicted.shape != shape:
        raise AttackError(f"{attack.name} answered with the shape {answer.scores.shape}, the view asks for {shape}")
    if not np.all(np.isfinite(answer.scores)):
        raise AttackError(f"{attack.name} gave scores that are not finite")
    return answer


def evaluate(
    name: str,
    view: UploadView,
    answer: ItemScores,
    truth: Truth,
    popularity: NDArray[np.integer] | None,
    rng: np.random.Generator,
) -> Finding:
    """Score one attack's answer against the truth. Raises ViewError and AttackError, as `run_attacks`."""
    if truth.n_items != view.n_items:
        raise AttackError(f"the truth knows {truth.n_items} items, the view {view.n_items}: they are not of one run")
    control = view.popularity if popularity is None else popularity
    if control.shape != (view.n_items,):
        raise AttackError(f"popularity has the shape {control.shape}, the view asks for ({view.n_items},)")
    positives = truth.positives(view.clients)
    measured = []
    for row, has in enumerate(positives):
        if not 0 < np.count_nonzero(has) < len(has):
            continue
        matrix = row if view.n_matrices > 1 else 0
        scores = answer.scores[matrix]
        own, alone = auc(scores, has), auc(control, has)
        measured.append((own, alone, own - alone, tpr_at_fpr(scores, has, 0.01), f1(answer.predicted[matrix], has)))
    if not measured:
        raise AttackError("no client of the view has an item in the truth, so there is nothing to score")
    table = np.array(measured)
    bounds = bootstrap_bounds(table, rng)
    own, alone, advantage, tpr, found = np.column_stack([table.mean(axis=0), *bounds]).tolist()
    return Finding(name, view.kind, view.round_number, len(table), *own, *alone, *advantage, *tpr, *found)


def auc(scores: NDArray[np.generic], positives: NDArray[np.bool_]) -> float:
    """Probability that a positive scores above a negative, ties counting half. Both (n,); needs one of each."""
    others, own = np.sort(scores[~positives]), scores[positives]
    below = np.searchsorted(others, own, side="left") + np.searchsorted(others, own, side="right")
    return float(below.mean() / 2 / len(others))


def tpr_at_fpr(scores: NDArray[np.generic], positives: NDArray[np.bool_], fpr: float) -> float:
    """Share of positives found when a share `fpr` of the negatives is called; within ties, in proportion.

    This is the ROC curve read at `fpr`, straight lines between its points, so a constant score gives `fpr`.
    """
    others, own = np.sort(scores[~positives])[::-1], scores[positives]
    allowed = fpr * len(others)
    threshold = others[min(int(allowed), len(others) - 1)]
    above, level = np.count_nonzero(others > threshold), np.count_nonzero(others == threshold)
    share = min(1.0, (allowed - above) / level)
    return float(np.mean(own > threshold) + share * np.mean(own == threshold))


def f1(predicted: NDArray[np.bool_], positives: NDArray[np.bool_]) -> float:
    """Harmonic mean of precision and recall; 0 when nothing is found."""
    return float(
        2 * np.count_nonzero(predicted & positives) / (np.count_nonzero(predicted) + np.count_nonzero(positives))
    )


def bootstrap_bounds(
    values: NDArray[np.float64], rng: np.random.Generator, *, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Percentile bootstrap of column means (Efron 1979). values: (n, k), a row a client. Returns low and high, each
    (k,).

    Clients are drawn together for all columns. With a single client nothing is known about others, and the bounds are
    -inf and inf.
    """
    n, k = values.shape
    if n < 2:
        return np.full(k, -np.inf), np.full(k, np.inf)
    means = [
        rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES_AT_ONCE) @ values / n
        for _ in range(RESAMPLES // _RESAMPLES_AT_ONCE)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high
