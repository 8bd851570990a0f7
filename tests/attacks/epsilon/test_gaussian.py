import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from attacks.epsilon import gaussian


def hockey_stick(mean: float, deviation: float, epsilon: float) -> float:
    """Integral of (p - e^epsilon q)+ for p = N(mean, deviation^2) and q = N(0, 1), on a grid."""
    reach = 12 * max(1, deviation)
    x = np.linspace(min(0, mean) - reach, max(0, mean) + reach, 400_001)
    p = stats.norm.pdf(x, mean, deviation)
    return float(integrate.trapezoid(np.maximum(p - np.exp(epsilon + stats.norm.logpdf(x)), 0), x))


@pytest.mark.parametrize(("mu", "epsilon"), [(0.25, 0.3), (1.0, 0.0), (1.0, 1.0), (2.5, 4.0), (6.0, 30.0)])
def test_delta_is_the_integral_that_defines_it(mu: float, epsilon: float) -> None:
    assert gaussian.delta(mu, epsilon) == pytest.approx(hockey_stick(mu, 1.0, epsilon), rel=1e-6)


def test_published_noise_multipliers_have_their_epsilon() -> None:
    for z, epsilon in ((3.73, 1.0), (1.99, 2.0), (1.08, 4.0), (0.60, 8.0)):
        assert gaussian.epsilon(1 / z, 1e-5) == pytest.approx(epsilon, rel=3e-3)


@settings(deadline=None)
@given(mu=st.floats(-2, 4).map(lambda x: 10**x), delta=st.sampled_from([1e-2, 1e-5, 1e-9]))
def test_epsilon_undoes_delta(mu: float, delta: float) -> None:
    epsilon = gaussian.epsilon(mu, delta)
    assert epsilon >= 0
    if epsilon > 0:
        # at mu of thousands the last digit of epsilon is worth this much of delta
        assert gaussian.delta(mu, epsilon) == pytest.approx(delta, rel=1e-4)
    else:
        assert gaussian.delta(mu, 0.0) <= delta


def test_no_distance_has_no_epsilon_and_an_endless_one_no_end() -> None:
    assert gaussian.epsilon(0.0, 1e-5) == 0.0
    assert gaussian.epsilon(math.inf, 1e-5) == math.inf


@pytest.mark.parametrize("mean", [0.0, 0.3, -1.7, 4.0])
@pytest.mark.parametrize("deviation", [0.5, 0.97, 1.0, 1.2, 3.0])
@pytest.mark.parametrize("delta", [1e-2, 1e-5])
def test_epsilon_of_a_fit_is_the_least_that_both_integrals_allow(mean: float, deviation: float, delta: float) -> None:
    epsilon = gaussian.epsilon_of_fit(mean, deviation, delta)
    worst = max(hockey_stick(mean, deviation, epsilon), hockey_stick(-mean / deviation, 1 / deviation, epsilon))
    assert worst <= delta * (1 + 1e-4)
    if epsilon > 0:
        assert worst == pytest.approx(delta, rel=1e-3)
    if deviation == 1.0:
        assert epsilon == pytest.approx(gaussian.epsilon(abs(mean), delta), rel=1e-9)
