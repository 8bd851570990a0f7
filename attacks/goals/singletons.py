"""Which rows of a sum were changed by one member of the cohort alone, and did that member have the item?

Such a row is that client's own, not a sum. What is scored are pairs of a row and a label (item or negative): a claim is
right where exactly one member changed the row and the label is that member's. The control names the pairs that are
likeliest from the items' popularity, the size of the cohort and the negatives that clients draw.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from attacks.case import Case
from attacks.errors import AttackError, ViewError
from attacks.findings import Estimate, Finding
from attacks.goals.sums import SUM_OF, KnownSum, cohort_sizes, matrices, summable
from attacks.measures import estimates
from attacks.registry import Attack, Goal
from attacks.views import Kind, RowUploads, UploadView

COHORTS_OF_A_SIZE = 20


@dataclass(frozen=True, slots=True, eq=False)
class OneSum:
    """popularity: (n_items,) int64, how many of `population` users have each item."""

    sum: KnownSum
    popularity: NDArray[np.int64]
    population: int


@dataclass(frozen=True, slots=True, eq=False)
class RowClaims:
    """read: (n_items,) bool, rows that one member alone is said to have changed. positive: (n_items,) bool, that the
    member has the item; counts where read. owner: (n_items,) int64, rows said to be one member's share a number."""

    read: NDArray[np.bool_]
    positive: NDArray[np.bool_]
    owner: NDArray[np.int64]


class Singletons(Goal[OneSum, RowClaims]):
    name: ClassVar[str] = "singleton rows"
    question: ClassVar[str] = "Which rows of a sum are one client's alone, and does it have the item?"
    through_sums: ClassVar[bool] = True

    def evaluate(self, attack: Attack[OneSum, RowClaims], case: Case, rng: np.random.Generator) -> list[Finding]:
        """One finding for each kind, the first and the last recorded round, and size of cohort, over cohorts drawn by
        lot. Needs the rows that each client changed, so unprotected uploads of the same round as `RowUploads`."""
        findings = []
        for kind in summable(attack, case):
            rounds = case.recording.rounds(kind)
            for number in dict.fromkeys((rounds[0], rounds[-1])):
                if number in case.recording.rounds("unprotected_upload"):
                    findings += _findings(attack, case, kind, number, rng)
        return findings


SINGLETONS = Singletons()


def _findings(
    attack: Attack[OneSum, RowClaims], case: Case, kind: Kind, number: int, rng: np.random.Generator
) -> list[Finding]:
    trained = case.recording.view("unprotected_upload", number)
    if not isinstance(trained.uploads, RowUploads):
        return []
    view = trained if kind == "unprotected_upload" else case.recording.view(kind, number)
    if not np.array_equal(view.clients, trained.clients):
        raise ViewError(f"the kinds of round {number} are of different clients")
    n = len(view.clients)
    changed = np.zeros((n, view.n_items), dtype=np.bool_)
    changed[np.repeat(np.arange(n), np.diff(trained.uploads.offsets)), trained.uploads.rows] = True
    has = case.truth.positives(view.clients)
    uploads = matrices(view)
    negatives = 4 if case.public.training is None else case.public.training.negatives

    findings = []
    for size in cohort_sizes(n, kind, case.public):
        guess = likeliest(view.popularity, view.population, size, negatives)
        rows = []
        for _ in range(1 if size == n else COHORTS_OF_A_SIZE):
            members = rng.permutation(n)[:size]
            total = np.asarray(np.sum(uploads[members], axis=0, dtype=np.float64))
            seen = KnownSum(number, view.table, view.clients[members], total)
            claims = attack.run(OneSum(seen, view.popularity, view.population))
            if any(len(each) != view.n_items for each in (claims.read, claims.positive, claims.owner)):
                raise AttackError(f"{attack.name} must say something of each of {view.n_items} rows")
            rows.append(_measures(claims, guess, changed[members], has[members]))
        findings.append(_finding(attack, view, size, np.array(rows), rng))
    return findings


def likeliest(popularity: NDArray[np.int64], population: int, size: int, negatives: int) -> RowClaims:
    """The pairs that are claimed without seeing the sum: the number of them that makes the expected F1 largest.

    A member has an item with the chance of its popularity, and if not draws it as a negative with that of a client of
    mean activity; members are taken to be independent.
    """
    has = popularity / population
    mean = has.sum()
    draws = np.minimum(1.0, negatives * mean / max(len(has) - mean, 1.0))
    changes = has + (1 - has) * draws
    alone = size * changes * (1 - changes) ** (size - 1)
    positive = has > (1 - has) * draws
    right = alone * np.maximum(has, (1 - has) * draws) / np.maximum(changes, 1e-30)
    order = np.argsort(-right, kind="stable")
    expected = 2 * np.cumsum(right[order]) / (np.arange(1, len(order) + 1) + alone.sum())
    read = np.zeros(len(has), dtype=np.bool_)
    read[order[: int(np.argmax(expected)) + 1]] = True
    return RowClaims(read, positive, np.arange(len(has)))


def _measures(
    claims: RowClaims, guess: RowClaims, changed: NDArray[np.bool_], has: NDArray[np.bool_]
) -> tuple[float, ...]:
    """F1 of the claims, of the guess, their difference, precision, recall, singleton rows, and rows that are claimed
    together with another of the same member. changed, has: (size, n_items)."""
    alone = np.count_nonzero(changed, axis=0) == 1
    owner = np.argmax(changed, axis=0)
    label = np.any(changed & has, axis=0)
    right = claims.read & alone & (claims.positive == label)
    own, other = (_f1(each, alone, label) for each in (claims, guess))
    linked = 0
    for group in np.unique(claims.owner[claims.read]).tolist():
        found = np.flatnonzero(right & (claims.owner == group))
        counts = np.bincount(owner[found]) if len(found) else np.zeros(1, dtype=int)
        linked += int(counts.max()) if counts.max() > 1 else 0
    n_right, n_read, n_alone = (int(np.count_nonzero(each)) for each in (right, claims.read, alone))
    precision, recall = n_right / n_read if n_read else 0.0, n_right / n_alone if n_alone else 0.0
    return own, other, own - other, precision, recall, float(n_alone), float(linked)


def _f1(claims: RowClaims, alone: NDArray[np.bool_], label: NDArray[np.bool_]) -> float:
    right = int(np.count_nonzero(claims.read & alone & (claims.positive == label)))
    pairs = int(np.count_nonzero(claims.read)) + int(np.count_nonzero(alone))
    return 2 * right / pairs if pairs else 0.0


def _finding(
    attack: Attack[OneSum, RowClaims], view: UploadView, size: int, rows: NDArray[np.float64], rng: np.random.Generator
) -> Finding:
    own, guess, beyond, precision, recall, singletons, linked = estimates(rows, rng)
    return Finding(
        attack=attack.name, goal=SINGLETONS.name, target=f"rows of one member alone, cohort of {size}",
        view=SUM_OF[view.kind], rounds=(view.round_number,), n=len(rows), measure="F1 of rows and labels", result=own,
        controls={"popularity": guess, "chance": Estimate.exact(0.0)}, against="popularity", beyond=beyond,
        others={
            "precision": precision, "recall": recall, "singleton rows": singletons,
            "rows read and linked to others of their member": linked,
        },
    )  # fmt: skip
