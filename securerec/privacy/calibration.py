"""From a wished-for epsilon to the noise: found by asking the accounting itself, never a formula's estimate."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from scipy import optimize

from securerec.errors import PrivacyError
from securerec.privacy.accounting import Cost, Epsilon, composed_epsilon
from securerec.privacy.accounting.losses import DIMENSION_MAX
from securerec.privacy.events import Event
from securerec.privacy.mechanism import MIN_CLIENT_SIGMA, client_sigma_for


@dataclass(frozen=True)
class Release:
    """A kind of sum that a run plans: how often, and which share of the budget all of that kind may have.

    sensitivity: grid units, as of `Mechanism.sensitivity`. weight: shares are weights over their total; budget means
    zero-concentrated privacy, rho = count / (2 z^2), which adds up. nonnegative: no vector has a negative coordinate,
    so that two are at most sqrt(2) sensitivities apart, which is what the local epsilon counts.
    """

    sensitivity: float
    dimension: int
    min_survivors: int
    count: int = 1
    weight: float = 1.0
    nonnegative: bool = False

    @property
    def apart(self) -> float:
        """The largest distance of two vectors, grid units."""
        return (math.sqrt(2) if self.nonnegative else 2) * self.sensitivity


def calibrate_noise_multiplier(
    *,
    epsilon: float,
    delta: float,
    rounds: int,
    dimension: int,
    sensitivity: float,
    min_survivors: int,
    accountant: str = "gdp",
) -> float:
    """The noise multiplier that keeps that many sums within a central epsilon, less than 1e-6 (relative) above the
    least.

    A mechanism whose client_sigma is `client_sigma_for` of it never overshoots. Raises PrivacyError when none will
    do.
    """
    release = Release(sensitivity=sensitivity, dimension=dimension, min_survivors=min_survivors, count=rounds)
    return calibrate_mix([release], epsilon=epsilon, delta=delta, accountant=accountant)[0]


def calibrate_mix(releases: Sequence[Release], *, epsilon: float, delta: float, accountant: str = "gdp") -> list[float]:
    """The noise multiplier of each kind of release such that all together stay within a central epsilon.

    Kind j with the share f_j of the budget and count T_j has z_j = s sqrt(T_j / f_j); s is found by bisection. Where
    a client's floor of 2 grid units decides, z_j says what the noise really is.
    """
    factors = _factors(releases)

    def costs(s: float) -> Counter[Cost]:
        counts: Counter[Cost] = Counter()
        for release, factor in zip(releases, factors, strict=True):
            sigma = client_sigma_for(s * factor, release.sensitivity, release.min_survivors)
            cost = Cost.central(
                sensitivity=release.sensitivity,
                client_sigma=sigma,
                min_survivors=release.min_survivors,
                dimension=release.dimension,
            )
            counts[cost] += release.count
        return counts

    s = _least(costs, epsilon, delta, accountant)
    floors = [MIN_CLIENT_SIGMA * math.sqrt(release.min_survivors) / release.sensitivity for release in releases]
    return [max(s * factor, floor) for factor, floor in zip(factors, floors, strict=True)]


def calibrate_client_sigma(
    *,
    epsilon: float,
    delta: float,
    rounds: int,
    sensitivity: float,
    nonnegative: bool = False,
    dimension: int = DIMENSION_MAX,
    accountant: str = "gdp",
) -> float:
    """One client's noise in grid units that keeps that many of its uploads within a local epsilon. Never overshoots.

    dimension: the largest there may be, which hardly costs more than one.
    """
    release = Release(sensitivity, dimension, min_survivors=1, count=rounds, nonnegative=nonnegative)
    return calibrate_local_mix([release], epsilon=epsilon, delta=delta, accountant=accountant)[0]


def calibrate_local_mix(
    releases: Sequence[Release], *, epsilon: float, delta: float, accountant: str = "gdp"
) -> list[float]:
    """`calibrate_mix` for the local epsilon: each kind's client_sigma. min_survivors plays no part."""
    factors = _factors(releases)

    def sigmas(s: float) -> list[float]:
        # any vector for any other, and a client's noise is for it alone
        return [
            client_sigma_for(s * factor, release.apart, 1) for release, factor in zip(releases, factors, strict=True)
        ]

    def costs(s: float) -> Counter[Cost]:
        counts: Counter[Cost] = Counter()
        for release, sigma in zip(releases, sigmas(s), strict=True):
            cost = Cost.local(
                sensitivity=release.sensitivity,
                client_sigma=sigma,
                nonnegative=release.nonnegative,
                dimension=release.dimension,
            )
            counts[cost] += release.count
        return counts

    return sigmas(_least(costs, epsilon, delta, accountant))


def _factors(releases: Sequence[Release]) -> list[float]:
    total = sum(release.weight for release in releases)
    for release in releases:
        if release.count < 1 or not 0 < release.weight < math.inf or not 0 < release.sensitivity < math.inf:
            raise PrivacyError(f"a planned release needs a positive count, weight and sensitivity, but is {release}")
    return [math.sqrt(release.count * total / release.weight) for release in releases]


def _least(costs: Callable[[float], Counter[Cost]], epsilon: float, delta: float, accountant: str) -> float:
    """The least s for which costs(s) stay within epsilon, from above.

    Starts where rho + 2 sqrt(rho ln(1/delta)) = epsilon (Bun, Steinke 2016, Proposition 1.3), which asks for a little
    too much noise.
    """
    _check_budget(epsilon, delta)
    log = math.log(1 / delta)
    root = epsilon / (math.sqrt(epsilon + log) + math.sqrt(log))  # sqrt(rho), without cancellation
    return _smallest(
        lambda s: composed_epsilon(costs(s), delta=delta, accountant=accountant),
        epsilon,
        start=1 / (math.sqrt(2) * root),
        same=lambda low, high: costs(low) == costs(high),
        wanted=f"epsilon {epsilon:g} at delta {delta:g} by accountant {accountant}",
    )


def calibrate_events(
    events_at: Callable[[float], Iterable[Event]],
    figure: Callable[..., Epsilon],
    *,
    epsilon: float,
    delta: float,
    start: float,
    accountant: str = "gdp",
) -> float:
    """The least noise, to a relative 1e-6 from above, for which planned events of any kind stay within epsilon.

    events_at: the events of a whole run at a given amount of noise (a deviation, a scale, a noise multiplier), costing
    less the larger it is. figure: `central_epsilon`, `local_epsilon` or another of them. start: a first guess. Raises
    PrivacyError when none will do.
    """
    _check_budget(epsilon, delta)
    return _smallest(
        lambda noise: figure(events_at(noise), delta=delta, accountant=accountant).epsilon,
        epsilon,
        start=start,
        same=lambda low, high: list(events_at(low)) == list(events_at(high)),
        wanted=f"epsilon {epsilon:g} at delta {delta:g} by accountant {accountant}",
    )


def _check_budget(epsilon: float, delta: float) -> None:
    if not 0 < epsilon < math.inf:
        raise PrivacyError(f"epsilon must be positive and finite, but is {epsilon}")
    if not 0 < delta < 1:
        raise PrivacyError(f"delta must lie between 0 and 1, but is {delta}")


def _smallest(
    value: Callable[[float], float],
    target: float,
    *,
    start: float,
    same: Callable[[float, float], bool],
    wanted: str,
) -> float:
    """The smallest noise whose value is at most target, to a relative 1e-6 from above.

    same: nothing changes between two amounts of noise.
    """
    value = lru_cache(maxsize=None)(value)
    high, limit = start, 1e6 * start
    while value(high) > target:
        high *= 1.25
        if high > limit:
            raise PrivacyError(f"no noise reaches {wanted}")
    low = high / 1.25
    while value(low) <= target:
        if same(low, high) or low < start / 1e12:
            return high
        low, high = low / 1.25, low

    def excess(s: float) -> float:
        return math.log(max(value(s), 1e-300) / target) if value(s) < math.inf else 700.0

    found = float(optimize.brentq(excess, low, high, xtol=2e-7 * low, rtol=1e-9))
    step = 1e-7 * found
    while value(found) > target:
        found, step = found + step, 2 * step
    return min(found, high)
