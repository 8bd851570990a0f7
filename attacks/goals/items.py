"""Which items does each client have? Scored by AUC for each client, beside the popularity of items and chance."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from attacks.case import Case, Public
from attacks.errors import AttackError
from attacks.findings import Estimate, Finding
from attacks.measures import CHANCE_AUC, auc, estimates, f1, tpr_at_fpr
from attacks.registry import Attack, Goal
from attacks.views import Truth, UploadView


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """views: of one kind, by round, all over the same clients in the same order; public: what everybody knows."""

    views: tuple[UploadView, ...]
    public: Public

    @property
    def view(self) -> UploadView:
        """The last one."""
        return self.views[-1]


@dataclass(frozen=True, slots=True, eq=False)
class ItemScores:
    """A guess, one row for each matrix of the last view (one row for a sum, which stands for every client in it).

    scores: (n_matrices, n_items) float32, finite, higher for an item that the client more likely has. predicted: the
    same shape, bool, the attack's own yes or no.
    """

    scores: NDArray[np.float32]
    predicted: NDArray[np.bool_]


class Items(Goal[Seen, ItemScores]):
    name: ClassVar[str] = "items"
    question: ClassVar[str] = "Which items does each client have?"

    def evaluate(self, attack: Attack[Seen, ItemScores], case: Case, rng: np.random.Generator) -> list[Finding]:
        """One finding for each recorded round; for an attack on all rounds, one for each number of rounds seen."""
        return [score(attack, seen.views, checked(attack, seen), case.truth, rng) for seen in evidence(attack, case)]


ITEMS = Items()


def evidence(attack: Attack[Seen, ItemScores], case: Case) -> Iterator[Seen]:
    """What the attack is run on, one after the other."""
    for kind in case.recording.kinds():
        if kind not in attack.kinds:
            continue
        rounds = case.recording.rounds(kind)
        if attack.rounds == "each":
            for number in rounds:
                yield Seen((case.recording.view(kind, number),), case.public)
            continue
        views: list[UploadView] = []
        for number in rounds:
            view = case.recording.view(kind, number)
            if views and not np.array_equal(views[0].clients, view.clients):
                break
            views.append(view)
            yield Seen(tuple(views), case.public)


def checked(attack: Attack[Seen, ItemScores], seen: Seen) -> ItemScores:
    """Run the attack and hold its answer to the contract of `ItemScores`. Raises AttackError."""
    answer = attack.run(seen)
    shape = (seen.view.n_matrices, seen.view.n_items)
    if answer.scores.shape != shape or answer.predicted.shape != shape:
        raise AttackError(f"{attack.name} answered with the shape {answer.scores.shape}, the view asks for {shape}")
    if not np.all(np.isfinite(answer.scores)):
        raise AttackError(f"{attack.name} gave scores that are not finite")
    return answer


def score(
    attack: Attack[Seen, ItemScores],
    views: tuple[UploadView, ...],
    answer: ItemScores,
    truth: Truth,
    rng: np.random.Generator,
) -> Finding:
    """One finding, means over clients (those with at least one item and not all of them).

    Raises ViewError and AttackError where truth and view do not belong together.
    """
    view = views[-1]
    rows = np.arange(len(view.clients)) if view.n_matrices > 1 else np.zeros(len(view.clients), int)
    measured = client_measures(view, answer.scores[rows], answer.predicted[rows], truth)
    own, alone, beyond, tpr, found = estimates(measured, rng)
    return Finding(
        attack=attack.name, goal=ITEMS.name, target="items of each client", view=view.kind,
        rounds=tuple(each.round_number for each in views), n=len(measured), measure="AUC", result=own,
        controls={"popularity": alone, "chance": Estimate.exact(CHANCE_AUC)}, against="popularity", beyond=beyond,
        others={"TPR at 1% FPR": tpr, "F1": found},
    )  # fmt: skip


def client_measures(
    view: UploadView, scores: NDArray[np.float32], predicted: NDArray[np.bool_], truth: Truth
) -> NDArray[np.float64]:
    """(n, 5): AUC, popularity's AUC, their difference, TPR at 1% FPR, F1, a row for each client that can be scored.

    scores, predicted: (len(view.clients), n_items). Raises ViewError and AttackError, as `score`.
    """
    if truth.n_items != view.n_items:
        raise AttackError(f"the truth knows {truth.n_items} items, the view {view.n_items}: they are not of one run")
    return item_measures(truth.positives(view.clients), view.popularity, scores, predicted)


def item_measures(
    positives: NDArray[np.bool_],
    popularity: NDArray[np.int64],
    scores: NDArray[np.float32],
    predicted: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """As `client_measures`, for clients whose items are known. All (n, n_items), popularity (n_items,)."""
    measured = []
    for has, own, said in zip(positives, scores, predicted, strict=True):
        if 0 < np.count_nonzero(has) < len(has):
            reached, alone = auc(own, has), auc(popularity, has)
            measured.append((reached, alone, reached - alone, tpr_at_fpr(own, has, 0.01), f1(said, has)))
    if not measured:
        raise AttackError("no client of the view has an item in the truth, so there is nothing to score")
    return np.array(measured)
