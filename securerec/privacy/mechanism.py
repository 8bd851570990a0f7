"""One client's upload: cap, clip, scale to a grid, round, add exact discrete noise. Integers come out.

`Mechanism` is the discrete Gaussian one and the interface of all: `securerec.privacy.other_noise` has the others. It
follows Kairouz, Liu, Steinke 2021, "The Distributed Discrete Gaussian Mechanism for Federated Learning with Secure
Aggregation", Algorithm 1, without its modular wrapping and without its random rotation, whose padding to a power of
two takes back what its tighter cap would save. Nothing wraps and nothing is clamped after noise was added: the fields
of the secure sum hold the noise's tail, but for a probability below 2^-64 over the life of a key, which
`protocols.spec.tail_factor` counts over all values, clients, signs and rounds (`Mechanism.tail_sigma` is what it needs
to know of the noise). Should a value lie beyond, the upload or the opening is refused: it costs a round, not exactness.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from securerec.errors import PrivacyError
from securerec.privacy.discrete_gaussian import SIGMA_MAX, DiscreteGaussian
from securerec.privacy.events import DistributedGaussianSum, DistributedLaplaceSum, DistributedSkellamSum
from securerec.privacy.exact_sampler import ExactSampler
from securerec.privacy.randomness import KeyStream
from securerec.privacy.rounding import (
    NOT_FINITE_MESSAGE,
    check_rows,
    round_to_norm,
    rounded_norm_squared,
    rounded_sensitivity,
    scale_to_grid,
    spread,
)

__all__ = ["MIN_CLIENT_SIGMA", "FixedPoint", "Mechanism", "client_sigma_for", "rounded_sensitivity"]

MIN_CLIENT_SIGMA = 2.0  # grid units: from here on accounting.closeness is below 1e-16


def client_sigma_for(noise_multiplier: float, sensitivity: float, min_survivors: int) -> float:
    """One client's noise in grid units: noise_multiplier * sensitivity / sqrt(min_survivors), at least 2.

    Where the floor of 2 decides, the sum carries more noise than asked for; `Mechanism.noise_multiplier` and the
    ledger's event say how much it is.
    """
    if min_survivors < 1:
        raise ValueError(f"noise is shared by at least one survivor, not {min_survivors}")
    return max(MIN_CLIENT_SIGMA, noise_multiplier * sensitivity / math.sqrt(min_survivors))


@dataclass(frozen=True)
class Mechanism:
    """Turns a change of the item table into the integers a client may upload.

    x = update (dimension,), coordinates capped at `coordinate_cap * clip_norm`; x <- x min(1, clip_norm / ||x||_2);
    y = x grid_units / clip_norm, each coordinate rounded up with the probability of its fraction, all again until
    ||y||_2 <= sensitivity; z = y + N_Z(0, client_sigma^2)^dimension. A client whose update is zero sends noise too.

    clip_norm: L2 norm of the whole update, one user being the unit of privacy. dimension: n_items * dim.
    coordinate_cap: a fraction of clip_norm, in (0, 1]. grid_units: whole numbers to clip_norm.
    client_sigma: deviation of one client's noise in grid units, from 2 to 2^18. nonnegative: an update with a negative
    value is refused, so no y has one, which the event says: two of them are then at most sqrt(2) sensitivity apart.
    Raises PrivacyError when a setting is out of range.
    """

    clip_norm: float
    dimension: int
    coordinate_cap: float
    client_sigma: float
    grid_units: int = 1000
    nonnegative: bool = False

    norm_order: ClassVar[int] = 2
    """Which norm `clip_norm` and `sensitivity` bound: L2, or L1."""
    _sigma_max: ClassVar[float] = SIGMA_MAX

    def __post_init__(self) -> None:
        if not (0 < self.clip_norm < math.inf):
            raise PrivacyError(f"clip_norm must be positive and finite, but is {self.clip_norm}")
        if not 1 <= self.dimension < 2**31:
            raise PrivacyError(f"dimension must be n_items * dim, at least 1, but is {self.dimension}")
        if not 1 <= self.grid_units <= 2**24:
            raise PrivacyError(f"grid_units must lie between 1 and {2**24}, but is {self.grid_units}")
        if not (1 / self.grid_units <= self.coordinate_cap <= 1):
            raise PrivacyError(f"coordinate_cap must lie between 1 / grid_units and 1, but is {self.coordinate_cap}")
        if not MIN_CLIENT_SIGMA <= self.client_sigma <= self._sigma_max:
            raise PrivacyError(
                f"client_sigma must lie between {MIN_CLIENT_SIGMA:g} and {self._sigma_max:g} grid units, but is "
                f"{self.client_sigma:g}; change the noise or grid_units"
            )

    @property
    def scale(self) -> float:
        """Grid units per unit of the update: an opened sum divided by this is in the table's own units."""
        return self.grid_units / self.clip_norm

    @property
    def sensitivity(self) -> float:
        """Largest norm (of `norm_order`) before noise in grid units, what rounding adds to the norm included."""
        return rounded_sensitivity(self.grid_units, self.dimension)

    @property
    def value_bound(self) -> int:
        """Largest absolute value of a coordinate before noise, grid units."""
        return min(math.ceil(self.coordinate_cap * self.grid_units), math.floor(self.sensitivity))

    @cached_property
    def _norm_limit(self) -> int:
        """What `round_to_norm` is to keep."""
        return rounded_norm_squared(self.grid_units, self.dimension)

    @property
    def law(self) -> ExactSampler:
        """One client's noise on one coordinate, grid units."""
        return DiscreteGaussian(self.client_sigma)

    def noise_multiplier(self, min_survivors: int) -> float:
        """Deviation of the sum of that many clients' noise over `sensitivity`, as it really is."""
        return self.client_sigma * math.sqrt(min_survivors) / self.sensitivity

    def tail_sigma(self, *, max_clients: int, min_clients: int) -> float:
        """The `noise_sigma` of a `protocols.SumSpec` for cohorts of this size: what its bounds call a deviation.

        The discrete Gaussian's own, being sub-Gaussian (Canonne, Kamath, Steinke 2020); see `tails` for other noise.
        """
        return self.client_sigma

    def event(
        self, label: str, *, min_survivors: int, noise_source: str
    ) -> DistributedGaussianSum | DistributedSkellamSum | DistributedLaplaceSum:
        """What the ledger must hold before the first upload of this sum leaves. noise_source: `NoiseKey.source`."""
        return DistributedGaussianSum(
            label=label,
            dimension=self.dimension,
            clip_norm=self.clip_norm,
            grid_units=self.grid_units,
            sensitivity=self.sensitivity,
            client_sigma=self.client_sigma,
            min_survivors=min_survivors,
            noise_source=noise_source,
            nonnegative=self.nonnegative,
        )

    def round_and_clip(
        self, rows: NDArray[np.int32], delta: NDArray[np.float32], stream: KeyStream
    ) -> NDArray[np.int64]:
        """The upload before noise, (dimension,) int64 grid units; not to leave the device.

        rows: (t,) int32, the touched item rows, no row twice; delta: (t, dim) float32, their change; all other rows
        are zero. stream: gives one word for each touched coordinate and try. Same stream, same result, to the bit.
        Raises PrivacyError for an update that is not finite, or negative where none may be, ValueError for rows and
        delta that do not fit.
        """
        check_rows(rows, delta, self.dimension)
        scaled = scale_to_grid(
            delta, order=self.norm_order, clip_norm=self.clip_norm, grid_units=self.grid_units,
            coordinate_cap=self.coordinate_cap, nonnegative=self.nonnegative,
        )  # fmt: skip
        whole = round_to_norm(scaled, order=self.norm_order, limit=self._norm_limit, stream=stream)
        return spread(whole, rows, self.dimension)

    def privatise(self, rows: NDArray[np.int32], delta: NDArray[np.float32], stream: KeyStream) -> NDArray[np.int64]:
        """The upload, (dimension,) int64 grid units: `round_and_clip` with noise on every coordinate.

        The noise continues the stream where the rounding stopped, so each stream must serve one update only.
        """
        values = self.round_and_clip(rows, delta, stream)
        self.law.add_to(values, stream)
        return values


@dataclass(frozen=True)
class FixedPoint:
    """An upload without privacy: rounded to a step of 2^-fraction_bits, no clip, no noise. Its event is
    `Unprotected`.

    Values beyond `value_bound` steps saturate; `saturated` counts them. The attributes that a protocol or a round
    asks of a `Mechanism` are there, the noise being zero.
    """

    dimension: int
    fraction_bits: int
    value_bound: int

    def __post_init__(self) -> None:
        if self.dimension < 1 or not -64 <= self.fraction_bits <= 64 or not 1 <= self.value_bound < 2**52:
            raise PrivacyError(f"no fixed-point upload has the settings {self}")

    @property
    def scale(self) -> float:
        """Steps per unit of the update, a power of two."""
        return math.ldexp(1.0, self.fraction_bits)

    @property
    def client_sigma(self) -> float:
        """No noise."""
        return 0.0

    def tail_sigma(self, *, max_clients: int, min_clients: int) -> float:
        """No noise."""
        return 0.0

    def saturated(self, delta: NDArray[np.float32]) -> int:
        """How many coordinates of delta (t, dim) do not fit and would be cut to `value_bound`."""
        return int(np.count_nonzero(np.abs(np.rint(delta.astype(np.float64) * self.scale)) > self.value_bound))

    def privatise(
        self, rows: NDArray[np.int32], delta: NDArray[np.float32], stream: KeyStream | None = None
    ) -> NDArray[np.int64]:
        """The upload, (dimension,) int64 steps, to the nearest (ties to even). Raises as `Mechanism.round_and_clip`."""
        return spread(self.steps(rows, delta), rows, self.dimension)

    def steps(self, rows: NDArray[np.int32], delta: NDArray[np.float32]) -> NDArray[np.int64]:
        """`privatise` for the touched rows alone, (t, dim)."""
        check_rows(rows, delta, self.dimension)
        if not np.isfinite(delta).all():
            raise PrivacyError(NOT_FINITE_MESSAGE)
        steps = np.clip(np.rint(delta.astype(np.float64) * self.scale), -self.value_bound, self.value_bound)
        return steps.astype(np.int64)
