"""Renyi divergences as functions of the order alpha, and from them epsilon (Mironov 2017, "Renyi Differential
Privacy").

A curve is an array of upper bounds of D_alpha(P || Q), the same for both directions of neighbours, nats, at given
orders alpha > 1; curves of adaptive releases add up. Gaussians, Poisson-sampled or not, are counted by opacus, those
sampled in cohorts of fixed size by dp_accounting; Skellam's and the pure curve neither has.

Between whole orders: t -> log E_Q[(P/Q)^(1+t)] = t D_(1+t) is convex and 0 at t = 0, so a bound that is known at whole
orders only holds for the others by linear interpolation of (alpha - 1) D_alpha.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]


def epsilon_of_curve(orders: Curve, curve: Curve, log_delta: float) -> float:
    """The least epsilon over the orders: D + log((alpha-1)/alpha) - (log delta + log alpha) / (alpha - 1).

    Canonne, Kamath, Steinke 2020, "The Discrete Gaussian for Differential Privacy", Proposition 12, which opacus uses
    too. Not below zero.
    """
    steps = orders - 1
    bounds = curve + np.log(steps) - np.log(orders) - (log_delta + np.log(orders)) / steps
    return max(0.0, float(np.min(bounds)))


def orders_around(rho: float, log_delta: float) -> Curve:
    """Orders around the best one of a rho-zCDP mechanism, alpha - 1 = sqrt(ln(1/delta) / rho) (Bun, Steinke 2016).

    opacus' own end at 1.1 and 63, too far from 1 for an epsilon of thousands and too few for one of hundredths.
    """
    best = math.sqrt(-log_delta / rho) if rho > 0 else 1e6
    return 1 + min(max(best, 1e-9), 1e12) * 10 ** (np.arange(-200, 101) / 200)


def zcdp_epsilon(rho: float, log_delta: float) -> float:
    """Epsilon of a rho-zCDP mechanism.

    Sums of discrete Gaussians have it with rho = sum 1 / (2 z^2) without any rounding (Canonne, Kamath, Steinke 2020,
    Theorem 14): the smaller bound where noise is of the order of the grid.
    """
    if not 0 < rho < math.inf:
        return 0.0 if rho <= 0 else math.inf
    orders = orders_around(rho, log_delta)
    return epsilon_of_curve(orders, rho * orders, log_delta)


def skellam(orders: Curve, *, sensitivity: float, sensitivity_l1: float, variance: float) -> Curve:
    """Skellam noise of variance v on integers that move by d2 in L2 and d1 in L1, at whole orders

        alpha d2^2 / (2 v) + min(((2 alpha - 1) d2^2 + 6 d1) / (4 v^2), 3 d1 / (2 v)).

    Agarwal, Kairouz, Liu 2021, "The Skellam Mechanism for Differentially Private Federated Learning", Theorem 3.5 and
    Corollary 3.6 (scale 1).
    """

    def whole(alpha: Curve) -> Curve:
        square = sensitivity * sensitivity
        near = ((2 * alpha - 1) * square + 6 * sensitivity_l1) / 4 / variance / variance
        return alpha * square / 2 / variance + np.minimum(near, 1.5 * sensitivity_l1 / variance)

    return _interpolated(whole, orders)


def pure(orders: Curve, epsilon: float) -> Curve:
    """Any epsilon-DP mechanism: no worse than randomised response with that epsilon (Kairouz, Oh, Viswanath 2015, "The
    Composition Theorem for Differential Privacy"), whose divergence this is."""
    if math.isinf(epsilon):
        return np.full_like(orders, math.inf)
    log_sum = np.logaddexp(orders * epsilon, (1 - orders) * epsilon) - np.logaddexp(0.0, epsilon)
    return np.minimum(epsilon, log_sum / (orders - 1))


def fixed_size_gaussian(orders: Curve, *, sample_rate: float, noise_multiplier: float) -> Curve:
    """A Gaussian on the sum over a uniform subset of fixed size, one user's vector replaced by zero.

    dp_accounting's curve: Wang, Balle, Kasiviswanathan 2019, "Subsampled Renyi Differential Privacy and Analytical
    Moments Accountant", Theorem 27. Its relation replaces a user, of which a vector that becomes zero is a case: two
    cohorts' sums may be two vectors apart, so half the noise_multiplier counts. Never more than without sampling, since
    D_alpha of mixtures is at most the largest of their parts'. orders: from 1.1 on.
    """
    from dp_accounting import GaussianDpEvent, NeighboringRelation, SampledWithoutReplacementDpEvent
    from dp_accounting.rdp import RdpAccountant

    population, log_delta = 10**9, math.log(1e-6)  # of the population only the rate counts, and of delta nothing
    event = SampledWithoutReplacementDpEvent(
        population, math.ceil(sample_rate * population), GaussianDpEvent(noise_multiplier / 2)
    )
    curve = np.empty_like(orders)
    for i, alpha in enumerate(orders):
        accountant = RdpAccountant([float(alpha)], NeighboringRelation.REPLACE_ONE)
        accountant.compose(event)
        # it gives an epsilon and no curve, but with one order only its conversion can be undone
        epsilon = float(accountant.get_epsilon(math.exp(log_delta)))
        curve[i] = epsilon - math.log1p(-1 / alpha) + (log_delta + math.log(alpha)) / (alpha - 1)
    return np.minimum(np.maximum(curve, 0.0) + 1e-12, orders / (2 * noise_multiplier**2))


def poisson_gaussian(orders: Sequence[float], *, sample_rate: float, noise_multiplier: float) -> Curve:
    """opacus' curve of the (Poisson-sampled) Gaussian, one user there or not: Mironov, Talwar, Zhang 2019."""
    from opacus.accountants.analysis.rdp import compute_rdp  # imports torch, which takes seconds

    curve = compute_rdp(q=sample_rate, noise_multiplier=noise_multiplier, steps=1, orders=list(orders))
    return np.asarray(curve, dtype=np.float64)


def _interpolated(whole: Callable[[Curve], Curve], orders: Curve) -> Curve:
    """From bounds at whole orders from 2 on to bounds at any order above 1."""
    below = np.floor(orders)
    points, place = np.unique(np.concatenate([below, below + 1]), return_inverse=True)
    values = np.zeros_like(points)  # of (alpha - 1) D_alpha: zero at alpha = 1
    beyond = points > 1
    values[beyond] = (points[beyond] - 1) * whole(points[beyond])
    low, high = values[place[: orders.size]], values[place[orders.size :]]
    share = orders - below
    with np.errstate(invalid="ignore"):  # infinities
        mixed = np.where(share > 0, (1 - share) * low + share * high, low)
    return np.asarray(mixed / (orders - 1), dtype=np.float64)
