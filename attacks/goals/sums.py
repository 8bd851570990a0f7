"""Sums that the auditor builds out of recorded uploads, as a server of a secure sum would have opened them.

Totals are float64 in place of a protocol's integers: summing float32 uploads in it leaves rows that nobody changed
exactly zero, and the difference of two sums that differ by one upload is that upload to the last bit but a few.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.case import Case, Public
from attacks.errors import AttackError
from attacks.findings import Estimate, Finding
from attacks.goals.items import ItemScores
from attacks.measures import CHANCE_AUC, estimates
from attacks.registry import Attack
from attacks.views import Kind, UploadView

SUM_OF: dict[Kind, str] = {
    "unprotected_upload": "sum of unprotected uploads",
    "noised_upload": "sum of noised uploads",
}
"""The kinds that sums can be built of, and how findings name these sums."""

COHORTS = (10, 30, 100)
"""Sizes of cohorts that attacks are tried on, beside everybody."""


@dataclass(frozen=True, slots=True, eq=False)
class KnownSum:
    """What a server has of one round of a secure sum. table: (n_items, dim) float32, as broadcast. clients: (count,)
    int64, who took part. total: (n_items, dim) float64, the sum of their changes."""

    round_number: int
    table: NDArray[np.float32]
    clients: NDArray[np.int64]
    total: NDArray[np.float64]


def summable(attack: Attack[Any, Any], case: Case) -> Iterator[Kind]:
    """The recorded kinds that the attack applies to and sums can be built of."""
    return (kind for kind in case.recording.kinds() if kind in attack.kinds and kind in SUM_OF)


def matrices(view: UploadView) -> NDArray[np.float32]:
    """All uploads of a view, (n, n_items, dim): 200 MB for MovieLens-100K at 32 dimensions."""
    return np.concatenate(list(view.blocks()))


def cohort_sizes(n: int, kind: Kind, public: Public) -> tuple[int, ...]:
    """`COHORTS` as far as there are clients, and everybody; of noised uploads only what the noise was sized for."""
    fewest = public.min_survivors if kind == "noised_upload" else 1
    return (*(size for size in COHORTS if fewest <= size < n), n)


def consecutive(rounds: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The runs of at least two rounds that follow each other without a gap. rounds: rising."""
    parts = np.split(np.array(rounds), np.flatnonzero(np.diff(rounds) > 1) + 1)
    return [tuple(part.tolist()) for part in parts if len(part) > 1]


def checked_scores(attack: Attack[Any, ItemScores], answer: ItemScores, shape: tuple[int, int]) -> ItemScores:
    """The answer, if it is of that shape and finite. Raises AttackError."""
    if answer.scores.shape != shape or answer.predicted.shape != shape:
        raise AttackError(f"{attack.name} answered with the shape {answer.scores.shape}, the sums ask for {shape}")
    if not np.all(np.isfinite(answer.scores)):
        raise AttackError(f"{attack.name} gave scores that are not finite")
    return answer


def item_finding(
    attack: Attack[Any, ItemScores],
    target: str,
    kind: Kind,
    rounds: tuple[int, ...],
    measured: NDArray[np.float64],
    rng: np.random.Generator,
) -> Finding:
    """The items of single clients, got out of sums. measured: (n, 5) of `items.item_measures`."""
    own, alone, beyond, tpr, found = estimates(measured, rng)
    return Finding(
        attack=attack.name, goal=attack.goal.name, target=target, view=SUM_OF[kind], rounds=rounds, n=len(measured),
        measure="AUC", result=own, controls={"popularity": alone, "chance": Estimate.exact(CHANCE_AUC)},
        against="popularity", beyond=beyond, others={"TPR at 1% FPR": tpr, "F1": found},
    )  # fmt: skip
