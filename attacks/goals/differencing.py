"""What did one client upload, to whoever has two sums that differ by that client?

Within a round: the sums over everybody, and over everybody but the target. Across rounds: the target takes part in
every other round of a run of consecutive ones (in the first of two), a cohort drawn by lot in all of them, so that
everybody else's change from round to round hides it; the smaller the cohort, the less.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from attacks.case import Case
from attacks.errors import ViewError
from attacks.findings import Finding
from attacks.goals.items import ItemScores, item_measures
from attacks.goals.sums import (
    KnownSum,
    checked_scores,
    cohort_sizes,
    consecutive,
    item_finding,
    matrices,
    summable,
)
from attacks.registry import Attack, Goal
from attacks.views import Kind

TARGETS_WITHIN = 100
TARGETS_ACROSS = 40


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """Sums of one cohort, some with the target and some without. popularity: (n_items,) int64, how many of
    `population` users have each item."""

    present: tuple[KnownSum, ...]
    absent: tuple[KnownSum, ...]
    popularity: NDArray[np.int64]
    population: int


class Differencing(Goal[Overlap, ItemScores]):
    name: ClassVar[str] = "differencing"
    question: ClassVar[str] = "Which items does a client have that is in one sum and not in another?"
    through_sums: ClassVar[bool] = True

    def evaluate(self, attack: Attack[Overlap, ItemScores], case: Case, rng: np.random.Generator) -> list[Finding]:
        """For an attack on each round, one finding a round; for one on all, one for each run of consecutive rounds and
        size of cohort. The answer of an attack is one row, the target's."""
        findings = []
        for kind in summable(attack, case):
            rounds = case.recording.rounds(kind)
            if attack.rounds == "each":
                findings += [_within(attack, case, kind, number, rng) for number in rounds]
            else:
                for run in consecutive(rounds):
                    findings += _across(attack, case, kind, run, rng)
        return findings


DIFFERENCING = Differencing()


def _within(
    attack: Attack[Overlap, ItemScores], case: Case, kind: Kind, number: int, rng: np.random.Generator
) -> Finding:
    view = case.recording.view(kind, number)
    uploads, n = matrices(view), len(view.clients)
    everybody = np.asarray(np.sum(uploads, axis=0, dtype=np.float64))
    whole = KnownSum(number, view.table, view.clients, everybody)
    targets = rng.permutation(n)[:TARGETS_WITHIN]
    answers = []
    for target in targets.tolist():
        rest = KnownSum(number, view.table, np.delete(view.clients, target), everybody - uploads[target])
        overlap = Overlap((whole,), (rest,), view.popularity, view.population)
        answers.append(checked_scores(attack, attack.run(overlap), (1, view.n_items)))
    measured = _measures(case, view.clients[targets], view.popularity, answers)
    return item_finding(attack, f"items of one client, cohort of {n}", kind, (number,), measured, rng)


def _across(
    attack: Attack[Overlap, ItemScores], case: Case, kind: Kind, run: tuple[int, ...], rng: np.random.Generator
) -> list[Finding]:
    first = case.recording.view(kind, run[0])
    n = len(first.clients)
    sizes = [size for size in cohort_sizes(n, kind, case.public) if size > 1]
    targets = rng.permutation(n)[:TARGETS_ACROSS]
    companions = [rng.permutation(np.delete(np.arange(n), target)) for target in targets.tolist()]
    present = set(run[1::2] if len(run) > 2 else run[:1])

    # One round's uploads in memory at a time; float32 will do where others' changes remain in the difference anyway.
    taking_part = np.zeros((len(sizes), len(targets), n), dtype=np.float32)
    for place, size in enumerate(sizes):
        for which, few in enumerate(companions):
            taking_part[place, which, few[: size - 1]] = 1
    weights = taking_part.reshape(-1, n)
    rounds, totals = [], []
    for number in run:
        view = case.recording.view(kind, number)
        if not np.array_equal(view.clients, first.clients):
            raise ViewError(f"rounds {run[0]} and {number} are of different clients: their sums cannot be compared")
        uploads = matrices(view).reshape(n, -1)
        total = (weights @ uploads).reshape(len(sizes), len(targets), -1)
        if number in present:
            total += uploads[targets]
        rounds.append((number, view.table))
        totals.append(total.reshape(len(sizes), len(targets), *view.table.shape))

    findings = []
    for place, size in enumerate(sizes):
        answers = []
        for which, target in enumerate(targets.tolist()):
            rest = first.clients[companions[which][: size - 1]]
            with_target = np.append(rest, first.clients[target])
            sums = [
                KnownSum(number, table, with_target if number in present else rest, each[place, which].astype(float))
                for (number, table), each in zip(rounds, totals, strict=True)
            ]
            overlap = Overlap(
                tuple(each for each in sums if each.round_number in present),
                tuple(each for each in sums if each.round_number not in present),
                first.popularity, first.population,
            )  # fmt: skip
            answers.append(checked_scores(attack, attack.run(overlap), (1, first.n_items)))
        measured = _measures(case, first.clients[targets], first.popularity, answers)
        findings.append(item_finding(attack, f"items of one client, cohort of {size}", kind, run, measured, rng))
    return findings


def _measures(
    case: Case, clients: NDArray[np.int64], popularity: NDArray[np.int64], answers: list[ItemScores]
) -> NDArray[np.float64]:
    scores = np.concatenate([answer.scores for answer in answers])
    predicted = np.concatenate([answer.predicted for answer in answers])
    return item_measures(case.truth.positives(clients), popularity, scores, predicted)
