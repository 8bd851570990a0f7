"""What kind of person sent this? Attributes and habits, learnt from clients of whom they are known.

The attack turns uploads into features; the goal learns and reads the same classifier from them, from the true
histories ("upper") and from histories drawn by popularity ("lower"). A class with fewer than 10 clients is left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from attacks.case import Case, Public
from attacks.errors import AttackError
from attacks.findings import Estimate, Finding
from attacks.goals.classifier import FEWEST, components, folds, macro_auc, macro_f1, out_of_fold
from attacks.goals.last_round import last_views
from attacks.goals.properties import fans, habits
from attacks.goals.resampling import interval, resamples
from attacks.measures import CHANCE_AUC
from attacks.registry import Attack, Goal
from attacks.views import UploadView

_DRAWS = 3
"""Sets of histories drawn by popularity; the control is the mean over them."""


@dataclass(frozen=True, slots=True, eq=False)
class Uploads:
    """view: single uploads of one round; public: what everybody knows."""

    view: UploadView
    public: Public


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """codes: (n,) a class each, -1 for who is left out. by_length: whether the answer is the number of items, which a
    history drawn by popularity would give away with its length."""

    target: str
    codes: NDArray[np.int64]
    by_length: bool


class Attributes(Goal[Uploads, NDArray[np.float32]]):
    """An attack's answer is (n_clients, p) float32 features, finite, in the order of the view's clients."""

    name: ClassVar[str] = "attributes"
    question: ClassVar[str] = "Which gender, age, occupation, habits and favourite genres does each client have?"

    def evaluate(
        self, attack: Attack[Uploads, NDArray[np.float32]], case: Case, rng: np.random.Generator
    ) -> list[Finding]:
        """For the last recorded round of each kind, one finding for each attribute of the truth and each property.

        The measure is the AUC, for more than two classes its mean over classes, one against the rest. Controls:
        "upper", the same from true histories; "lower", from as many items for each client, drawn by popularity, the
        mean of three draws; "chance". The result is held against the better of the last two; where the question is how
        many items a client has, which such a draw would answer, against chance.
        """
        findings: list[Finding] = []
        for view in last_views(attack, case):
            features = checked(attack, Uploads(view, case.public))
            histories = case.truth.positives(view.clients)
            lengths = histories.sum(axis=1)
            drawn = [drawn_by_popularity(lengths, view.popularity, rng) for _ in range(_DRAWS)]
            parts = [components(each, rng) for each in (features, histories, *drawn)]
            for question in _questions(case, view, histories):
                findings.append(_evaluate(attack, view, question, parts, rng))
        return findings


ATTRIBUTES = Attributes()


def checked(attack: Attack[Uploads, NDArray[np.float32]], seen: Uploads) -> NDArray[np.float32]:
    """Run the attack and hold its answer to the contract of the goal. Raises AttackError."""
    answer = attack.run(seen)
    n = len(seen.view.clients)
    if answer.ndim != 2 or len(answer) != n or answer.shape[1] < 1:
        raise AttackError(f"{attack.name} answered with the shape {answer.shape}, the view asks for ({n}, p)")
    if not np.all(np.isfinite(answer)):
        raise AttackError(f"{attack.name} gave features that are not finite")
    return answer


def drawn_by_popularity(
    lengths: NDArray[np.integer], popularity: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """(n, n_items) as many distinct items as each client has, drawn without replacement by popularity."""
    with np.errstate(divide="ignore"):
        weight = np.log(popularity.astype(np.float64))
    drawn = np.zeros((len(lengths), len(popularity)), dtype=np.bool_)
    for row, length in zip(drawn, lengths.tolist(), strict=True):
        row[np.argsort(-(weight + rng.gumbel(size=len(weight))), kind="stable")[:length]] = True
    return drawn


def _questions(case: Case, view: UploadView, histories: NDArray[np.bool_]) -> Iterator[_Question]:
    for name in case.truth.attributes:
        codes, kept, of = _large_classes(case.truth.labels(name, view.clients).astype(np.int64))
        if kept > 1:
            yield _Question(name if kept == of else f"{name} ({kept} of {of} classes)", codes, by_length=False)
    for by_length, properties in ((True, habits(histories)), (False, fans(histories, case.public))):
        for name, has in properties.items():
            codes, kept, _ = _large_classes(has.astype(np.int64))
            if kept > 1:
                yield _Question(name, codes, by_length)


def _large_classes(codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], int, int]:
    """codes renumbered over classes of at least 10 clients, -1 for the rest; how many are kept, and of how many."""
    counts = np.bincount(codes[codes >= 0])
    large = np.flatnonzero(counts >= FEWEST)
    number = np.full(len(counts) + 1, -1)  # one more, which is what -1 looks up
    number[large] = np.arange(len(large))
    return number[codes], len(large), int(np.count_nonzero(counts))


def _evaluate(
    attack: Attack[Uploads, NDArray[np.float32]],
    view: UploadView,
    question: _Question,
    parts: list[NDArray[np.float64]],
    rng: np.random.Generator,
) -> Finding:
    """parts: components of the attack's features, of true histories and of each drawn set."""
    known = question.codes >= 0
    codes = question.codes[known]
    fold, weights = folds(codes, rng), resamples(len(codes), rng)
    used = parts[:2] if question.by_length else parts
    scores = [out_of_fold(each[known], codes, fold) for each in used]
    own, upper, *drawn = (macro_auc(each, codes, weights) for each in scores)
    controls = {"upper": interval(upper), "chance": Estimate.exact(CHANCE_AUC)}
    against, floor = "chance", np.full_like(own, CHANCE_AUC)
    if drawn:
        lower = np.mean(drawn, axis=0)
        controls["lower"] = interval(lower)
        if lower[0] > CHANCE_AUC:
            against, floor = "lower", lower
    others = {"macro F1": interval(macro_f1(scores[0], codes, weights))}
    if interval(upper - floor).low > 0:
        others[f"share of the way from {against} to upper"] = interval((own - floor) / (upper - floor))
    return Finding(
        attack=attack.name, goal=ATTRIBUTES.name, target=question.target, view=view.kind, rounds=(view.round_number,),
        n=len(codes), measure="AUC", result=interval(own), controls=controls,
        against=against, beyond=interval(own - floor), others=others,
    )  # fmt: skip
