"""Audit through the aggregate: clients with random canary vectors, and how far the aggregate leans towards each.

Andrew et al. 2024, "One-shot Empirical Privacy Estimation for Federated Learning", Algorithm 1: the cosines of canaries
with the final model's change are Gaussian, and so are those of canaries that took no part; the epsilon between the two
Gaussians is the estimate. Here the canaries are drawn orthogonal to one another, each still uniform on the sphere, so
that none disturbs another's cosine and the cosines are independent. And as the canaries themselves lengthen the
aggregate, the second Gaussian is not N(0, 1 / dimension): its deviation is that of the aggregate's part that is
orthogonal to all canaries. The lower bound is Student's and the chi-square one of `worst_pair.least_mu`.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from attacks.epsilon import gaussian
from attacks.epsilon.claims import CONFIDENCE, Claim, EpsilonBound
from attacks.epsilon.worst_pair import least_mu
from attacks.errors import AttackError

METHOD = "one-shot canaries"
Run: TypeAlias = Callable[[NDArray[np.float64], np.random.Generator], NDArray[np.float64]]
"""(canaries (k, dimension), unit vectors, rng) -> aggregate (dimension,), each canary having been one client's update
at the largest norm that is let through."""


def audit(
    run: Run,
    dimension: int,
    canaries: int,
    claim: Claim,
    *,
    rng: np.random.Generator,
    setting: str,
    confidence: float = CONFIDENCE,
) -> EpsilonBound:
    """Run once with that many canaries, at least 2 and fewer than the dimension."""
    if not 2 <= canaries < dimension:
        raise AttackError(f"{canaries} canaries do not fit: from 2 to {dimension - 1} can be told apart")
    frame = orthonormal(canaries, dimension, rng)
    aggregate = run(frame, rng)
    aggregate = aggregate / np.linalg.norm(aggregate)
    cosines = frame @ aggregate
    rest = float(np.sum((aggregate - frame.T @ cosines) ** 2))
    freedom = dimension - 1
    pooled = math.sqrt((float(np.var(cosines)) * canaries + rest) / freedom)
    mu = least_mu(float(cosines.mean()), pooled, 1 / canaries, freedom, 1 - confidence)
    unseen = math.sqrt(rest / (dimension - canaries))
    estimate = _estimate(cosines, unseen, claim.delta)
    return EpsilonBound(METHOD, claim, gaussian.epsilon(mu, claim.delta), confidence, canaries, setting, estimate)


def _estimate(cosines: NDArray[np.float64], unseen: float, delta: float) -> float:
    """Epsilon between the Gaussian fitted to the cosines and N(0, unseen^2)."""
    if unseen == 0 or np.ptp(cosines) == 0:
        return math.inf
    return gaussian.epsilon_of_fit(float(cosines.mean()) / unseen, float(cosines.std(ddof=1)) / unseen, delta)


def orthonormal(n: int, dimension: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """n unit vectors at right angles, (n, dimension), the frame being uniform (Haar)."""
    basis, triangle = np.linalg.qr(rng.normal(size=(dimension, n)))
    return (basis * np.sign(np.diagonal(triangle))).T
