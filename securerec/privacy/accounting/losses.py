"""What a release costs, without saying what it was: the few kinds of loss that the accountants add up."""

import math
from dataclasses import dataclass

from securerec.privacy.accounting.gaussian import closeness, rounding_gap

DIMENSION_MAX = 2**31
"""The largest upload there is; for noise of a few grid units its rounding gaps are still below 1e-8."""


@dataclass(frozen=True, order=True)
class Cost:
    """Gaussian noise, drawn by clients on the integers or (sigma infinite) continuous.

    noise_multiplier: deviation over sensitivity. kappa: how far the noise is from a discrete Gaussian in all its
    coordinates. sigma: its deviation in grid units; dimension: how many coordinates.
    """

    noise_multiplier: float
    kappa: float = 0.0
    sigma: float = math.inf
    dimension: int = 0

    @classmethod
    def central(cls, *, sensitivity: float, client_sigma: float, min_survivors: int, dimension: int) -> "Cost":
        """Against whoever sees the sum."""
        sigma = client_sigma * math.sqrt(min_survivors)
        return cls(sigma / sensitivity, dimension * closeness(client_sigma, min_survivors), sigma, dimension)

    @classmethod
    def local(
        cls, *, sensitivity: float, client_sigma: float, nonnegative: bool = False, dimension: int = DIMENSION_MAX
    ) -> "Cost":
        """Against whoever sees the upload: its noise is a discrete Gaussian exactly, so kappa is zero.

        Two vectors of norm s without negative coordinates are at most sqrt(2) s apart, any other two 2 s.
        """
        factor = math.sqrt(2) if nonnegative else 2
        return cls(client_sigma / (factor * sensitivity), 0.0, client_sigma, dimension)

    @property
    def mu(self) -> float:
        """1 / noise_multiplier, infinite without noise."""
        return 1 / self.noise_multiplier if self.noise_multiplier > 0 else math.inf

    def smoothed(self, r: float) -> "Cost | None":
        """A continuous Gaussian that is at least as revealing, up to kappa; None where sigma is not above r.

        `gaussian` has the proof.
        """
        if math.isinf(self.sigma):
            return self
        if self.sigma <= r:
            return None
        left = math.sqrt((1 - r / self.sigma) * (1 + r / self.sigma))
        return Cost(self.noise_multiplier * left, self.kappa + self.dimension * rounding_gap(r))


@dataclass(frozen=True, order=True)
class Sampled:
    """Gaussian noise on a sum over a cohort drawn in secret. sampling: "poisson" or "fixed", as of `SampledSum`."""

    inner: Cost
    sampling: str
    sample_rate: float


@dataclass(frozen=True, order=True)
class Skellam:
    """Skellam noise of this variance on integers that move by at most these sensitivities, in L2 and in L1."""

    sensitivity: float
    sensitivity_l1: float
    variance: float


@dataclass(frozen=True, order=True)
class Pure:
    """Whatever is (epsilon, delta)-DP; with delta = 0 it is pure."""

    epsilon: float
    delta: float = 0.0


Loss = Cost | Sampled | Skellam | Pure
