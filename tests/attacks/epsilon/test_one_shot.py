import math

import numpy as np
import pytest

from attacks.epsilon import Claim, gaussian, one_shot
from attacks.errors import AttackError

DELTA, DIMENSION = 1e-5, 300


def claim(mu: float) -> Claim:
    return Claim("user", "a canary is in or out", DELTA, gaussian.epsilon(mu, DELTA), mu)


def summed(mu: float) -> one_shot.Run:
    return lambda canaries, rng: mu * canaries.sum(axis=0) + rng.normal(size=canaries.shape[1])


def audit(mu: float, stated: float, seed: int, canaries: int = 100) -> one_shot.EpsilonBound:
    rng = np.random.default_rng(seed)
    return one_shot.audit(summed(mu), DIMENSION, canaries, claim(stated), rng=rng, setting="here")


def test_canaries_are_orthonormal_and_point_anywhere() -> None:
    rng = np.random.default_rng(0)
    frame = one_shot.orthonormal(20, 50, rng)
    np.testing.assert_allclose(frame @ frame.T, np.eye(20), atol=1e-12)
    first = np.array([one_shot.orthonormal(3, 8, rng) for _ in range(2000)])
    assert np.abs(first.mean(axis=0)).max() < 5 / math.sqrt(8 * 2000)
    np.testing.assert_allclose((first**2).mean(axis=0), 1 / 8, rtol=0.15)


def test_audits_of_true_noise_rarely_exceed_its_epsilon() -> None:
    assert sum(audit(1.57, 1.57, seed).refutes_noise for seed in range(50)) <= 5


@pytest.mark.parametrize(("mu", "share"), [(0.5, 0.3), (1.57, 0.65), (4.0, 0.75)])
def test_audits_of_true_noise_come_near_its_epsilon(mu: float, share: float) -> None:
    bounds = [audit(mu, mu, seed) for seed in range(9)]
    exact = gaussian.epsilon(mu, DELTA)
    assert share * exact < np.median([bound.lower for bound in bounds]) < exact
    assert np.median([bound.estimate for bound in bounds]) == pytest.approx(exact, rel=0.5)


def test_noise_a_quarter_too_small_is_refuted() -> None:
    assert audit(4 / 0.75, 4.0, 0).refutes_noise


def test_a_sum_without_noise_has_no_bound() -> None:
    def bare(canaries: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return canaries.sum(axis=0)

    bound = one_shot.audit(bare, DIMENSION, 10, claim(1.0), rng=np.random.default_rng(0), setting="here")
    assert bound.refutes_claim and bound.lower > 1e6


def test_more_canaries_than_directions_are_refused() -> None:
    with pytest.raises(AttackError, match="do not fit"):
        audit(1.0, 1.0, 0, canaries=DIMENSION)
