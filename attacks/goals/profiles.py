"""Whose profile is this? Somebody's few known items are matched to the uploads of the last recorded round."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from attacks.case import Case, Public
from attacks.errors import AttackError
from attacks.findings import Estimate, Finding
from attacks.goals.last_round import last_views
from attacks.measures import above, proportion, top_k
from attacks.registry import Attack, Goal
from attacks.views import UploadView

KNOWN = (2, 4, 8)


@dataclass(frozen=True, slots=True, eq=False)
class Profiles:
    """view: single uploads; public: what everybody knows; known: (n_targets, k) int32, items each target is known to
    have. The targets' order says nothing."""

    view: UploadView
    public: Public
    known: NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Suspects:
    """scores: (n_targets, n_clients) float32, finite, higher where the upload is more likely the target's. sure:
    (n_targets,) bool, whether the attack stands by its best guess."""

    scores: NDArray[np.float32]
    sure: NDArray[np.bool_]


class Reidentification(Goal[Profiles, Suspects]):
    name: ClassVar[str] = "re-identification"
    question: ClassVar[str] = "Which upload belongs to a person of whom a few items are known?"

    def evaluate(self, attack: Attack[Profiles, Suspects], case: Case, rng: np.random.Generator) -> list[Finding]:
        """For the last recorded round of each kind, one finding for each of 2, 4 and 8 known items.

        Every client with more items than that is a target once; which of its items are known is drawn evenly. The
        measure is the share of targets whose upload scores highest, ties broken by lot. "activity" ranks clients by
        their true number of items; "upper" is the best that the true histories allow: of those that hold the known
        items, the shortest, under which they were likeliest drawn.
        """
        return [
            finding
            for view in last_views(attack, case)
            for k in KNOWN
            for finding in _evaluate(attack, case, view, k, rng)
        ]


REIDENTIFICATION = Reidentification()


def _evaluate(
    attack: Attack[Profiles, Suspects], case: Case, view: UploadView, k: int, rng: np.random.Generator
) -> list[Finding]:
    histories = case.truth.positives(view.clients)
    lengths = histories.sum(axis=1)
    targets = rng.permutation(np.flatnonzero(lengths > k))
    if not len(targets):
        return []
    known = np.stack([rng.choice(np.flatnonzero(histories[at]), k, replace=False) for at in targets]).astype(np.int32)
    answer = checked(attack, Profiles(view, case.public, known))

    result, chance = proportion(top_k(answer.scores, targets, 1)), 1 / len(lengths)
    holds = np.stack([histories[:, items].all(axis=1) for items in known])
    best = np.where(holds, -lengths.astype(np.float64), -np.inf)
    busiest = np.broadcast_to(lengths, best.shape)
    others = {
        "top-10": proportion(top_k(answer.scores, targets, 10)),
        "stood by": proportion(answer.sure),
    }
    if answer.sure.any():
        others["right where stood by"] = proportion(top_k(answer.scores[answer.sure], targets[answer.sure], 1))
    return [
        Finding(
            attack=attack.name, goal=REIDENTIFICATION.name, target=f"person with {k} known items", view=view.kind,
            rounds=(view.round_number,), n=len(targets), measure="top-1", result=result,
            controls={
                "chance": Estimate.exact(chance),
                "activity": proportion(top_k(busiest, targets, 1)),
                "upper": proportion(top_k(best, targets, 1)),
            },
            against="chance", beyond=above(result, chance), others=others,
        )
    ]  # fmt: skip


def checked(attack: Attack[Profiles, Suspects], seen: Profiles) -> Suspects:
    """Run the attack and hold its answer to the contract of `Suspects`. Raises AttackError."""
    answer = attack.run(seen)
    shape = (len(seen.known), len(seen.view.clients))
    if answer.scores.shape != shape or answer.sure.shape != shape[:1]:
        raise AttackError(f"{attack.name} answered with the shape {answer.scores.shape}, the evidence asks for {shape}")
    if not np.all(np.isfinite(answer.scores)):
        raise AttackError(f"{attack.name} gave scores that are not finite")
    return answer
