"""What did each client upload, to whoever has at least as many sums as clients and knows who took part in each?

Two settings, over a federation of clients drawn by lot, each of them in each cohort with probability 1/2:

- one round, `SUMS_OF_A_ROUND` times as many cohorts as clients, as when several rounds overlap;
- the longest run of consecutive recorded rounds, with `SUMS_OF_EACH_ROUND` times as many cohorts as clients in each, so
  that no round can be solved by itself and a client's upload is not the same in all of its sums. Where one cohort a
  round is summed, as is usual, as many sums take that many rounds.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from attacks.case import Case
from attacks.errors import ViewError
from attacks.findings import Finding
from attacks.goals.items import ItemScores, item_measures
from attacks.goals.sums import checked_scores, consecutive, item_finding, matrices, summable
from attacks.registry import Attack, Goal
from attacks.views import Kind

SUMS_OF_A_ROUND = 1.25
SUMS_OF_EACH_ROUND = 0.8
_CLIENTS_OF_A_ROUND = 200
_CLIENTS_OVER_ROUNDS = (10, 30, 100)


@dataclass(frozen=True, slots=True, eq=False)
class ManySums:
    """taking_part: (m, n) bool, who is in each of m sums. totals: (m, n_items, dim) float64. table: (n_items, dim)
    float32, the last that was broadcast. popularity: (n_items,) int64, how many of `population` users have each item.
    """

    taking_part: NDArray[np.bool_]
    totals: NDArray[np.float64]
    table: NDArray[np.float32]
    popularity: NDArray[np.int64]
    population: int


class Disaggregation(Goal[ManySums, ItemScores]):
    name: ClassVar[str] = "disaggregation"
    question: ClassVar[str] = "Which items does each client have, if many sums over known cohorts were opened?"
    through_sums: ClassVar[bool] = True

    def evaluate(self, attack: Attack[ManySums, ItemScores], case: Case, rng: np.random.Generator) -> list[Finding]:
        """One finding for each recorded round; for an attack on all, one for each size of federation. An attack answers
        with a row for each client."""
        findings = []
        for kind in summable(attack, case):
            rounds = case.recording.rounds(kind)
            if attack.rounds == "each":
                for number in rounds:
                    findings.append(_finding(attack, case, kind, (number,), _CLIENTS_OF_A_ROUND, SUMS_OF_A_ROUND, rng))
            elif runs := consecutive(rounds):
                run = max(runs, key=len)
                for size in _CLIENTS_OVER_ROUNDS:
                    findings.append(_finding(attack, case, kind, run, size, SUMS_OF_EACH_ROUND * len(run), rng))
        return findings


DISAGGREGATION = Disaggregation()


def _finding(
    attack: Attack[ManySums, ItemScores],
    case: Case,
    kind: Kind,
    rounds: tuple[int, ...],
    most: int,
    sums_a_client: float,
    rng: np.random.Generator,
) -> Finding:
    first = case.recording.view(kind, rounds[0])
    members = np.sort(rng.permutation(len(first.clients))[:most])
    n = len(members)
    taking_part = rng.random((round(sums_a_client * n), n)) < 0.5
    totals = np.empty((len(taking_part), *first.table.shape), dtype=np.float64)
    view = first
    for number, here in zip(rounds, np.array_split(np.arange(len(taking_part)), len(rounds)), strict=True):
        view = case.recording.view(kind, number)
        if not np.array_equal(view.clients, first.clients):
            raise ViewError(f"rounds {rounds[0]} and {number} are of different clients: their sums cannot be compared")
        uploads = matrices(view)[members].astype(np.float64)
        totals[here] = np.tensordot(taking_part[here].astype(np.float64), uploads, axes=1)
    evidence = ManySums(taking_part, totals, view.table, view.popularity, view.population)
    answer = checked_scores(attack, attack.run(evidence), (n, view.n_items))
    positives = case.truth.positives(first.clients[members])
    measured = item_measures(positives, view.popularity, answer.scores, answer.predicted)
    target = f"items of {n} clients, {len(taking_part)} sums"
    return item_finding(attack, target, kind, rounds, measured, rng)
