"""Is a client in a sum, to whoever knows what it would have uploaded?

Trials with a fair coin: a target drawn by lot is in the sum or is not; beside it stand n - 1 uploads drawn
independently from those of all other clients, so with repeats. The server knows the target's upload as trained, and of
the population that the others are drawn from the exact mean and each item row's covariance, which is more than it would
have. Under noise that was sized for a larger cohort than n, each upload carries its share of that noise only.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from attacks.case import Case
from attacks.epsilon.worst_pair import by_threshold
from attacks.errors import AttackError
from attacks.findings import Estimate, Finding
from attacks.goals.last_round import last_views
from attacks.goals.resampling import interval, resamples, weighted_auc
from attacks.goals.sums import SUM_OF, cohort_sizes, matrices
from attacks.measures import CHANCE_AUC, CHANCE_TPR, above, tpr_at_fpr
from attacks.registry import Attack, Goal
from attacks.views import UploadView

FEWEST = 30
"""Below, the others' sum is not Gaussian enough for the test."""
TRIALS = 400
DELTA = 1e-5
"""At which the lower bound of epsilon is stated."""

_TRIALS_AT_ONCE = 50


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """t sums, each of `others` uploads and, or not, the candidate's.

    totals, candidates: (t, n_items, dim) float32. mean: (t, n_items, dim) float32, of the population that the others
    are drawn from. covariance: (n_items, dim, dim) float64, of each row in it.
    """

    totals: NDArray[np.float32]
    candidates: NDArray[np.float32]
    others: int
    mean: NDArray[np.float32]
    covariance: NDArray[np.float64]


class Membership(Goal[Trials, NDArray[np.float64]]):
    name: ClassVar[str] = "membership in a sum"
    question: ClassVar[str] = "Is a client whose upload is known in a sum or not?"
    through_sums: ClassVar[bool] = True

    def evaluate(
        self, attack: Attack[Trials, NDArray[np.float64]], case: Case, rng: np.random.Generator
    ) -> list[Finding]:
        """One finding for each kind and size, on the last recorded round. An attack answers with (t,) scores, higher
        for "in". Noised uploads need the same round's uploads as trained beside them."""
        findings = []
        for view in last_views(attack, case):
            number = view.round_number
            if view.kind not in SUM_OF or number not in case.recording.rounds("unprotected_upload"):
                continue
            uploads = matrices(view).reshape(len(view.clients), -1)
            candidates = uploads
            if view.kind == "noised_upload":
                trained = matrices(case.recording.view("unprotected_upload", number))
                candidates = as_clipped(trained.reshape(uploads.shape), uploads)
            covariance = row_covariances(uploads.reshape(len(uploads), *view.table.shape))
            for size in cohort_sizes(len(uploads), view.kind, case.public):
                if size < FEWEST:
                    continue
                findings.append(_finding(attack, view, uploads, candidates, covariance, size, rng))
        return findings


MEMBERSHIP = Membership()


def as_clipped(trained: NDArray[np.float32], noised: NDArray[np.float32]) -> NDArray[np.float32]:
    """What clipping leaves of each upload; a server knows the norm, the auditor reads it off. Both (n, values).

    The length of a noised upload along the trained one has the clipped norm as its mean; over the half of the clients
    with the largest norms, that is the norm clipped to.
    """
    norms = np.sqrt(np.einsum("ij,ij->i", trained, trained)) + np.float32(1e-30)
    along = np.einsum("ij,ij->i", noised, trained) / norms
    largest = max(float(np.mean(along[norms >= np.median(norms)])), 0.0)
    return np.asarray(trained * np.minimum(1, largest / norms)[:, None], dtype=np.float32)


def row_covariances(uploads: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n_items, dim, dim), each row's covariance over clients. uploads: (n, n_items, dim)."""
    rows = np.ascontiguousarray(np.swapaxes(uploads, 0, 1))
    mean = rows.mean(axis=1, dtype=np.float64)
    square = (np.swapaxes(rows, 1, 2) @ rows).astype(np.float64) / len(uploads)
    return np.asarray(square - mean[:, :, None] * mean[:, None, :])


def _finding(
    attack: Attack[Trials, NDArray[np.float64]],
    view: UploadView,
    uploads: NDArray[np.float32],
    candidates: NDArray[np.float32],
    covariance: NDArray[np.float64],
    size: int,
    rng: np.random.Generator,
) -> Finding:
    n, shape = len(uploads), view.table.shape
    everybody = uploads.sum(axis=0, dtype=np.float64)
    inside = rng.random(TRIALS) < 0.5
    scores = np.empty(TRIALS)
    for start in range(0, TRIALS, _TRIALS_AT_ONCE):
        coins = inside[start : start + _TRIALS_AT_ONCE]
        targets = rng.integers(n, size=len(coins))
        chances = np.full((len(coins), n), 1 / (n - 1))
        chances[np.arange(len(coins)), targets] = 0
        drawn = rng.multinomial(size - 1, chances).astype(np.float32)
        drawn[coins, targets[coins]] = 1
        trials = Trials(
            (drawn @ uploads).reshape(-1, *shape),
            candidates[targets].reshape(-1, *shape),
            size - 1,
            ((everybody - uploads[targets]) / (n - 1)).astype(np.float32).reshape(-1, *shape),
            covariance,
        )
        answer = attack.run(trials)
        if answer.shape != coins.shape or not np.all(np.isfinite(answer)):
            raise AttackError(f"{attack.name} must answer with {len(coins)} finite scores")
        scores[start : start + len(coins)] = answer

    reached = interval(weighted_auc(scores, inside, resamples(TRIALS, rng)))
    least = by_threshold(scores[inside], scores[~inside], DELTA, 0.05)
    return Finding(
        attack=attack.name, goal=MEMBERSHIP.name, target=f"one client in a sum of {size} or not",
        view=SUM_OF[view.kind], rounds=(view.round_number,), n=TRIALS, measure="AUC", result=reached,
        controls={"chance": Estimate.exact(CHANCE_AUC)}, against="chance", beyond=above(reached, CHANCE_AUC),
        others={
            "TPR at 1% FPR": _tpr(scores, inside, rng),
            "TPR at 1% FPR, chance": Estimate.exact(CHANCE_TPR),
            "epsilon of this sum at least": Estimate(least, least, np.inf),
        },
    )  # fmt: skip


def _tpr(scores: NDArray[np.float64], inside: NDArray[np.bool_], rng: np.random.Generator) -> Estimate:
    """With its bootstrap interval over trials, drawn from those in and those out apart."""
    own, others = scores[inside], scores[~inside]
    truth = np.repeat([True, False], [len(own), len(others)])
    drawn = [
        tpr_at_fpr(np.concatenate([rng.choice(own, len(own)), rng.choice(others, len(others))]), truth, 0.01)
        for _ in range(1000)
    ]
    reached = tpr_at_fpr(scores, inside, 0.01)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(reached, min(float(low), reached), max(float(high), reached))
