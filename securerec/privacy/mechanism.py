"""One client's upload: cap, clip, scale to a grid, round, add discrete Gaussian noise. Integers come out.

Rounding, clipping and noise follow Kairouz, Liu, Steinke 2021, "The Distributed Discrete Gaussian Mechanism for
Federated Learning with Secure Aggregation", Algorithm 1, without its random rotation and without its wrapping: here
the fields of the secure sum hold the noise's tail, so nothing is clamped after noise was added.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import NDArray

from securerec.errors import PrivacyError
from securerec.privacy.discrete_gaussian import SIGMA_MAX, DiscreteGaussian
from securerec.privacy.events import DistributedGaussianSum
from securerec.privacy.randomness import KeyStream

MIN_CLIENT_SIGMA = 2.0  # grid units: from here on accounting.closeness is below 1e-16
_NOT_FINITE = "the update holds a value that is not finite and must not be uploaded; lower the learning rate"


def rounded_norm_squared(grid_units: float, dimension: int) -> int:
    """The largest squared L2 norm, in grid units, that rounding lets through for a vector of norm `grid_units`.

    Floor of min(c + sqrt d, sqrt(c^2 + d/4 + sqrt(2 ln(1/beta)) (c + sqrt d / 2)))^2 with c = grid_units, d =
    dimension and beta = exp(-1/2) (Kairouz, Liu, Steinke 2021, Algorithm 1): a rounding passes with probability at
    least 1 - beta = 0.39.
    """
    root = math.sqrt(dimension)
    return math.floor(min((grid_units + root) ** 2, grid_units**2 + dimension / 4 + grid_units + root / 2))


def rounded_sensitivity(grid_units: float, dimension: int) -> float:
    """L2 sensitivity of an upload in grid units, zero-out relation: the root of `rounded_norm_squared`, rounded up."""
    return math.nextafter(math.sqrt(rounded_norm_squared(grid_units, dimension)), math.inf)


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
    client_sigma: deviation of one client's noise in grid units, from 2 to 2^18.
    Raises PrivacyError when a setting is out of range.
    """

    clip_norm: float
    dimension: int
    coordinate_cap: float
    client_sigma: float
    grid_units: int = 1000

    def __post_init__(self) -> None:
        if not (0 < self.clip_norm < math.inf):
            raise PrivacyError(f"clip_norm must be positive and finite, but is {self.clip_norm}")
        if not 1 <= self.dimension < 2**31:
            raise PrivacyError(f"dimension must be n_items * dim, at least 1, but is {self.dimension}")
        if not 1 <= self.grid_units <= 2**24:
            raise PrivacyError(f"grid_units must lie between 1 and {2**24}, but is {self.grid_units}")
        if not (1 / self.grid_units <= self.coordinate_cap <= 1):
            raise PrivacyError(f"coordinate_cap must lie between 1 / grid_units and 1, but is {self.coordinate_cap}")
        if not MIN_CLIENT_SIGMA <= self.client_sigma <= SIGMA_MAX:
            raise PrivacyError(
                f"client_sigma must lie between {MIN_CLIENT_SIGMA:g} and {SIGMA_MAX:g} grid units, but is "
                f"{self.client_sigma:g}; change the noise or grid_units"
            )

    @property
    def scale(self) -> float:
        """Grid units per unit of the update: an opened sum divided by this is in the table's own units."""
        return self.grid_units / self.clip_norm

    @property
    def sensitivity(self) -> float:
        """Largest L2 norm before noise in grid units, what rounding adds to the norm included."""
        return rounded_sensitivity(self.grid_units, self.dimension)

    @property
    def value_bound(self) -> int:
        """Largest absolute value of a coordinate before noise, grid units."""
        return min(math.ceil(self.coordinate_cap * self.grid_units), math.isqrt(self._norm_limit))

    @cached_property
    def _norm_limit(self) -> int:
        return rounded_norm_squared(self.grid_units, self.dimension)

    @cached_property
    def _noise(self) -> DiscreteGaussian:
        return DiscreteGaussian(self.client_sigma)

    def noise_multiplier(self, min_survivors: int) -> float:
        """Deviation of the sum of that many clients' noise over `sensitivity`, as it really is."""
        return self.client_sigma * math.sqrt(min_survivors) / self.sensitivity

    def event(self, label: str, *, min_survivors: int, noise_source: str) -> DistributedGaussianSum:
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
        )

    def round_and_clip(
        self, rows: NDArray[np.int32], delta: NDArray[np.float32], stream: KeyStream
    ) -> NDArray[np.int64]:
        """The upload before noise, (dimension,) int64 grid units; not to leave the device.

        rows: (t,) int32, the touched item rows, no row twice; delta: (t, dim) float32, their change; all other rows
        are zero. stream: gives one word for each touched coordinate and try. Same stream, same result, to the bit.
        Raises PrivacyError for an update that is not finite, ValueError for rows and delta that do not fit.
        """
        _check(rows, delta, self.dimension)
        scaled = np.empty(delta.shape, dtype=np.float64)
        if not _scale(delta, self.clip_norm, float(self.grid_units), self.coordinate_cap, scaled):
            raise PrivacyError(_NOT_FINITE)
        whole = np.empty(delta.shape, dtype=np.int64)
        while _round(scaled, stream.uint64(delta.size).reshape(delta.shape), whole) > self._norm_limit:
            pass  # each try passes with probability at least 0.39, whatever the update is
        values = np.zeros((self.dimension // delta.shape[1], delta.shape[1]), dtype=np.int64)
        values[rows] = whole
        return values.reshape(self.dimension)

    def privatise(self, rows: NDArray[np.int32], delta: NDArray[np.float32], stream: KeyStream) -> NDArray[np.int64]:
        """The upload, (dimension,) int64 grid units: `round_and_clip` with noise on every coordinate.

        The noise continues the stream where the rounding stopped, so each stream must serve one update only.
        """
        values = self.round_and_clip(rows, delta, stream)
        values += self._noise.sample(stream, self.dimension)
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

    def saturated(self, delta: NDArray[np.float32]) -> int:
        """How many coordinates of delta (t, dim) do not fit and would be cut to `value_bound`."""
        return int(np.count_nonzero(np.abs(np.rint(delta.astype(np.float64) * self.scale)) > self.value_bound))

    def privatise(
        self, rows: NDArray[np.int32], delta: NDArray[np.float32], stream: KeyStream | None = None
    ) -> NDArray[np.int64]:
        """The upload, (dimension,) int64 steps, to the nearest (ties to even). Raises as `Mechanism.round_and_clip`."""
        _check(rows, delta, self.dimension)
        if not np.isfinite(delta).all():
            raise PrivacyError(_NOT_FINITE)
        values = np.zeros((self.dimension // delta.shape[1], delta.shape[1]), dtype=np.int64)
        values[rows] = np.clip(np.rint(delta.astype(np.float64) * self.scale), -self.value_bound, self.value_bound)
        return values.reshape(self.dimension)


def _check(rows: NDArray[np.int32], delta: NDArray[np.float32], dimension: int) -> None:
    if delta.ndim != 2 or rows.shape != delta.shape[:1] or delta.shape[1] < 1 or dimension % delta.shape[1]:
        raise ValueError(f"rows {rows.shape} and delta {delta.shape} do not fit a table of {dimension} values")
    if not np.issubdtype(rows.dtype, np.integer) or not _distinct(rows, dimension // delta.shape[1]):
        raise ValueError("rows must be distinct whole numbers from 0 to n_items - 1")


@njit(cache=True, nogil=True)
def _distinct(rows: NDArray[np.int32], n_rows: int) -> bool:
    seen = np.zeros(n_rows, dtype=np.bool_)
    for row in rows:
        if row < 0 or row >= n_rows or seen[row]:
            return False
        seen[row] = True
    return True


@njit(cache=True, nogil=True)
def _scale(
    delta: NDArray[np.float32],
    clip_norm: float,
    grid_units: float,
    coordinate_cap: float,
    scaled: NDArray[np.float64],
) -> bool:
    """Cap, clip to the norm and scale to the grid. False when a value is not finite."""
    cap, scaled_cap = coordinate_cap * clip_norm, coordinate_cap * grid_units
    square = 0.0
    for t in range(delta.shape[0]):
        for k in range(delta.shape[1]):
            if not np.isfinite(delta[t, k]):
                return False
            value = min(max(np.float64(delta[t, k]), -cap), cap)
            scaled[t, k] = value
            square += value * value
    factor = grid_units / max(clip_norm, np.sqrt(square))
    for t in range(delta.shape[0]):
        for k in range(delta.shape[1]):
            # the second cap undoes what the multiplication may have rounded up
            scaled[t, k] = min(max(scaled[t, k] * factor, -scaled_cap), scaled_cap)
    return True


@njit(cache=True, nogil=True)
def _round(scaled: NDArray[np.float64], words: NDArray[np.uint64], whole: NDArray[np.int64]) -> int:
    """Round each value up with its fraction as probability (53 bits of its word); returns the squared norm."""
    square = np.int64(0)
    for t in range(scaled.shape[0]):
        for k in range(scaled.shape[1]):
            value = scaled[t, k]
            floor = np.floor(value)
            up = np.float64(words[t, k] >> np.uint64(11)) * 2.0**-53 < value - floor
            rounded = np.int64(floor) + np.int64(up)
            whole[t, k] = rounded
            square += rounded * rounded
    return int(square)
