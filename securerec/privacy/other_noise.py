"""The mechanisms beside the discrete Gaussian one, by the noise they add: Skellam, and discrete Laplace."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from securerec.errors import PrivacyError
from securerec.privacy import discrete_laplace, skellam
from securerec.privacy.discrete_laplace import DiscreteLaplace
from securerec.privacy.events import DistributedLaplaceSum, DistributedSkellamSum
from securerec.privacy.mechanism import MIN_CLIENT_SIGMA, Mechanism
from securerec.privacy.rounding import l1_of_l2, rounded_norm_l1
from securerec.privacy.skellam import Skellam
from securerec.privacy.tails import tail_sigma


@dataclass(frozen=True)
class SkellamMechanism(Mechanism):
    """A `Mechanism` whose noise is Skellam: z = y + Sk(client_variance)^dimension, client_variance = client_sigma^2.

    A sum of such noise is Skellam again, with nothing between it and what is accounted. Agarwal, Kairouz, Liu 2021,
    "The Skellam Mechanism for Differentially Private Federated Learning", whose bound needs the L1 sensitivity too.
    client_sigma: from 2 to 2^15.
    """

    _sigma_max: ClassVar[float] = math.sqrt(skellam.VARIANCE_MAX)

    @property
    def sensitivity_l1(self) -> float:
        """Largest L1 norm before noise, grid units: `rounding.l1_of_l2`, and no more than value_bound everywhere."""
        return float(min(l1_of_l2(self._norm_limit, self.dimension), self.value_bound * self.dimension))

    @property
    def client_variance(self) -> float:
        """Of one client's noise, grid units squared."""
        return self.client_sigma**2

    @property
    def law(self) -> Skellam:
        return Skellam(self.client_variance)

    def tail_sigma(self, *, max_clients: int, min_clients: int) -> float:
        """Above client_sigma, by a share that shrinks as that grows: a Skellam tail is longer than a Gaussian one."""
        return tail_sigma(
            self.law.tail_exponent, sigma=self.client_sigma, length=self.dimension, max_clients=max_clients,
            min_clients=min_clients,
        )  # fmt: skip

    def event(self, label: str, *, min_survivors: int, noise_source: str) -> DistributedSkellamSum:
        return DistributedSkellamSum(
            label=label,
            dimension=self.dimension,
            clip_norm=self.clip_norm,
            grid_units=self.grid_units,
            sensitivity=self.sensitivity,
            sensitivity_l1=self.sensitivity_l1,
            client_variance=self.client_variance,
            min_survivors=min_survivors,
            noise_source=noise_source,
            nonnegative=self.nonnegative,
        )


@dataclass(frozen=True)
class LaplaceMechanism(Mechanism):
    """A `Mechanism` that clips in L1 and adds discrete Laplace noise: P[z = k] ~ exp(-|k| / client_scale).

    What "Dual Personalization on Federated Recommendation" (IJCAI 2023) adds, Laplace noise on every value, made one
    that has an epsilon: x <- x min(1, clip_norm / ||x||_1), rounded again until ||y||_1 <= sensitivity. clip_norm,
    sensitivity and noise_multiplier are therefore of the L1 norm. client_sigma: the noise's deviation, from 2 to 2^15;
    `deviation_of` gives it for a scale. The sum of such noise is no discrete Laplace: its accounting is another.
    nonnegative is kept, and spares nothing: in L1 two inputs may still be twice the sensitivity apart.
    """

    norm_order: ClassVar[int] = 1
    _sigma_max: ClassVar[float] = discrete_laplace.SCALE_MAX

    @staticmethod
    def deviation_of(client_scale: float) -> float:
        """The least client_sigma whose noise has at least this scale: never less noise than was calibrated.

        Raises PrivacyError for a scale that no mechanism can have.
        """
        if not discrete_laplace.SCALE_MIN <= client_scale <= discrete_laplace.SCALE_MAX:
            raise PrivacyError(
                f"client_scale must lie between {discrete_laplace.SCALE_MIN} and {discrete_laplace.SCALE_MAX:.0f} grid "
                f"units, but is {client_scale:g}; change the noise or grid_units"
            )
        sigma = max(MIN_CLIENT_SIGMA, DiscreteLaplace(client_scale).sigma)
        while _scale_of(sigma) < client_scale:
            sigma = math.nextafter(sigma, math.inf)
        return sigma

    @property
    def client_scale(self) -> float:
        """Of one client's noise, grid units."""
        return _scale_of(self.client_sigma)

    @property
    def sensitivity(self) -> float:
        """Largest L1 norm before noise in grid units, what rounding adds included."""
        return float(self._norm_limit)

    @cached_property
    def _norm_limit(self) -> int:
        return rounded_norm_l1(self.grid_units, self.dimension)

    @property
    def law(self) -> DiscreteLaplace:
        return DiscreteLaplace(self.client_scale)

    def tail_sigma(self, *, max_clients: int, min_clients: int) -> float:
        """Several times client_sigma, for the tail of one upload: a Laplace tail is much longer than a Gaussian one."""
        return tail_sigma(
            self.law.tail_exponent, sigma=self.client_sigma, length=self.dimension, max_clients=max_clients,
            min_clients=min_clients,
        )  # fmt: skip

    def event(self, label: str, *, min_survivors: int, noise_source: str) -> DistributedLaplaceSum:
        return DistributedLaplaceSum(
            label=label,
            dimension=self.dimension,
            clip_norm=self.clip_norm,
            grid_units=self.grid_units,
            sensitivity=self.sensitivity,
            client_scale=self.client_scale,
            min_survivors=min_survivors,
            noise_source=noise_source,
        )


def _scale_of(sigma: float) -> float:
    """The discrete Laplace's scale for a deviation: sigma^2 = 1 / (2 sinh^2(1 / (2 scale)))."""
    return 0.5 / math.asinh(1 / (math.sqrt(2) * sigma))
