"""How many items does each client have? Scored by rank correlation over clients; one guess for all reaches none."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from attacks.case import Case
from attacks.errors import AttackError
from attacks.findings import Estimate, Finding
from attacks.goals.items import Seen
from attacks.measures import RESAMPLES, estimates
from attacks.registry import Attack, Goal
from attacks.views import Truth, UploadView

_RESAMPLES_AT_ONCE = 100
_WITHIN = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """A guess: counts (n_matrices,) float64, 0 or more and finite, how many items each client of the view has."""

    counts: NDArray[np.float64]


class ItemCounts(Goal[Seen, Counts]):
    name: ClassVar[str] = "counts"
    question: ClassVar[str] = "How many items does each client have?"

    def evaluate(self, attack: Attack[Seen, Counts], case: Case, rng: np.random.Generator) -> list[Finding]:
        """One finding for each recorded round of uploads; none where fewer than two clients differ."""
        findings = []
        for kind in case.recording.kinds():
            if kind not in attack.kinds:
                continue
            for number in case.recording.rounds(kind):
                view = case.recording.view(kind, number)
                true = item_counts(view, case.truth)
                if np.unique(true).size > 1:
                    findings.append(score(attack, view, checked(attack, Seen((view,), case.public)), true, rng))
        return findings


COUNTS = ItemCounts()


def checked(attack: Attack[Seen, Counts], seen: Seen) -> NDArray[np.float64]:
    """Run the attack and hold its answer to the contract of `Counts`. Raises AttackError."""
    counts = attack.run(seen).counts
    if counts.shape != (seen.view.n_matrices,):
        raise AttackError(f"{attack.name} gave counts of the shape {counts.shape} for {seen.view.n_matrices} uploads")
    if not np.all(np.isfinite(counts)) or counts.min() < 0:
        raise AttackError(f"{attack.name} gave counts that are below 0 or not finite")
    return counts


def item_counts(view: UploadView, truth: Truth) -> NDArray[np.int64]:
    """(n_matrices,) how many items each client has. Raises ViewError for a client the truth does not know, AttackError
    for a sum, which has no client of its own.
    """
    if view.n_matrices != len(view.clients):
        raise AttackError(f"a view of kind {view.kind} has no upload of each client to count by")
    return np.diff(truth.offsets)[truth.places(view.clients)]


def score(
    attack: Attack[Seen, Counts],
    view: UploadView,
    counts: NDArray[np.float64],
    true: NDArray[np.int64],
    rng: np.random.Generator,
) -> Finding:
    """One finding. Besides the correlation: how many counts are exact when rounded, how many within a tenth, and how
    many are within a tenth when everybody is given the mean, which is public.
    """
    mean = view.popularity.sum() / view.population
    hits = np.stack(
        [
            np.rint(counts) == true,
            np.abs(counts - true) <= _WITHIN * true,
            np.abs(mean - true) <= _WITHIN * true,
        ],
        axis=1,
    )
    exact, close, same_for_all = estimates(hits.astype(np.float64), rng)
    correlation = rank_correlation(counts, true.astype(np.float64), rng)
    return Finding(
        attack=attack.name, goal=COUNTS.name, target="number of items of each client", view=view.kind,
        rounds=(view.round_number,), n=len(true), measure="Spearman correlation", result=correlation,
        controls={"one guess for all": Estimate.exact(0.0)}, against="one guess for all", beyond=correlation,
        others={"exact": exact, "within 10%": close, "within 10%, mean for all": same_for_all},
    )  # fmt: skip


def rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64], rng: np.random.Generator) -> Estimate:
    """Spearman's correlation (1904) of two (n,), ties at their mean rank, with a 95% percentile bootstrap over pairs.

    0 where either is constant. Fewer than three pairs bound nothing.
    """
    n = len(one)
    mean = float(_spearman(one[None], other[None])[0])
    if n < 3:
        return Estimate(mean, -np.inf, np.inf)
    drawn = []
    for _ in range(RESAMPLES // _RESAMPLES_AT_ONCE):
        picked = rng.integers(0, n, (_RESAMPLES_AT_ONCE, n))
        drawn.append(_spearman(one[picked], other[picked]))
    low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975])
    return Estimate(mean, min(float(low), mean), max(float(high), mean))


def _spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """(b, n) each; returns (b,)."""
    first, second = (rankdata(each, axis=1) - (each.shape[1] + 1) / 2 for each in (one, other))
    spread = np.sqrt(np.sum(first**2, axis=1) * np.sum(second**2, axis=1))
    return np.asarray(np.sum(first * second, axis=1) / np.where(spread > 0, spread, 1.0))
