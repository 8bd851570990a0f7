"""Links uploads of two rounds by what stays: the client's items, and the direction of its whole change.

Inferred items, less what popularity says of everybody and weighted by log-inverse popularity, are nearly the same in
every round. The uploads themselves also agree between near rounds, in which the private vector moves little and
whatever the inference leaves out counts too. Both are cosines, and their sum did better than either on MovieLens-100K,
with noise or without. Each client sends one upload a round, so the guess is the assignment of the largest total
similarity rather than each upload's nearest neighbour.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from attacks.goals.linkage import LINKAGE, Links, TwoRounds
from attacks.people.inferred import cosines, prior, probabilities
from attacks.registry import register
from attacks.views import UploadView


@register(
    LINKAGE,
    name="assignment of uploads",
    kinds=("unprotected_upload", "noised_upload"),
    adversary="a curious server that receives two rounds of uploads under changing names; knows item popularity",
    source="linkage of gradients after Orekondy et al. 2018 (arXiv 1805.05838); the assignment problem, Kuhn 1955",
    summary="uploads of one client change the same items the same way in every round; names are matched by that",
)
def assignment(seen: TwoRounds) -> Links:
    """Similarity in -2 .. 2; the guess is the assignment of the largest total similarity."""
    similarity = items_of(seen.second) @ items_of(seen.first).T + cosines(seen.second, seen.first)
    taken, given = linear_sum_assignment(similarity, maximize=True)
    guess = similarity.argmax(axis=1).astype(np.int64)
    guess[taken] = given
    return Links(similarity.astype(np.float32), guess)


def items_of(view: UploadView) -> NDArray[np.float32]:
    """(n, n_items) float32, rows of length 1: inferred items beyond popularity, rare ones weighing more; 0 if none."""
    usual = prior(view)
    beyond = (probabilities(view) - usual) * -np.log(usual)
    length = np.linalg.norm(beyond, axis=1, keepdims=True)
    return np.asarray(beyond / (length + 1e-30))
