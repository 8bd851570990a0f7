"""Renyi curves held against divergences that are summed whole."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from securerec.privacy.accounting import Skellam, count, curves

ORDERS = np.array([1.05, 1.5, 2.0, 2.5, 3.0, 7.3, 20.0, 64.0])


def skellam_log_pmf(variance: float, reach: int) -> np.ndarray:
    """log of exp(-v) I_|k|(v) for k = -reach, ..., reach; where that underflows, its leading term (v / 2)^k / k!."""
    k = np.abs(np.arange(-reach, reach + 1))
    values = special.ive(k, variance)
    leading = k * math.log(variance / 2) - special.gammaln(k + 1) - variance
    return np.where(values > 1e-290, np.log(np.maximum(values, 1e-290)), leading)


def renyi(log_p: np.ndarray, log_q: np.ndarray, alpha: float) -> float:
    return float(np.logaddexp.reduce(alpha * log_p + (1 - alpha) * log_q)) / (alpha - 1)


@pytest.mark.parametrize(("variance", "shifts"), [
    (2.0, (1,)), (5.0, (1,)), (30.0, (3,)), (400.0, (10,)), (30.0, (1, -2)), (100.0, (5, 5, -5)), (9.0, (1,) * 20),
])  # fmt: skip
def test_skellams_curve_covers_its_true_divergence(variance: float, shifts: tuple[int, ...]) -> None:
    reach = 200 + int(12 * math.sqrt(variance))
    log_p = skellam_log_pmf(variance, reach)
    norm, norm_l1 = math.sqrt(sum(s * s for s in shifts)), sum(map(abs, shifts))
    bound = curves.skellam(ORDERS, sensitivity=norm, sensitivity_l1=norm_l1, variance=variance)
    for alpha, most in zip(ORDERS, bound, strict=True):
        true = sum(renyi(log_p[: log_p.size - abs(s)], log_p[abs(s) :], alpha) for s in shifts)
        assert true <= most * (1 + 1e-9)


def test_skellams_curve_is_near_the_gaussians_where_noise_is_large() -> None:
    orders = ORDERS[ORDERS >= 2]
    bound = curves.skellam(orders, sensitivity=1000.0, sensitivity_l1=30_000.0, variance=1e6)
    assert bound == pytest.approx(orders / 2, rel=0.07)
    assert (bound >= orders / 2).all()


@pytest.mark.parametrize(("variance", "shift"), [(20.0, 2), (60.0, 4), (2000.0, 30)])
def test_skellams_epsilon_covers_the_true_loss_of_one_and_two_releases(variance: float, shift: int) -> None:
    log_p = skellam_log_pmf(variance, 200 + int(15 * math.sqrt(variance)))
    p = np.exp(log_p)
    moved, still = np.pad(p, (shift, 0)), np.pad(p, (0, shift))
    near = np.maximum(moved, still) > 1e-14
    moved, still = moved[near], still[near]
    for delta in (1e-2, 1e-5):
        for n in (1, 2):
            epsilon = count({Skellam(shift, shift, variance): n}, delta=delta).epsilon
            if n == 1:
                reached = np.maximum(moved - math.exp(epsilon) * still, 0).sum()
            else:
                reached = np.maximum(np.outer(moved, moved) - math.exp(epsilon) * np.outer(still, still), 0).sum()
            assert delta / 1e5 < reached <= delta


@settings(deadline=None, max_examples=50)
@given(st.floats(1e-3, 20), st.integers(1, 6))
def test_a_pure_losss_curve_is_randomised_responses(epsilon: float, buckets: int) -> None:
    # by logarithms: 1 - keep has lost half of its digits where epsilon is large
    keep = -math.log1p(math.exp(-epsilon))
    log_p, log_q = np.array([keep, keep - epsilon]), np.array([keep - epsilon, keep])
    for alpha, most in zip(ORDERS, curves.pure(ORDERS, epsilon), strict=True):
        assert most == pytest.approx(renyi(log_p, log_q, alpha), rel=1e-9)
        # discrete Laplace noise on whole numbers that move by `buckets` is one such mechanism
        x = np.arange(-400, 401)
        log_laplace = -np.abs(x) * epsilon / buckets
        log_laplace -= np.logaddexp.reduce(log_laplace)
        assert renyi(log_laplace[:-buckets], log_laplace[buckets:], alpha) <= most + 1e-6


def test_fixed_size_samplings_curve_covers_the_true_divergence() -> None:
    """Fixed-size sampling of two users, one of whom takes part: the mixture's divergence, by quadrature."""
    z, x = 3.0, np.arange(-60, 60, 0.002)

    def log_density(mean: float) -> np.ndarray:
        return -((x - mean) ** 2) / (2 * z**2) - math.log(z * math.sqrt(2 * math.pi)) + math.log(0.002)

    # the other user's vector is -1, this one's +1 or 0
    with_user = np.logaddexp(log_density(1.0), log_density(-1.0)) - math.log(2)
    without = np.logaddexp(log_density(0.0), log_density(-1.0)) - math.log(2)
    orders = ORDERS[ORDERS < 30]
    bound = curves.fixed_size_gaussian(orders, sample_rate=0.5, noise_multiplier=z)
    for alpha, most in zip(orders, bound, strict=True):
        assert max(renyi(with_user, without, alpha), renyi(without, with_user, alpha)) <= most
    assert (bound <= orders / (2 * z**2)).all()  # never more than without sampling


def test_fixed_size_sampling_helps() -> None:
    orders = np.array([2.0, 4.0, 8.0])
    sampled = curves.fixed_size_gaussian(orders, sample_rate=0.01, noise_multiplier=4.0)
    assert (sampled < 0.05 * orders / (2 * 4.0**2)).all()


def test_orders_surround_the_best_one_even_for_epsilons_of_thousands() -> None:
    for rho in (1e-12, 1e-3, 1.0, 1e3, 1e12):
        orders = curves.orders_around(rho, math.log(1e-5))
        assert (orders > 1).all() and (np.diff(orders) > 0).all()
