"""Ranks clients by how much of what they were inferred to have is of a theme."""

import numpy as np
from numpy.typing import NDArray

from attacks.goals.communities import COMMUNITIES, Themes
from attacks.people.inferred import probabilities
from attacks.registry import register


@register(
    COMMUNITIES,
    name="share of a theme",
    kinds=("unprotected_upload", "noised_upload"),
    adversary="a curious server that knows of some items that they share a theme, and nothing of its clients",
    source="community detection attack (arXiv 2306.08929), with items inferred by the rank-1 sign attack as the score",
    summary="the expected share of the theme among a client's items, inferred from its upload",
)
def share_of_theme(seen: Themes) -> NDArray[np.float32]:
    """(n_themes, n_clients) between 0 and 1."""
    has = probabilities(seen.view)
    return np.asarray(seen.items.astype(np.float32) @ has.T / (has.sum(axis=1) + 1e-30), dtype=np.float32)
