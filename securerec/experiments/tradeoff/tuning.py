"""What epsilon would be if a run's settings had been the best of several private trials.

Papernot, Steinke, "Hyperparameter Tuning with Renyi Differential Privacy", ICLR 2022 (arXiv 2110.03620). The number of
trials K is drawn at random from a law fixed beforehand; each trial is private by itself, with fresh noise, its score
included; the best one alone is released, and neither K nor any other trial. If one trial is (lambda, eps(lambda))-RDP
at every order, the selection is (lambda, eps')-RDP with

    eps' = eps(lambda) + min over l >= 1 of (1 + eta) ((1 - 1/l) eps(l) + log(1/gamma) / l) + log(E[K]) / (lambda - 1)

for the truncated negative binomial law with parameters eta and gamma (Theorem 2; eta = 1 the geometric, eta = 0 the
logarithmic law), and with

    eps' = eps(lambda) + mu d + log(mu) / (lambda - 1)

for the Poisson law of mean mu >= 1, where one trial is (log(1 + 1/(lambda - 1)), d)-DP (Theorem 6; with probability
exp(-mu) there is no trial and nothing is released). A Renyi divergence does not fall with its order, so the bound at
a higher order holds at a lower one too.

Liu and Talwar ("Private Selection from Private Candidates", STOC 2019) show that stopping at random after a geometric
number of trials costs at most three times a pure epsilon; the bound above is the sharper one for Gaussian noise.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from securerec.errors import ConfigError, PrivacyError
from securerec.privacy.accounting import Cost
from securerec.privacy.accounting.figures import central_losses, local_losses
from securerec.privacy.events import DistributedGaussianSum, Event

Law = Literal["geometric", "logarithmic", "Poisson"]
LAWS: tuple[Law, ...] = ("geometric", "logarithmic", "Poisson")
MOST_TRIALS = 1_000_000.0
ASSUMPTIONS = (
    "'best of K': as if after each trial the search had ended with the probability 1/K, their number kept secret, each"
    " trial private by itself with fresh noise and its score within its own budget, and only the best one released"
    " (Papernot, Steinke 2022, Theorem 2, by Renyi divergences); the defaults of this program were not chosen that way"
)

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Orders above 1 -> Renyi epsilons of one trial."""

BEYOND_ONE = np.logspace(-4, 5, 1801)
"""Orders that are looked at, less 1, rising. Each gives a bound."""

_STEADY = 0.01
"""Nearer to order 1 the conversion between Renyi divergences and epsilons loses its digits, and gives nothing."""


@dataclass(frozen=True, slots=True)
class TunedEpsilon:
    """epsilons: of the selection at `delta`, by the law of the number of trials, all of the mean `mean_trials`; the law
    must be fixed beforehand. one_trial: epsilon of a single trial by the same Renyi accounting, so that the two compare
    like with like.
    """

    epsilons: dict[Law, float]
    delta: float
    mean_trials: float
    one_trial: float

    @property
    def epsilon(self) -> float:
        """Under the geometric law: after each trial it ends with the probability 1 / mean_trials."""
        return self.epsilons["geometric"]


def tuned_epsilon(
    events: Iterable[Event], *, mean_trials: float, delta: float, against: Literal["central", "local"]
) -> TunedEpsilon:
    """Epsilon of the best of about `mean_trials` runs, each with a ledger like `events`.

    Raises PrivacyError for events that are no Gaussian sums, ConfigError for a mean below 1 or above a million.
    """
    if not 1 <= mean_trials <= MOST_TRIALS:
        raise ConfigError(f"the mean number of trials must lie between 1 and {MOST_TRIALS:,.0f}, not {mean_trials:g}")
    rho, kappa = _gaussian(tuple(events), against)
    curve = concentrated(rho, kappa)
    single = epsilon_of(curve(1 + BEYOND_ONE), delta)
    each = {law: epsilon_of(selection(curve, law, mean_trials), delta) for law in LAWS}
    return TunedEpsilon(each, delta, mean_trials, single)


def concentrated(rho: float, kappa: float = 0.0) -> Curve:
    """The Renyi curve of Gaussian sums: lambda rho, rho = sum of 1 / (2 z^2).

    kappa: all the sums' law is within exp(+-kappa) of that of discrete Gaussians. Then the integral of p^lambda
    q^(1 - lambda) grows by at most exp((2 lambda - 1) kappa), and the divergence by that exponent / (lambda - 1).
    """
    return lambda orders: rho * orders + kappa * (2 * orders - 1) / (orders - 1)


def selection(curve: Curve, law: Law, mean: float, beyond: NDArray[np.float64] = BEYOND_ONE) -> NDArray[np.float64]:
    """Renyi epsilons of the selection at the orders 1 + beyond, for a law of the number of trials with that mean."""
    orders = 1 + beyond
    single = curve(orders)
    if law == "Poisson":
        bound = single + mean * _deltas(single, np.log1p(1 / beyond), beyond) + math.log(mean) / beyond
    else:
        eta = 1.0 if law == "geometric" else 0.0
        log_gamma = math.log(gamma_of(eta, mean))
        spread = (1 + eta) * float(np.min((1 - 1 / orders) * single - log_gamma / orders))
        bound = single + spread + math.log(mean) / beyond
    return np.asarray(np.minimum.accumulate(bound[::-1])[::-1])


@lru_cache(maxsize=256)
def gamma_of(eta: float, mean: float) -> float:
    """gamma of the truncated negative binomial law with that mean (Definition 1): E[K] = eta (1 - gamma) / (gamma
    (1 - gamma^eta)), and (1/gamma - 1) / log(1/gamma) for eta = 0.
    """
    if mean == 1:
        return 1.0
    if eta == 1:
        return 1 / mean

    def excess(log_inverse: float) -> float:
        inverse = math.exp(log_inverse)
        if eta == 0:
            return (inverse - 1) / log_inverse - mean
        return eta * (inverse - 1) / (1 - math.exp(-eta * log_inverse)) - mean

    # The mean rises with 1/gamma and is at most it, and at least its logarithm's share of it.
    return math.exp(-float(optimize.brentq(excess, 1e-12, 2 * math.log(mean) + 10, xtol=1e-14)))


def epsilon_of(renyi: NDArray[np.float64], delta: float, beyond: NDArray[np.float64] = BEYOND_ONE) -> float:
    """The least epsilon at delta over the orders 1 + beyond (Canonne, Kamath, Steinke 2020, Proposition 12)."""
    if not 0 < delta < 1:
        raise PrivacyError(f"delta must lie between 0 and 1, but is {delta}")
    orders = 1 + beyond
    each = renyi + np.log1p(-1 / orders) - (math.log(delta) + np.log(orders)) / beyond
    return max(0.0, float(each[beyond > _STEADY].min()))


def _deltas(
    renyi: NDArray[np.float64], epsilons: NDArray[np.float64], beyond: NDArray[np.float64]
) -> NDArray[np.float64]:
    """For each epsilon the least delta over all orders, the same conversion read the other way."""
    steady = beyond > _STEADY
    above, orders = beyond[steady], 1 + beyond[steady]
    log_delta = above * (renyi[steady] + np.log1p(-1 / orders) - epsilons[:, None]) - np.log(orders)
    return np.asarray(np.exp(np.minimum(log_delta.min(axis=1), 0.0)))


def _gaussian(events: tuple[Event, ...], against: Literal["central", "local"]) -> tuple[float, float]:
    """rho and kappa of Gaussian sums."""
    rho = kappa = 0.0
    losses_of = central_losses if against == "central" else local_losses
    for event in events:
        losses = losses_of(event, 0.0) if isinstance(event, DistributedGaussianSum) else None
        if losses is None:
            raise PrivacyError(
                f"tuning is accounted for sums with Gaussian noise only, and the ledger has {type(event).__name__}"
            )
        for cost, count in losses:
            if isinstance(cost, Cost):
                rho += count * cost.mu**2 / 2
                kappa += count * cost.kappa
    return rho, kappa
