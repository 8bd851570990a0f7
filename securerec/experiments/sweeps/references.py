"""What stands beside every curve and needs no epsilon: popularity, each device alone, and learners on all data."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from securerec.data.interactions import Interactions
from securerec.data.splits import Candidates, Split
from securerec.evaluation.baselines import popularity_scorer
from securerec.evaluation.ease import MOST_ITEMS
from securerec.evaluation.local_only import local_only_scorer
from securerec.evaluation.protocols import Scorer
from securerec.evaluation.tuning import ease_on_validation, ials_on_validation
from securerec.federation.results import LOCAL_ONLY_ROUNDS
from securerec.models.pfedrec import PFedRec

Build = Callable[[Interactions, Split, Candidates, np.random.Generator], Scorer]


@dataclass(frozen=True, slots=True)
class Reference:
    """label: in tables and pictures. build: from all interactions, their split, the candidates (those that choose
    settings look at the validation lists) and a generator. random: whether it is built for every seed, to tell how far
    they differ. most_items: of a catalogue that it can be computed for, None for any. published: builds another one for
    that protocol, None where it is the same.
    """

    label: str
    build: Build
    random: bool = False
    most_items: int | None = None
    published: Build | None = None


def _popularity(everything: Interactions, split: Split, candidates: Candidates, rng: np.random.Generator) -> Scorer:
    return popularity_scorer(split.train)


def _local_only(everything: Interactions, split: Split, candidates: Candidates, rng: np.random.Generator) -> Scorer:
    return local_only_scorer(split.train, split.train, PFedRec(), rounds=LOCAL_ONLY_ROUNDS, rng=rng)


def _local_only_leaking(
    everything: Interactions, split: Split, candidates: Candidates, rng: np.random.Generator
) -> Scorer:
    """With negatives that avoid the held-out items, as published."""
    return local_only_scorer(split.train, everything, PFedRec(), rounds=LOCAL_ONLY_ROUNDS, rng=rng)


def _ials(everything: Interactions, split: Split, candidates: Candidates, rng: np.random.Generator) -> Scorer:
    return ials_on_validation(split.train, candidates, rng=rng).scorer


def _ease(everything: Interactions, split: Split, candidates: Candidates, rng: np.random.Generator) -> Scorer:
    return ease_on_validation(split.train, candidates, recency=False).scorer


def _ease_recency(everything: Interactions, split: Split, candidates: Candidates, rng: np.random.Generator) -> Scorer:
    return ease_on_validation(split.train, candidates, recency=True).scorer


REFERENCES: dict[str, Reference] = {
    "popularity": Reference("popularity", _popularity),
    "local-only": Reference("PFedRec, each device alone", _local_only, random=True, published=_local_only_leaking),
    "ials": Reference("iALS, all data central", _ials),
    "ease": Reference("EASE, all data central", _ease, most_items=MOST_ITEMS),
    "ease-recency": Reference("EASE with recency, all data central", _ease_recency, most_items=MOST_ITEMS),
}
"""The last three have their settings chosen on the validation lists, as the defaults under privacy had on those of
ML-100K and ML-1M."""
