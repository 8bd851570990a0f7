"""From losses to epsilon, by one accountant or another. Each figure is a bound; they differ in how close it is.

gdp: the exact trade-off of Gaussians (`gaussian`), for whatever is made of unsampled Gaussian noise alone. rdp: Renyi
curves (`curves`), for everything. prv: opacus, for Gaussians, Poisson-sampled too. pld: Google's dp_accounting, for
those and for pure losses. Noise on the integers is given to prv, to pld and to all that is sampled as the continuous
Gaussian that reveals at least as much (`Cost.smoothed`), so that their figures hold for it as well.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from securerec.errors import PrivacyError
from securerec.privacy.accounting import curves
from securerec.privacy.accounting.gaussian import gdp_epsilon
from securerec.privacy.accounting.losses import Cost, Loss, Pure, Sampled, Skellam
from securerec.privacy.accounting.numeric import pld_epsilon, prv_epsilon

ACCOUNTANTS = ("gdp", "rdp", "prv", "pld")
DEFAULT = "gdp"
SMOOTHING = (1.0, 1.25, 1.5, 2.0)
"""Deviations r of a rounding that may stand in for the grid: the best one counts, and each is chosen without data."""
_SAMPLED_ORDERS = [1 + x / 10 for x in range(1, 100)] + list(range(11, 64)) + [72, 80, 96, 128, 192, 256, 384, 512]
_OTHERS = {
    "prv": "Gaussian noise, Poisson-sampled or not",
    "pld": "Gaussian noise, Poisson-sampled or not, and Laplace",
}


@dataclass(frozen=True)
class Counted:
    """An epsilon in nats and the accountant that gave it."""

    epsilon: float
    accountant: str


@dataclass(frozen=True)
class Gaussian:
    """All releases together: within exp(+-kappa) of a mu-GDP mechanism."""

    mu: float
    kappa: float


def composed_epsilon(costs: Counter[Cost], *, delta: float, accountant: str = DEFAULT) -> float:
    """Epsilon of releases, each as often as the counter says, at this delta. Zero for none.

    Calibration asks this very function, so what was calibrated is what is reported, to the last bit.
    """
    return count(costs, delta=delta, accountant=accountant).epsilon


def count(losses: Mapping[Loss, int] | Mapping[Cost, int], *, delta: float, accountant: str = DEFAULT) -> Counted:
    """Epsilon of adaptive releases, each as often as the mapping says; infinite where no finite figure holds.

    Asked for gdp where not all is unsampled Gaussian noise, the least of the others that are at home there counts, and
    the answer names it; zcdp is the bound for Gaussian noise of the order of the grid, basic the plain sum of pure
    losses. Raises PrivacyError for a bad delta or accountant, and for losses that the one asked for cannot count.
    """
    if not 0 < delta < 1:
        raise PrivacyError(f"delta must lie between 0 and 1, but is {delta}")
    if accountant not in ACCOUNTANTS:
        raise PrivacyError(f"unknown accountant {accountant!r}; choose from {', '.join(ACCOUNTANTS)}")
    # sums of floats must not depend on the order of events
    ordered = sorted(losses.items(), key=lambda item: (type(item[0]).__name__, item[0]))
    left = delta - sum(loss.delta * n for loss, n in ordered if isinstance(loss, Pure))
    if not ordered:
        return Counted(0.0, accountant)
    if left <= 0:
        return Counted(math.inf, accountant)
    with np.errstate(all="ignore"):
        return _count(ordered, math.log(left), accountant)


def _count(ordered: Sequence[tuple[Loss, int]], log_delta: float, accountant: str) -> Counted:
    gaussians = [(loss, n) for loss, n in ordered if isinstance(loss, Cost)]
    pure = [(loss, n) for loss, n in ordered if isinstance(loss, Pure)]
    if accountant == "gdp":
        if len(gaussians) == len(ordered):
            return _gaussian(gaussians, log_delta)
        figures = [_rdp(ordered, log_delta)]
        if len(pure) == len(ordered):
            figures.append(Counted(sum(n * loss.epsilon for loss, n in pure), "basic"))
        return min(figures, key=lambda figure: figure.epsilon)
    if accountant == "rdp":
        return _rdp(ordered, log_delta)
    return _numeric(ordered, log_delta, accountant)


def composed_gaussian(costs: Mapping[Cost, int], *, log_delta: float) -> Gaussian | None:
    """The Gaussian that covers all costs together, whose rounding gives the least epsilon at this delta.

    None where noise is too small for `gaussian`'s argument.
    """
    best: tuple[float, Gaussian] | None = None
    for r in SMOOTHING:
        smooth = [(cost.smoothed(r), n) for cost, n in sorted(costs.items())]
        known = [(cost, n) for cost, n in smooth if cost is not None]
        if len(known) < len(smooth):
            continue
        whole = Gaussian(
            math.sqrt(sum(n * cost.mu * cost.mu for cost, n in known)), sum(n * cost.kappa for cost, n in known)
        )
        epsilon = gdp_epsilon(whole.mu, log_delta - whole.kappa) + 2 * whole.kappa
        if best is None or epsilon < best[0]:
            best = epsilon, whole
    return best[1] if best else None


def _gaussian(costs: Sequence[tuple[Cost, int]], log_delta: float) -> Counted:
    kappa = sum(n * cost.kappa for cost, n in costs)
    rho = sum(n * cost.mu * cost.mu / 2 for cost, n in costs)
    figures = [Counted(curves.zcdp_epsilon(rho, log_delta - kappa) + 2 * kappa, "zcdp")]
    whole = composed_gaussian(dict(costs), log_delta=log_delta)
    if whole is not None:
        epsilon = gdp_epsilon(whole.mu, log_delta - whole.kappa) + 2 * whole.kappa
        figures.insert(0, Counted(epsilon, "gdp"))
    return min(figures, key=lambda figure: figure.epsilon)


def _rdp(ordered: Sequence[tuple[Loss, int]], log_delta: float) -> Counted:
    ready = [(_smooth_if_sampled(loss), n) for loss, n in ordered]
    kappa = sum(n * _kappa(loss) for loss, n in ready)
    rho = sum(n * _rho(loss) for loss, n in ready)
    if not rho < math.inf:
        return Counted(math.inf, "rdp")
    orders = curves.orders_around(rho, log_delta)
    if any(isinstance(loss, Sampled) for loss, _ in ready):
        orders = np.array(_SAMPLED_ORDERS, dtype=np.float64)
    curve = np.zeros_like(orders)
    for loss, n in ready:
        curve += n * _curve(loss, orders)
    return Counted(curves.epsilon_of_curve(orders, curve, log_delta - kappa) + 2 * kappa, "rdp")


def _curve(loss: Loss, orders: curves.Curve) -> curves.Curve:
    match loss:
        case Cost():
            return curves.poisson_gaussian(list(orders), sample_rate=1.0, noise_multiplier=loss.noise_multiplier)
        case Sampled(sampling="poisson"):
            z = loss.inner.noise_multiplier
            return curves.poisson_gaussian(list(orders), sample_rate=loss.sample_rate, noise_multiplier=z)
        case Sampled():
            z = loss.inner.noise_multiplier
            return curves.fixed_size_gaussian(orders, sample_rate=loss.sample_rate, noise_multiplier=z)
        case Skellam():
            return curves.skellam(
                orders, sensitivity=loss.sensitivity, sensitivity_l1=loss.sensitivity_l1, variance=loss.variance
            )
    return curves.pure(orders, loss.epsilon)


def _smooth_if_sampled(loss: Loss) -> Loss:
    """A sampled sum's noise must be continuous to be counted by anybody; too small noise counts as not sampled."""
    if not isinstance(loss, Sampled):
        return loss
    inner = loss.inner.smoothed(_smoothing(loss.inner))
    if inner is None or loss.sample_rate == 1:
        return loss.inner
    return Sampled(inner, loss.sampling, loss.sample_rate)


def _smoothing(cost: Cost) -> float:
    """1.5 has gaps that no number of rounds makes visible; noise must be well above it for no loss to speak of."""
    return 1.5 if cost.sigma > 3 else 1.0


def _kappa(loss: Loss) -> float:
    match loss:
        case Cost():
            return loss.kappa
        case Sampled():
            return loss.inner.kappa
    return 0.0


def _rho(loss: Loss) -> float:
    """Roughly the zCDP parameter, to choose orders by: any orders give a bound."""
    match loss:
        case Cost():
            return loss.mu * loss.mu / 2
        case Sampled():
            return loss.inner.mu * loss.inner.mu / 2
        case Skellam():
            return loss.sensitivity * loss.sensitivity / (2 * loss.variance)
    return min(loss.epsilon, loss.epsilon * loss.epsilon / 2)


def _numeric(ordered: Sequence[tuple[Loss, int]], log_delta: float, accountant: str) -> Counted:
    gaussians: Counter[Cost] = Counter()
    sampled: list[tuple[float, float, int]] = []
    pure: list[tuple[float, int]] = []
    kappa = 0.0
    for loss, n in ordered:
        ready = _smooth_if_sampled(loss)
        if isinstance(ready, Cost):
            gaussians[ready] += n
        elif isinstance(ready, Sampled) and ready.sampling == "poisson":
            sampled.append((ready.inner.noise_multiplier, ready.sample_rate, n))
            kappa += n * ready.inner.kappa
        elif isinstance(ready, Pure) and accountant == "pld":
            pure.append((ready.epsilon, n))
        else:
            raise PrivacyError(f"the accountant {accountant} counts {_OTHERS[accountant]}; use the accountant rdp")
    if gaussians:
        whole = composed_gaussian(gaussians, log_delta=log_delta)
        if whole is None or not 0 < whole.mu < math.inf:
            raise PrivacyError(f"the accountant {accountant} cannot count noise of this size; use the accountant rdp")
        # unsampled Gaussians compose to one, exactly
        sampled.append((1 / whole.mu, 1.0, 1))
        kappa += whole.kappa
    log_ideal = log_delta - kappa
    if log_ideal < -700:
        return Counted(math.inf, accountant)
    if accountant == "prv":
        return Counted(max(0.0, prv_epsilon(sampled, delta=math.exp(log_ideal))) + 2 * kappa, "prv")
    return Counted(max(0.0, pld_epsilon(sampled, pure, delta=math.exp(log_ideal))) + 2 * kappa, "pld")
