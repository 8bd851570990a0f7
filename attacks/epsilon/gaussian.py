"""The exact privacy of Gaussian noise: how epsilon, delta and the distance mu between two Gaussians go together."""

import math
from collections.abc import Callable

import numpy as np
from scipy import optimize, special

HUGE = 1e5
"""From this distance on epsilon is beyond 5e9 and floats lose delta's digits: as good as infinite."""


def delta(mu: float, epsilon: float) -> float:
    """The least delta with which N(0, 1) and N(mu, 1) are (epsilon, delta)-indistinguishable.

    Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu) (Balle, Wang 2018, "Improving the Gaussian Mechanism for
    Differential Privacy", Theorem 8). mu > 0.
    """
    distance = epsilon / mu
    return float(special.ndtr(mu / 2 - distance) - math.exp(epsilon + special.log_ndtr(-mu / 2 - distance)))


def epsilon(mu: float, delta_: float) -> float:
    """The epsilon of a mu-GDP mechanism at a delta in (0, 1): 0 where delta alone covers it, infinite for huge mu."""
    if mu > HUGE:
        return math.inf
    if mu <= 0 or delta(mu, 0.0) <= delta_:
        return 0.0
    most = mu**2 / 2 - mu * float(special.ndtri(delta_))  # here the first term of delta alone is delta_
    return float(optimize.brentq(lambda eps: delta(mu, eps) - delta_, 0.0, most, maxiter=500))


def epsilon_of_fit(mean: float, deviation: float, delta_: float) -> float:
    """Epsilon between N(mean, deviation^2) and N(0, 1), the larger of both directions.

    Andrew et al. 2024, "One-shot Empirical Privacy Estimation for Federated Learning", Section 3: fits rarely have
    equal deviations, and the density ratio is then above e^epsilon outside or inside an interval. Infinite for
    huge means.
    """
    if abs(mean) > HUGE * max(1.0, deviation) or not 1 / HUGE < deviation < HUGE:
        return math.inf
    # exchanging the two and measuring in the first one's deviations gives the other direction
    forward = _least(lambda eps: _fit_delta(mean, deviation, eps), delta_)
    backward = _least(lambda eps: _fit_delta(-mean / deviation, 1 / deviation, eps), delta_)
    return max(forward, backward)


def _least(delta_of: Callable[[float], float], delta_: float) -> float:
    if delta_of(0.0) <= delta_:
        return 0.0
    most = 1.0
    while delta_of(most) > delta_:
        most *= 2
    return float(optimize.brentq(lambda eps: delta_of(eps) - delta_, 0.0, most))


def _fit_delta(mean: float, deviation: float, epsilon: float) -> float:
    """P[ratio > e^epsilon] - e^epsilon Q[ratio > e^epsilon] for P = N(mean, deviation^2) and Q = N(0, 1).

    The logarithm of the ratio is a x^2 + b x + c + epsilon.
    """
    a, b = (1 - deviation**-2) / 2, mean * deviation**-2
    c = -(mean**2) * deviation**-2 / 2 - math.log(deviation) - epsilon
    if abs(a) < 1e-9:
        if mean == 0:
            return 0.0
        low, high = (-c / b, math.inf) if b > 0 else (-math.inf, -c / b)
        outside = False
    else:
        square = b * b - 4 * a * c
        if square <= 0:
            return 1 - math.exp(epsilon) if a > 0 else 0.0
        # the root that adds numbers of one sign, then the other through the product of both
        half = -(b + math.copysign(math.sqrt(square), b)) / 2
        low, high = sorted((half / a, c / half))
        outside = a > 0
    inner = _log_between((low - mean) / deviation, (high - mean) / deviation, outside)
    # there the ratio is at least e^epsilon, so only rounding could make the second term the larger
    return math.exp(inner) - math.exp(min(inner, epsilon + _log_between(low, high, outside)))


def _log_between(low: float, high: float, outside: bool) -> float:
    """Logarithm of a standard normal's probability inside or outside (low, high)."""
    if outside:
        return float(np.logaddexp(special.log_ndtr(low), special.log_ndtr(-high)))
    if low > 0:
        low, high = -high, -low
    most, less = float(special.log_ndtr(high)), float(special.log_ndtr(low))
    return most + math.log1p(-math.exp(less - most)) if less < most else -math.inf
