"""Finds the upload of a person of whom a few items are known, among the items inferred from each upload."""

import numpy as np
from numpy.typing import NDArray

from attacks.goals.profiles import REIDENTIFICATION, Profiles, Suspects
from attacks.people.inferred import prior, probabilities
from attacks.registry import register

_ECCENTRICITY = 1.5
"""Deviations by which the best must lead the second best to be believed: as Narayanan and Shmatikov chose."""

_ODDS = 10.0
"""Times that the best must be likelier than the second best to be believed."""

_SLIP = 1e-6
"""Probability left for an item that the inference rules out."""


@register(
    REIDENTIFICATION,
    name="similar profile",
    kinds=("unprotected_upload", "noised_upload"),
    adversary="a curious server that knows a few items of a person, from a public profile or from talk",
    source="Narayanan and Shmatikov, IEEE S&P 2008: scoreboard with log-inverse popularity, and eccentricity",
    summary="adds up how likely an upload's client has each known item, rare ones counting more",
)
def similar(seen: Profiles) -> Suspects:
    """Weighted sums; sure where the best leads the second best by 1.5 deviations."""
    weight = 1 / np.log(np.maximum(seen.view.popularity, 2))
    scores = _known(seen) * weight.astype(np.float32) @ probabilities(seen.view).T
    best = _two_best(scores)
    lead = (best[:, 1] - best[:, 0]) / (scores.std(axis=1) + 1e-12)
    return Suspects(scores, lead > _ECCENTRICITY)


@register(
    REIDENTIFICATION,
    name="likeliest profile",
    kinds=("unprotected_upload", "noised_upload"),
    adversary="a curious server that knows a few items of a person, from a public profile or from talk",
    source="maximum likelihood over the items inferred by the rank-1 sign attack; compare Narayanan and Shmatikov 2008",
    summary="how likely the known items were drawn from each client's inferred list: shorter lists that hold them win",
)
def likeliest(seen: Profiles) -> Suspects:
    """Log-likelihoods; sure where the best is ten times likelier than the second best."""
    has = probabilities(seen.view) + np.float32(_SLIP) * prior(seen.view)
    scores = _known(seen) @ np.log(has / has.sum(axis=1, keepdims=True)).T
    best = _two_best(scores)
    return Suspects(scores.astype(np.float32), best[:, 1] - best[:, 0] > np.log(_ODDS))


def _known(seen: Profiles) -> NDArray[np.float32]:
    """(n_targets, n_items) float32, 1 where the item is known."""
    known = np.zeros((len(seen.known), seen.view.n_items), dtype=np.float32)
    np.put_along_axis(known, seen.known.astype(np.int64), 1, axis=1)
    return known


def _two_best(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n_targets, 2), second best first; a lone candidate leads by nothing."""
    return np.partition(scores, -2, axis=1)[:, -2:] if scores.shape[1] > 1 else np.repeat(scores, 2, axis=1)
