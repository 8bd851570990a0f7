"""The exact trade-off of Gaussians, and that it covers sums of discrete ones: their divergences are computed whole."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securerec.privacy.accounting import Cost
from securerec.privacy.accounting.accountants import SMOOTHING, composed_gaussian
from securerec.privacy.accounting.gaussian import (
    closeness,
    gdp_epsilon,
    gdp_log_delta,
    gdp_mu,
    rounding_gap,
)


def pmf(sigma: float, n: int) -> np.ndarray:
    """Probabilities of the sum of n draws of N_Z(0, sigma^2) on an odd range around 0."""
    reach = math.ceil(25 * sigma)
    one = np.exp(-(np.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
    one /= one.sum()
    total = one
    for _ in range(n - 1):
        total = np.convolve(total, one)
    return total


def shifted(noise: np.ndarray, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Both laws on one range: moved by shift (of any sign), and not moved."""
    p, q = np.pad(noise, (abs(shift), 0)), np.pad(noise, (0, abs(shift)))
    return (p, q) if shift >= 0 else (q, p)


def hockey_stick(noise: np.ndarray, shift: tuple[int, ...], epsilon: float) -> float:
    """Exact delta of independent noise of this law on each coordinate, moved by `shift`."""
    p, q = np.ones(1), np.ones(1)
    for step in shift:
        moved, still = shifted(noise, step)
        p, q = np.multiply.outer(p, moved).ravel(), np.multiply.outer(q, still).ravel()
    return float(np.maximum(p - math.exp(epsilon) * q, 0).sum())


def exact_log_delta(mu: float, epsilon: float) -> float:
    with mpmath.workdps(60):
        m, e = mpmath.mpf(mu), mpmath.mpf(epsilon)
        return float(mpmath.log(mpmath.ncdf(m / 2 - e / m) - mpmath.exp(e) * mpmath.ncdf(-m / 2 - e / m)))


@pytest.mark.parametrize("delta", [1e-12, 1e-5, 0.01, 0.4])
@pytest.mark.parametrize("mu", [3e-4, 0.02, 0.27, 1.0, 4.5, 30.0, 1414.0])
def test_epsilon_of_a_gaussian_agrees_with_sixty_digits(mu: float, delta: float) -> None:
    epsilon = gdp_epsilon(mu, math.log(delta))
    if epsilon == 0:
        assert math.erf(mu / math.sqrt(8)) <= delta  # 2 Phi(mu / 2) - 1: delta at epsilon 0
        return
    assert exact_log_delta(mu, epsilon) <= math.log(delta) + 1e-9
    assert exact_log_delta(mu, epsilon * (1 - 1e-7)) > math.log(delta)
    assert gdp_log_delta(mu, epsilon) == pytest.approx(math.log(delta), abs=1e-7)


@given(st.floats(-3, 6), st.floats(-20, -0.1))
def test_epsilon_and_mu_are_each_others_inverse_from_a_thousandth_to_a_million(power: float, log_delta: float) -> None:
    epsilon, delta = 10**power, math.exp(log_delta)
    mu = gdp_mu(epsilon, delta)
    assert gdp_epsilon(mu, math.log(delta)) <= epsilon
    assert gdp_epsilon(mu * (1 + 1e-6), math.log(delta)) > epsilon * (1 - 1e-12)


@given(st.floats(1e-9, 1e9), st.floats(1, 1.5), st.floats(-700, -0.01), st.floats(0.5, 1))
def test_epsilon_grows_with_mu_and_shrinks_with_delta(mu: float, more: float, log_delta: float, share: float) -> None:
    epsilon = gdp_epsilon(mu, log_delta)
    slack = 1 + 1e-9
    assert 0 <= epsilon <= gdp_epsilon(mu * more, log_delta) * slack
    assert gdp_epsilon(mu, log_delta * share) <= epsilon * slack


def test_no_noise_costs_everything_and_no_shift_nothing() -> None:
    assert gdp_epsilon(math.inf, -10.0) == math.inf
    assert gdp_epsilon(0.0, -10.0) == 0.0
    assert gdp_epsilon(1e9, -1e5) > 5e17


SHIFTS = [(1,), (3,), (-3,), (1, 1), (3, 0), (2, 2), (2, -2), (1, 3), (-3, 1), (3, 4), (5, 0), (0, 5)]


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize(("sigma", "n"), [(2.0, 1), (2.0, 2), (2.0, 5), (2.7, 3)])
def test_gdp_covers_true_sums_of_discrete_gaussians_in_one_and_two_dimensions(
    sigma: float, n: int, shift: tuple[int, ...]
) -> None:
    noise = pmf(sigma, n)
    noise = noise[np.abs(np.arange(noise.size) - noise.size // 2) <= 14 * sigma * math.sqrt(n)]
    norm = math.sqrt(sum(step * step for step in shift))
    cost = Cost.central(sensitivity=norm, client_sigma=sigma, min_survivors=n, dimension=len(shift))
    for r in SMOOTHING:
        smooth = cost.smoothed(r)
        if smooth is None:
            continue
        for delta in (0.1, 1e-3, 1e-6, 1e-9):
            epsilon = gdp_epsilon(smooth.mu, math.log(delta) - smooth.kappa) + 2 * smooth.kappa
            assert hockey_stick(noise, shift, epsilon) <= delta * (1 + 1e-9)


@settings(deadline=None, max_examples=60)
@given(
    sigma=st.floats(1.3, 3.0),
    n=st.integers(1, 4),
    shift=st.tuples(st.integers(-6, 6), st.integers(-6, 6)).filter(any),
    log_delta=st.floats(-18, -0.5),
)
def test_gdp_covers_any_whole_shift(sigma: float, n: int, shift: tuple[int, int], log_delta: float) -> None:
    noise = pmf(sigma, n)
    noise = noise[np.abs(np.arange(noise.size) - noise.size // 2) <= 12 * sigma * math.sqrt(n)]
    cost = Cost.central(sensitivity=math.hypot(*shift), client_sigma=sigma, min_survivors=n, dimension=2)
    whole = composed_gaussian({cost: 1}, log_delta=log_delta)
    assert whole is not None
    epsilon = gdp_epsilon(whole.mu, log_delta - whole.kappa) + 2 * whole.kappa
    assert hockey_stick(noise, shift, epsilon) <= math.exp(log_delta) * (1 + 1e-9)


def test_gdp_covers_releases_whose_shift_depends_on_what_was_released_before() -> None:
    """The second release moves by 3, or not at all, as the first one's outcome says: whatever hurts more."""
    noise, n, sigma = pmf(2.0, 2), 2, 2.0
    (first, still), (second, rest) = shifted(noise, 2), shifted(noise, 3)
    here = np.abs(np.arange(first.size) - first.size // 2) % 3 == 0
    cost = {
        Cost.central(sensitivity=float(s), client_sigma=sigma, min_survivors=n, dimension=1): 1 for s in (2, 3)
    }  # fmt: skip
    for delta in (1e-2, 1e-5):
        whole = composed_gaussian(cost, log_delta=math.log(delta))
        assert whole is not None
        epsilon = gdp_epsilon(whole.mu, math.log(delta) - whole.kappa) + 2 * whole.kappa
        reached = 0.0
        for i, (p, q) in enumerate(zip(first, still, strict=True)):
            left, right = (second, rest) if here[i] else (rest, rest)
            reached += float(np.maximum(p * left - math.exp(epsilon) * q * right, 0).sum())
        assert delta / 1e4 < reached <= delta


@pytest.mark.parametrize("r", [0.4, 0.6, 1.0])
@pytest.mark.parametrize("centre", [0.0, 0.25, 0.5])
def test_the_rounded_gaussian_is_as_close_to_the_discrete_one_as_stated(r: float, centre: float) -> None:
    """The rounding, worked out by quadrature over w for y = 0."""
    sigma, z = 1.3, np.arange(-8, 9)
    w = np.arange(-14, 14, 0.01) + centre * 0.01
    density = np.exp(-(w**2) / (2 * (sigma**2 - r**2)))
    density /= density.sum()
    every = np.arange(-40, 41)
    to = np.exp(-((z[:, None] - w) ** 2) / (2 * r**2)) / np.exp(-((every[:, None] - w) ** 2) / (2 * r**2)).sum(axis=0)
    discrete = np.exp(-(z**2) / (2 * sigma**2)) / np.exp(-(every**2) / (2 * sigma**2)).sum()
    assert np.abs(np.log(to @ density / discrete)).max() <= rounding_gap(r) + 1e-9


def test_rounding_gaps_vanish_and_say_when_nothing_is_proved() -> None:
    assert rounding_gap(1.5) == pytest.approx(4 * math.exp(-4.5 * math.pi**2), rel=1e-9, abs=0)
    assert rounding_gap(1.5) < 1e-18 and rounding_gap(2.0) < 1e-33
    assert rounding_gap(0.1) == math.inf
    assert Cost.local(sensitivity=1.0, client_sigma=1.0).smoothed(1.0) is None


@pytest.mark.parametrize("sigma", [0.5, 0.6, 0.8, 1.0])
@pytest.mark.parametrize("n", [2, 3, 6])
def test_a_sum_of_discrete_gaussians_is_as_close_to_one_as_stated(sigma: float, n: int) -> None:
    total = pmf(sigma, n)
    x = np.arange(total.size) - total.size // 2
    near = np.abs(x) <= 6 * sigma * math.sqrt(n)
    log_one = -(x**2) / (2 * n * sigma**2) - math.log(np.exp(-(x**2) / (2 * n * sigma**2)).sum())
    assert np.abs(np.log(total[near]) - log_one[near]).max() <= closeness(sigma, n)


def test_closeness_is_small_but_never_lost() -> None:
    assert closeness(5.0, 1) == 0.0
    assert closeness(2.0, 943) == pytest.approx(10 * math.exp(-4 * math.pi**2), rel=1e-5, abs=0)
    assert closeness(2.0, 943) < 1e-16
