"""Who belongs to the community around a theme? Clients are ranked by their upload alone, with no labels to learn from.

A theme is a genre; its community, the tenth of the clients with the largest share of it among their items. The genres
are those in which clients differ most.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from attacks.case import Case, Public
from attacks.errors import AttackError
from attacks.findings import Estimate, Finding
from attacks.goals.last_round import last_views
from attacks.goals.properties import genre_shares
from attacks.goals.resampling import interval, resamples, weighted_auc
from attacks.measures import CHANCE_AUC, above, proportion
from attacks.registry import Attack, Goal
from attacks.views import UploadView

_COMMUNITY = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Themes:
    """view: single uploads of one round; public: what everybody knows; items: (n_themes, n_items) bool."""

    view: UploadView
    public: Public
    items: NDArray[np.bool_]


class Communities(Goal[Themes, NDArray[np.float32]]):
    """An attack's answer is (n_themes, n_clients) float32, finite, higher for who more likely belongs."""

    name: ClassVar[str] = "communities"
    question: ClassVar[str] = "Which clients belong to the community around a theme?"

    def evaluate(
        self, attack: Attack[Themes, NDArray[np.float32]], case: Case, rng: np.random.Generator
    ) -> list[Finding]:
        """For the last recorded round of each kind, one finding for each of five genres; none where genres are unknown.

        "activity" ranks by the true number of items, few or many first, whichever does better.
        """
        findings: list[Finding] = []
        for view in last_views(attack, case):
            if case.public.genres is None:
                continue
            histories = case.truth.positives(view.clients)
            shares = genre_shares(histories, case.public)
            if not shares:
                continue
            places = [case.public.genre_names.index(genre) for genre in shares]
            answer = checked(attack, Themes(view, case.public, case.public.genres[:, places].T))
            lengths = histories.sum(axis=1)
            for (genre, share), scores in zip(shares.items(), answer, strict=True):
                member = share >= np.quantile(share, 1 - _COMMUNITY)
                if not member.all():
                    findings.append(_score(attack, view, genre, scores, member, lengths, rng))
        return findings


COMMUNITIES = Communities()


def checked(attack: Attack[Themes, NDArray[np.float32]], seen: Themes) -> NDArray[np.float32]:
    """Run the attack and hold its answer to the contract of the goal. Raises AttackError."""
    answer = attack.run(seen)
    shape = (len(seen.items), len(seen.view.clients))
    if answer.shape != shape:
        raise AttackError(f"{attack.name} answered with the shape {answer.shape}, the evidence asks for {shape}")
    if not np.all(np.isfinite(answer)):
        raise AttackError(f"{attack.name} gave scores that are not finite")
    return answer


def _score(
    attack: Attack[Themes, NDArray[np.float32]],
    view: UploadView,
    genre: str,
    scores: NDArray[np.float32],
    member: NDArray[np.bool_],
    lengths: NDArray[np.integer],
    rng: np.random.Generator,
) -> Finding:
    n, size = len(member), int(member.sum())
    weights = resamples(n, rng)
    own, busy = interval(weighted_auc(scores, member, weights)), weighted_auc(lengths, member, weights)
    order = rng.permutation(n)
    called = order[np.argsort(-scores[order], kind="stable")[:size]]
    return Finding(
        attack=attack.name, goal=COMMUNITIES.name, target=f"community around {genre}", view=view.kind,
        rounds=(view.round_number,), n=n, measure="AUC", result=own,
        controls={
            "chance": Estimate.exact(CHANCE_AUC),
            "activity": interval(busy if busy[0] >= CHANCE_AUC else 1 - busy),
        },
        against="chance", beyond=above(own, CHANCE_AUC),
        others={f"precision at {size}": proportion(member[called])},
    )  # fmt: skip
