"""The likelihood-ratio membership test on a sum: the others' sum is near a Gaussian, so the best test is known.

y is the sum of n others plus x (the target is in) or plus nothing. By the central limit theorem the others' sum is near
N(n mu, n Sigma), so log p(y - x) - log p(y) = (y - n mu)' (n Sigma)^-1 x - x' (n Sigma)^-1 x / 2. Sigma is taken to be
one block an item row: within a row the uploads lie along few directions, across rows they depend on each other less.
"""

import numpy as np
from numpy.typing import NDArray

from attacks.goals.membership import MEMBERSHIP, Trials
from attacks.registry import register

_RIDGE = 0.01
"""Part of the mean variance of all values that is added to each: rows that hardly anybody else changes would otherwise
count without bound."""


@register(
    MEMBERSHIP,
    name="likelihood-ratio test on a sum",
    kinds=("unprotected_upload", "noised_upload"),
    adversary="a curious server that knows the client's update, and mean and covariance of everybody else's",
    source="Ngo, Ateniese et al., 'Secure Aggregation Is Not Private Against Membership Inference Attacks', 2024",
    summary="the others' sum is near a Gaussian: is the sum less the update more likely under it than the sum?",
)
def likelihood_ratio(trials: Trials) -> NDArray[np.float64]:
    """(t,) log-likelihood ratios, above 0 for "in"."""
    n_items, dim, _ = trials.covariance.shape
    variance = np.trace(trials.covariance, axis1=1, axis2=2).mean() / dim
    ridge = (_RIDGE * variance + 1e-30) * np.eye(dim)
    candidates = np.moveaxis(trials.candidates, 0, 2).astype(np.float64)
    weighed = np.linalg.solve(trials.others * (trials.covariance + ridge), candidates)
    apart = np.moveaxis(trials.totals - trials.others * trials.mean, 0, 2) - candidates / 2
    return np.asarray(np.sum(apart * weighed, axis=(0, 1)))
