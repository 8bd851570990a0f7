"""From events to epsilon.

Two numbers, never mixed. **Central**: against whoever sees only the sums and what follows from them; a user's vector
is replaced by zero (the client still sends its noise); the noise of `min_survivors` honest clients counts, more only
adds to it. **Local**: against whoever opens one client's uploads; any input for any other, so twice the sensitivity;
that client's own noise alone counts, and it is taken to be in every sum. No amplification by sampling is claimed in
either.

How a release is bounded, for sensitivity s and deviation sigma of the noise that counts:

1. A discrete Gaussian shifted by an integer vector v has a Renyi divergence of at most alpha ||v||^2 / (2 sigma^2)
   from the unshifted (Canonne, Kamath, Steinke 2020, "The Discrete Gaussian for Differential Privacy"): that of the
   continuous Gaussian with noise multiplier sigma / s. opacus' RDP accountant at sample rate 1 counts exactly that.
   Its PRV accountant composes the privacy loss of the *continuous* Gaussian; the discrete one's need not lie below
   it, so a PRV figure is marked approximate.
2. The sum of n discrete Gaussians of deviation sigma_c is not one of deviation sqrt(n) sigma_c, but each of its
   probabilities is within a factor exp(+-tau) (`closeness`). For T sums of dimension d the joint law of all that is
   released, however later rounds depend on earlier ones, is within exp(+-kappa), kappa = sum of d tau over the sums.
   If the ideal mechanism M is (epsilon, delta')-DP, the real one M' has for neighbours x, x' and any S

       P[M'(x) in S] <= e^kappa P[M(x) in S] <= e^kappa (e^epsilon P[M(x') in S] + delta')
                     <= e^(epsilon + 2 kappa) P[M'(x') in S] + e^kappa delta'.

   So epsilon is asked of the accountant at delta' = delta e^-kappa and 2 kappa is added. With
   client_sigma >= 2, tau < 1e-16, and 100 rounds of 53,824 values have kappa < 1e-9. Adding it to epsilon costs that
   much; adding d T tau to delta, the other sound way, could cost delta itself when it is small.
"""

import math
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from securerec.errors import PrivacyError
from securerec.privacy.events import DistributedGaussianSum, Event, Unprotected

ZERO_OUT = "one user's vector replaced by zero"
REPLACE = "one client's input replaced by any other"
ACCOUNTANTS = ("rdp", "prv")
Step = tuple[float, float, int]  # noise multiplier, sample rate, how often: opacus' history


@dataclass(frozen=True)
class Epsilon:
    """A privacy guarantee, with all that a reader needs to know to compare it.

    epsilon: nats, infinite when anything left unprotected. min_survivors: the fewest honest clients that any sum's
    noise was sized for (None for the local one). approximate: the accountant is not a proven bound for discrete
    noise. reproducible_noise: some noise grew from a seed: simulation only.
    """

    epsilon: float
    delta: float
    relation: str
    accountant: str
    approximate: bool
    min_survivors: int | None
    reproducible_noise: bool
    unit: str = "user"

    def __float__(self) -> float:
        return self.epsilon


@dataclass(frozen=True, order=True)
class Cost:
    """What one release costs: its noise multiplier, and kappa, how far its noise is from a discrete Gaussian."""

    noise_multiplier: float
    kappa: float = 0.0

    @classmethod
    def central(cls, *, sensitivity: float, client_sigma: float, min_survivors: int, dimension: int) -> "Cost":
        """Against whoever sees the sum."""
        return cls(
            client_sigma * math.sqrt(min_survivors) / sensitivity, dimension * closeness(client_sigma, min_survivors)
        )

    @classmethod
    def local(cls, *, sensitivity: float, client_sigma: float) -> "Cost":
        """Against whoever sees the upload: its noise is a discrete Gaussian exactly, so kappa is zero."""
        return cls(client_sigma / (2 * sensitivity))


def central_epsilon(events: Iterable[Event], *, delta: float, accountant: str = "rdp") -> Epsilon:
    """Epsilon of all events against whoever sees sums only. Raises PrivacyError for a bad delta or accountant."""
    events = tuple(events)
    costs = Counter(
        Cost.central(
            sensitivity=event.sensitivity,
            client_sigma=event.client_sigma,
            min_survivors=event.min_survivors,
            dimension=event.dimension,
        )
        for event in _sums(events)
    )
    survivors = min((event.min_survivors for event in _sums(events)), default=None)
    return _report(events, costs, delta, accountant, ZERO_OUT, survivors)


def local_epsilon(events: Iterable[Event], *, delta: float, accountant: str = "rdp") -> Epsilon:
    """Epsilon of all events against whoever opens one client's uploads. Raises as `central_epsilon`."""
    events = tuple(events)
    costs = Counter(
        Cost.local(sensitivity=event.sensitivity, client_sigma=event.client_sigma) for event in _sums(events)
    )
    return _report(events, costs, delta, accountant, REPLACE, None)


def _sums(events: tuple[Event, ...]) -> list[DistributedGaussianSum]:
    return [event for event in events if isinstance(event, DistributedGaussianSum)]


def _report(
    events: tuple[Event, ...], costs: Counter[Cost], delta: float, accountant: str, relation: str, survivors: int | None
) -> Epsilon:
    epsilon = composed_epsilon(costs, delta=delta, accountant=accountant)
    return Epsilon(
        epsilon=math.inf if any(isinstance(event, Unprotected) for event in events) else epsilon,
        delta=delta,
        relation=relation,
        accountant=accountant,
        approximate=accountant == "prv",
        min_survivors=survivors,
        reproducible_noise=any(event.noise_source == "seed" for event in _sums(events)),
    )


def composed_epsilon(costs: Counter[Cost], *, delta: float, accountant: str) -> float:
    """Epsilon of releases, each as often as the counter says, at this delta. Zero for none.

    Calibration asks this very function, so what was calibrated is what is reported, to the last bit.
    """
    if not 0 < delta < 1:
        raise PrivacyError(f"delta must lie between 0 and 1, but is {delta}")
    if accountant not in ACCOUNTANTS:
        raise PrivacyError(f"unknown accountant {accountant!r}; choose from {', '.join(ACCOUNTANTS)}")
    if not costs:
        return 0.0
    ordered = sorted(costs.items())  # sums of floats must not depend on the order of events
    history = [(cost.noise_multiplier, 1.0, count) for cost, count in ordered]
    kappa = sum(cost.kappa * count for cost, count in ordered)
    ideal_delta = delta * math.exp(-kappa)
    if ideal_delta == 0.0:
        return math.inf
    # without sampling the losses of Gaussians add up to that of one Gaussian: rho = sum 1 / (2 z^2)
    rho = sum(count / (2 * z**2) for z, _, count in history)
    if accountant == "rdp":
        ideal = rdp_epsilon(history, delta=ideal_delta, orders=_orders(rho, ideal_delta))
    else:
        ideal = prv_epsilon([(1 / math.sqrt(2 * rho), 1.0, 1)], delta=ideal_delta)
    return max(0.0, ideal) + 2 * kappa


def rdp_epsilon(history: Sequence[Step], *, delta: float, orders: Sequence[float]) -> float:
    """opacus' RDP bound, the smallest over these orders (each of them gives a valid bound)."""
    from opacus.accountants import RDPAccountant  # imports torch, which takes seconds

    accountant = RDPAccountant()
    accountant.history = list(history)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the best order may be the first or last: still a bound
        return float(accountant.get_epsilon(delta=delta, alphas=list(orders)))


def prv_epsilon(history: Sequence[Step], *, delta: float) -> float:
    """opacus' PRV figure, the upper end of its error of 0.01. Raises PrivacyError where it does not converge."""
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = list(history)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # at sample rate 1 it takes the logarithm of zero and goes on correctly
            epsilon = float(accountant.get_epsilon(delta=delta))
    except (RuntimeError, ValueError, OverflowError, MemoryError):
        epsilon = math.nan
    if not math.isfinite(epsilon):
        raise PrivacyError("the PRV accountant cannot count noise of this size; use the accountant rdp")
    return epsilon


def _orders(rho: float, delta: float) -> list[float]:
    """Orders around the best one of a rho-zCDP mechanism, alpha - 1 = sqrt(ln(1/delta) / rho) (Bun, Steinke 2016).

    opacus' own end at 1.1 and 63, too far from 1 for an epsilon of thousands and too few for one of hundredths.
    """
    best = math.sqrt(math.log(1 / delta) / rho)
    return [1 + best * 10 ** (i / 200) for i in range(-200, 101)]


@lru_cache(maxsize=4096)
def closeness(client_sigma: float, n: int) -> float:
    """tau: the sum of n draws of N_Z(0, client_sigma^2) is within exp(+-tau) of N_Z(0, n client_sigma^2) at each
    integer.

    tau = 10 sum_{k=1}^{n-1} exp(-2 pi^2 client_sigma^2 k / (k+1)), for client_sigma >= 1/2
    (Kairouz, Liu, Steinke 2021, "The Distributed Discrete Gaussian Mechanism for Federated Learning with Secure
    Aggregation"). Zero for n = 1.
    """
    k = np.arange(1, n)
    return float(10 * np.exp(-2 * math.pi**2 * client_sigma**2 * (k / (k + 1))).sum())
