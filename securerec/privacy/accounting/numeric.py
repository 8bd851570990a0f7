"""The libraries' numerical accountants. Both compose whole privacy loss distributions on a grid, rounded up."""

import math
import warnings
from collections.abc import Sequence

import numpy as np

from securerec.errors import PrivacyError

Step = tuple[float, float, int]  # noise multiplier, sample rate, how often: opacus' history
_CELLS = 1e5  # of a privacy loss distribution: finer grids change its epsilon by less than a thousandth


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
        raise PrivacyError("the PRV accountant cannot count noise of this size; use the accountant rdp or gdp")
    return epsilon


def pld_epsilon(history: Sequence[Step], pure: Sequence[tuple[float, int]], *, delta: float) -> float:
    """dp_accounting's PLD figure, pessimistic: Gaussians (sampled or not), and pure losses (epsilon, how often).

    Raises PrivacyError where the distribution does not fit.
    """
    from dp_accounting.pld import common, privacy_loss_distribution

    # how far losses reach decides the grid: one deviation of all together, times what delta asks for
    spread = sum(n * (rate / z) ** 2 for z, rate, n in history) + sum(n * min(e, e * e) for e, n in pure)
    width = max([1.0, 40 * math.sqrt(spread) + spread, *(20 / z + 1 / z**2 for z, _, _ in history)])
    interval = max(1e-5, width / _CELLS)
    if interval > 0.05:
        raise PrivacyError("the PLD accountant cannot count noise of this size; use the accountant rdp or gdp")
    total = privacy_loss_distribution.identity(interval)
    for z, rate, n in history:
        part = privacy_loss_distribution.from_gaussian_mechanism(
            z, value_discretization_interval=interval, sampling_prob=rate
        )
        total = total.compose(part.self_compose(n))
    for e, n in pure:
        part = privacy_loss_distribution.from_privacy_parameters(
            common.DifferentialPrivacyParameters(e, 0.0), value_discretization_interval=interval
        )
        total = total.compose(part.self_compose(n))
    return float(total.get_epsilon_for_delta(delta))
