"""What is claimed of a mechanism, and what an audit found."""

from dataclasses import dataclass
from typing import Any

from attacks.epsilon import gaussian

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Claim:
    """What a mechanism is said to promise.

    unit: whose privacy, such as "user". relation: which inputs are neighbours, in words. delta, epsilon: as its
    accountant counts. mu: of the Gaussian trade-off curve that its stated noise gives, releases composed: the distance
    of neighbours (L2) over the noise's deviation, times the root of how often it is released.
    """

    unit: str
    relation: str
    delta: float
    epsilon: float
    mu: float

    @property
    def exact_epsilon(self) -> float:
        """Epsilon of the Gaussian mechanism with exactly the stated noise: an accountant's may lie a tenth above."""
        return gaussian.epsilon(self.mu, self.delta)


@dataclass(frozen=True, slots=True)
class EpsilonBound:
    """One audit's result.

    lower: epsilon is at least this, at `confidence`; infinite where a release told neighbours apart without error.
    estimate: the method's best guess where it has one. draws: releases that were looked at, or canaries. setting: what
    was run, in words.
    """

    method: str
    claim: Claim
    lower: float
    confidence: float
    draws: int
    setting: str
    estimate: float | None = None

    @property
    def refutes_claim(self) -> bool:
        """The mechanism is less private than its accountant says."""
        return self.lower > self.claim.epsilon

    @property
    def refutes_noise(self) -> bool:
        """The mechanism does not have the noise that it states, though an accountant's slack may still cover it."""
        return self.lower > self.claim.exact_epsilon

    def to_json(self) -> dict[str, Any]:
        """Plain data, the claim's fields among them; an infinite epsilon as None."""
        claim = self.claim

        def finite(value: float | None) -> float | None:
            return None if value is None or value == float("inf") else value

        return {
            "method": self.method,
            "unit": claim.unit,
            "relation": claim.relation,
            "delta": claim.delta,
            "claimed_epsilon": finite(claim.epsilon),
            "exact_epsilon": finite(claim.exact_epsilon),
            "lower_bound": finite(self.lower),
            "unbounded": self.lower == float("inf"),
            "estimate": finite(self.estimate),
            "confidence": self.confidence,
            "draws": self.draws,
            "setting": self.setting,
            "refutes_claim": self.refutes_claim,
            "refutes_noise": self.refutes_noise,
        }
