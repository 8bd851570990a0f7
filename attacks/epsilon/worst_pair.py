"""Audit by the worst pair: release either of two neighbours many times, and tell them apart by a projection.

Three bounds from the same draws. `by_threshold` assumes nothing but independent draws; it cannot exceed about the
logarithm of their number. `by_curve` holds the same errors to the Gaussian trade-off curve, so that moderate errors
speak for the whole curve. `by_moments` takes the projections to be Gaussian, as the noise claims to be, and is
the sharpest.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from attacks.epsilon import gaussian
from attacks.epsilon.claims import CONFIDENCE, Claim, EpsilonBound
from attacks.errors import AttackError

Vector: TypeAlias = NDArray[np.float64]
Mechanism: TypeAlias = Callable[[Vector | None, Vector, int, np.random.Generator], Vector]
"""(input, direction, n, rng) -> (n,): <direction, release> of n independent releases of one input, None for an absent
one. Input and direction have the release's shape."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two neighbouring inputs of a mechanism, of any one shape. name: in words."""

    name: str
    one: Vector
    other: Vector | None

    def direction(self) -> Vector:
        """The unit vector from the other to the one: where the two releases differ the most under equal noise."""
        difference = self.one if self.other is None else self.one - self.other
        return difference / np.linalg.norm(difference)


def audit(
    mechanism: Mechanism,
    pairs: Sequence[Pair],
    claim: Claim,
    *,
    draws: int,
    rng: np.random.Generator,
    setting: str,
    confidence: float = CONFIDENCE,
) -> list[EpsilonBound]:
    """Each method's bound, by the pair that gives the largest. draws: releases of each input of each pair, at least 4.

    The error allowed is divided among the pairs (Bonferroni), so the largest of their bounds keeps the confidence.
    """
    if draws < 4:
        raise AttackError(f"an audit takes at least 4 draws of each input, but got {draws}")
    error = (1 - confidence) / len(pairs)
    projections = [
        (
            mechanism(pair.one, pair.direction(), draws, rng),
            mechanism(pair.other, pair.direction(), draws, rng),
        )
        for pair in pairs
    ]
    bounds = []
    for method, bound in METHODS.items():
        lowers = [bound(one, other, claim.delta, error) for one, other in projections]
        worst = int(np.argmax(lowers))
        bounds.append(
            EpsilonBound(
                method, claim, lowers[worst], confidence, 2 * draws * len(pairs), f"{setting}; {pairs[worst].name}"
            )
        )
    return bounds


def by_threshold(one: Vector, other: Vector, delta: float, error: float) -> float:
    """F7: the bound that any (epsilon, delta)-private mechanism's error rates must respect.

    A mechanism is (epsilon, delta)-private only if 1 - FNR <= e^epsilon FPR + delta and 1 - FPR <= e^epsilon FNR +
    delta for every test (Kairouz, Oh, Viswanath 2015). The test is "above a threshold"; every second draw serves to
    choose it, and the others give both rates their Clopper-Pearson bound at half the allowed error each.
    one, other: (n,) and (m,), the first expected to be larger. error: 1 - confidence.
    """

    def epsilon(rates: _Rates) -> Vector:
        # an upper bound of an error rate is never 0
        forward = (1 - delta - rates.false_negative) / rates.false_positive
        backward = (1 - delta - rates.false_positive) / rates.false_negative
        return np.log(np.maximum(np.maximum(forward, backward), 1.0))

    return _best_threshold(one, other, epsilon, error)


def by_curve(one: Vector, other: Vector, delta: float, error: float) -> float:
    """F4: the error rates of `by_threshold` bound mu of the Gaussian trade-off curve, and that epsilon.

    A mu-GDP mechanism has Phi^-1(1 - FPR) - Phi^-1(FNR) <= mu for every test (Nasr et al. 2023, "Tight Auditing of
    Differentially Private Machine Learning", Section 4). Holds for mechanisms that claim a Gaussian's curve.
    """

    def mu(rates: _Rates) -> Vector:
        return special.ndtri(1 - rates.false_positive) - special.ndtri(rates.false_negative)

    return gaussian.epsilon(_best_threshold(one, other, mu, error), delta)


def by_moments(one: Vector, other: Vector, delta: float, error: float) -> float:
    """F4 for projections that are Gaussian with one deviation: epsilon of `separation`'s mu."""
    return gaussian.epsilon(separation(one, other, error), delta)


METHODS: dict[str, Callable[[Vector, Vector, float, float], float]] = {
    "worst pair, Clopper-Pearson": by_threshold,
    "worst pair, trade-off curve": by_curve,
    "worst pair, Gaussian moments": by_moments,
}


def separation(one: Vector, other: Vector, error: float) -> float:
    """Lower bound of mu = (mean of one - mean of other) / deviation, at least 0, of two Gaussians of one deviation.

    Student's bound of the difference over the chi-square bound of the pooled deviation, at half the error each. Draws
    without any spread give infinity, or 0 where their means do not differ.
    """
    n, m = len(one), len(other)
    freedom = n + m - 2
    pooled = math.sqrt((np.var(one) * n + np.var(other) * m) / freedom)
    return least_mu(float(np.mean(one) - np.mean(other)), pooled, 1 / n + 1 / m, freedom, error)


def least_mu(difference: float, deviation: float, share: float, freedom: int, error: float) -> float:
    """Lower bound of (true difference) / (true deviation), from an estimate of the difference with variance `share`
    times the deviation's square, and one of the deviation with that many degrees of freedom."""
    if deviation == 0:
        return math.inf if difference > 0 else 0.0
    least = difference - stats.t.isf(error / 2, freedom) * deviation * math.sqrt(share)
    most = deviation * math.sqrt(freedom / stats.chi2.ppf(error / 2, freedom))
    return max(0.0, float(least / most))


@dataclass(frozen=True, slots=True, eq=False)
class _Rates:
    """Upper bounds of a test's error rates, (k,) each, for k thresholds."""

    false_positive: Vector
    false_negative: Vector


def _best_threshold(one: Vector, other: Vector, value: Callable[[_Rates], Vector], error: float) -> float:
    seen = np.unique(np.concatenate([one[::2], other[::2]]))
    between = (seen[1:] + seen[:-1]) / 2 if len(seen) > 1 else seen
    # the error divided among all that are tried: a threshold far out that was merely lucky is not chosen
    tried = value(_rates(one[::2], other[::2], between, error / len(between)))
    chosen = between[[int(np.argmax(tried))]]
    return float(value(_rates(one[1::2], other[1::2], chosen, error))[0])


def _rates(one: Vector, other: Vector, thresholds: Vector, error: float) -> _Rates:
    positives = len(other) - np.searchsorted(np.sort(other), thresholds, side="right")
    negatives = np.searchsorted(np.sort(one), thresholds, side="right")
    return _Rates(most_likely(positives, len(other), error / 2), most_likely(negatives, len(one), error / 2))


def most_likely(count: NDArray[np.int64], n: int, error: float) -> Vector:
    """Clopper-Pearson upper bounds of a rate of which `count` of n were seen: exceeded with probability <= error."""
    return np.where(
        count < n, special.betaincinv(np.minimum(count, n - 1) + 1.0, np.maximum(n - count, 1), 1 - error), 1.0
    )
