"""Whose uploads are these two? The clients of a second round are matched to those of a first, both without names.

At most three pairs of rounds of each kind: the last two consecutive ones that were recorded, the two nearest the middle
of the run, since noise hides more in some rounds than in others, and the two farthest apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from attacks.case import Case, Public
from attacks.errors import AttackError
from attacks.findings import Estimate, Finding
from attacks.measures import above, proportion, top_k
from attacks.registry import Attack, Goal
from attacks.views import DenseUploads, OpenedSum, RowUploads, UploadView


@dataclass(frozen=True, slots=True, eq=False)
class TwoRounds:
    """Two rounds in which clients came under new names: those of each are 0 .. n - 1 in an order drawn by lot."""

    first: UploadView
    second: UploadView
    public: Public


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """similarity: (n_second, n_first) float32, finite, higher where the two uploads more likely come from one client.
    guess: (n_second,) int64, the client of the first round that each of the second is taken for."""

    similarity: NDArray[np.float32]
    guess: NDArray[np.int64]


class Linkage(Goal[TwoRounds, Links]):
    name: ClassVar[str] = "linkage"
    question: ClassVar[str] = "Which uploads of two rounds, sent under changing names, come from the same client?"

    def evaluate(self, attack: Attack[TwoRounds, Links], case: Case, rng: np.random.Generator) -> list[Finding]:
        """One finding for each kind and pair of rounds that have a client in common. The measure is the share of
        right guesses; "activity" is what matching by the number of changed rows reaches, or by the upload's length
        where every row is changed.
        """
        findings = []
        for kind in case.recording.kinds():
            if kind not in attack.kinds or kind == "opened_sum":
                continue
            for first, second in pairs(case.recording.rounds(kind)):
                views = case.recording.view(kind, first), case.recording.view(kind, second)
                orders = tuple(rng.permutation(len(view.clients)) for view in views)
                names = [view.clients[order] for view, order in zip(views, orders, strict=True)]
                if not np.any(np.isin(names[1], names[0])):
                    continue
                nameless = [anonymous(view, order) for view, order in zip(views, orders, strict=True)]
                seen = TwoRounds(nameless[0], nameless[1], case.public)
                findings.append(_score(attack, seen, checked(attack, seen), names[0], names[1]))
        return findings


LINKAGE = Linkage()


def pairs(rounds: Sequence[int]) -> list[tuple[int, int]]:
    """Of rising round numbers: two consecutive ones at the end and two nearest the middle, as far as there are such,
    and the two farthest apart."""
    consecutive = [(a, b) for a, b in zip(rounds, rounds[1:], strict=False) if b == a + 1]
    chosen = consecutive[-1:] + [(rounds[0], rounds[-1])] if len(rounds) > 1 else []
    if consecutive:
        chosen.append(min(consecutive, key=lambda pair: abs(sum(pair) - rounds[0] - rounds[-1])))
    return sorted(set(chosen))


def anonymous(view: UploadView, order: NDArray[np.int64]) -> UploadView:
    """The same view of single uploads, its clients in another order and named by it. Raises AttackError for a sum."""
    uploads, names = view.uploads, np.arange(len(order), dtype=np.int64)
    if isinstance(uploads, OpenedSum):
        raise AttackError("a sum has no uploads to link: apply this to the kinds of single uploads")
    moved: DenseUploads | RowUploads
    if isinstance(uploads, DenseUploads):
        moved = DenseUploads(names, uploads.delta[order])
    else:
        spans = [slice(uploads.offsets[at], uploads.offsets[at + 1]) for at in order.tolist()]
        moved = RowUploads.from_lists(names, [uploads.rows[s] for s in spans], [uploads.delta[s] for s in spans])
    return UploadView(view.kind, view.round_number, view.table, view.popularity, view.population, moved)


def checked(attack: Attack[TwoRounds, Links], seen: TwoRounds) -> Links:
    """Run the attack and hold its answer to the contract of `Links`. Raises AttackError."""
    answer = attack.run(seen)
    n_first, n_second = len(seen.first.clients), len(seen.second.clients)
    if answer.similarity.shape != (n_second, n_first) or answer.guess.shape != (n_second,):
        raise AttackError(
            f"{attack.name} answered with the shapes {answer.similarity.shape} and {answer.guess.shape}, "
            f"the views ask for {(n_second, n_first)} and {(n_second,)}"
        )
    if not np.all(np.isfinite(answer.similarity)):
        raise AttackError(f"{attack.name} gave similarities that are not finite")
    if answer.guess.min() < 0 or answer.guess.max() >= n_first:
        raise AttackError(f"{attack.name} guessed at clients outside 0 .. {n_first - 1}")
    return answer


def _score(
    attack: Attack[TwoRounds, Links],
    seen: TwoRounds,
    answer: Links,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
) -> Finding:
    """first, second: the true names, in the order of the views."""
    back = np.flatnonzero(np.isin(second, first))
    order = np.argsort(first)
    right = order[np.searchsorted(first, second[back], sorter=order)]
    result, chance = proportion(answer.guess[back] == right), 1 / len(first)
    similarity = answer.similarity[back]
    apart = -np.abs(activity(seen.second)[back, None] - activity(seen.first)[None])
    return Finding(
        attack=attack.name, goal=LINKAGE.name, target="client behind each upload", view=seen.second.kind,
        rounds=(seen.first.round_number, seen.second.round_number), n=len(back), measure="top-1", result=result,
        controls={"chance": Estimate.exact(chance), "activity": proportion(top_k(apart, right, 1))},
        against="chance", beyond=above(result, chance),
        others={
            "most similar is right": proportion(top_k(similarity, right, 1)),
            "top-10": proportion(top_k(similarity, right, 10)),
        },
    )  # fmt: skip


def activity(view: UploadView) -> NDArray[np.float64]:
    """(n,) rows that each client changed, where others are zero; else the logarithm of its upload's length."""
    if isinstance(view.uploads, RowUploads):
        return np.diff(view.uploads.offsets).astype(np.float64)
    squares = [np.einsum("bid,bid->b", block, block, dtype=np.float64) for block in view.blocks()]
    return np.asarray(np.log(np.concatenate(squares) + 1e-30) / 2)
