"""What was released, as plain data: written to the ledger when it happens, counted later by anybody.

An event's fields never change their meaning. `event_json` writes and reads them, a line each.

Neighbouring inputs. *Zero-out*: one user's y_u is replaced by zero. *Any for any*: one user's y_u is replaced by any
other that it may have. *Add/remove*: one example of a device is there or not. An event says what it releases; which of
these a figure speaks of, and against whom, is for `accounting` to say.

Fields that several events share. label: names the release within a run, such as "round 12". dimension: whole numbers
in one upload. clip_norm: in the update's own units; grid_units: what clip_norm is on the grid of whole numbers;
sensitivities and noise: grid units. min_survivors: the fewest honest clients whose noise is in the sum; colluding
clients, who can take theirs away, are not among them. noise_source: "os", or "seed" for noise that whoever knows the
seed can take away again (simulation only).
"""

import math
import sys
from dataclasses import dataclass
from typing import Any

from securerec.errors import PrivacyError

NOISE_SOURCES = ("os", "seed")
SAMPLINGS = ("poisson", "fixed")


@dataclass(frozen=True)
class DistributedGaussianSum:
    """Releases sum_u (y_u + z_u), u ranging over the clients whose upload was summed, at least `min_survivors` of
    them honest.

    y_u in Z^dimension is a function of user u's data (and of what was released before) alone with ||y_u||_2 <=
    sensitivity, and z_u ~ N_Z(0, client_sigma^2)^dimension, independent, drawn by u itself and added before the upload
    left. Nothing else about y_u is released. Each client takes part at most once.

    Unit: one user. The sum's noise multiplier is client_sigma sqrt(min_survivors) / sensitivity. Any for any, two y_u
    are at most 2 sensitivity apart, or sqrt(2) sensitivity when nonnegative.

    clip_norm: L2; sensitivity / grid_units is what rounding adds. nonnegative: no y_u has a negative coordinate.
    """

    label: str
    dimension: int
    clip_norm: float
    grid_units: int
    sensitivity: float
    client_sigma: float
    min_survivors: int
    noise_source: str
    nonnegative: bool

    def __post_init__(self) -> None:
        _check(self, whole=("dimension", "grid_units", "min_survivors"))
        _check(self, positive=("clip_norm", "sensitivity", "client_sigma"))
        if self.client_sigma < 0.5:  # below, the theorem about sums of discrete Gaussians does not hold
            raise PrivacyError(f"event {self.label!r}: client_sigma must be at least 0.5, but is {self.client_sigma!r}")
        if type(self.nonnegative) is not bool:
            raise PrivacyError(f"event {self.label!r}: nonnegative must be true or false, but is {self.nonnegative!r}")

    @property
    def noise_multiplier(self) -> float:
        """Deviation of min_survivors clients' noise together, over the sensitivity."""
        return self.client_sigma * math.sqrt(self.min_survivors) / self.sensitivity


@dataclass(frozen=True)
class DistributedSkellamSum:
    """Releases sum_u (y_u + z_u) as `DistributedGaussianSum` does, with z_u ~ Sk(client_variance)^dimension.

    Sk(v) is the law of the difference of two independent Poisson draws of mean v / 2 each; v is its variance. The sum
    of min_survivors draws is Sk(min_survivors client_variance) exactly. ||y_u||_2 <= sensitivity and ||y_u||_1 <=
    sensitivity_l1.

    Unit: one user. Any for any, two y_u are at most 2 sensitivity_l1 apart in L1, and in L2 2 sensitivity, or sqrt(2)
    sensitivity when nonnegative.

    clip_norm: L2. nonnegative: no y_u has a negative coordinate.
    """

    label: str
    dimension: int
    clip_norm: float
    grid_units: int
    sensitivity: float
    sensitivity_l1: float
    client_variance: float
    min_survivors: int
    noise_source: str
    nonnegative: bool

    def __post_init__(self) -> None:
        _check(self, whole=("dimension", "grid_units", "min_survivors"))
        _check(self, positive=("clip_norm", "sensitivity", "sensitivity_l1", "client_variance"))
        if type(self.nonnegative) is not bool:
            raise PrivacyError(f"event {self.label!r}: nonnegative must be true or false, but is {self.nonnegative!r}")

    @property
    def noise_multiplier(self) -> float:
        """Deviation of min_survivors clients' noise together, over the L2 sensitivity."""
        return math.sqrt(self.client_variance * self.min_survivors) / self.sensitivity


@dataclass(frozen=True)
class DistributedLaplaceSum:
    """Releases sum_u (y_u + z_u) as `DistributedGaussianSum` does, with each coordinate of z_u discrete Laplace.

    P[z = k] is proportional to exp(-|k| / client_scale), k a whole number; ||y_u||_1 <= sensitivity.

    Unit: one user. One client's noise alone makes any shift of L1 norm s cost exactly s / client_scale, with delta 0:
    zero-out s = sensitivity, any for any s = 2 sensitivity. All survivors' noise together does better, see
    `accounting.figures`.

    clip_norm: L1.
    """

    label: str
    dimension: int
    clip_norm: float
    grid_units: int
    sensitivity: float
    client_scale: float
    min_survivors: int
    noise_source: str

    def __post_init__(self) -> None:
        _check(self, whole=("dimension", "grid_units", "min_survivors"))
        _check(self, positive=("clip_norm", "sensitivity", "client_scale"))


@dataclass(frozen=True)
class GaussianSum:
    """Releases sum_u v_u + N(0, (noise_multiplier C)^2 I), ||v_u||_2 <= C, by a curator who saw every v_u.

    Continuous noise: for experiments and for comparison with libraries. Unit: one user, zero-out. Against the curator
    nothing is promised, so no local figure is finite.
    """

    label: str
    noise_multiplier: float
    noise_source: str

    def __post_init__(self) -> None:
        _check(self, positive=("noise_multiplier",))


@dataclass(frozen=True)
class SampledSum:
    """Releases `inner` count times, each time over a cohort drawn afresh and independently of the data.

    sampling "poisson": each user is in a cohort with probability sample_rate, independently of all others. "fixed":
    a cohort is a uniform subset of sample_rate times the population, drawn without replacement. `inner`'s
    min_survivors holds for every cohort.

    The sampling counts only against those who never learn who took part, neither from the transport nor from the
    cohorts' sizes; the server of a round does. Unit: one user, zero-out.
    """

    label: str
    inner: DistributedGaussianSum | GaussianSum
    sampling: str
    sample_rate: float
    count: int

    def __post_init__(self) -> None:
        _check(self, whole=("count",), positive=("sample_rate",))
        if not isinstance(self.inner, DistributedGaussianSum | GaussianSum):
            raise PrivacyError(f"event {self.label!r}: inner must be a Gaussian sum, but is {self.inner!r}")
        if self.sampling not in SAMPLINGS:
            raise PrivacyError(f'event {self.label!r}: sampling must be "poisson" or "fixed", not {self.sampling!r}')
        if self.sample_rate > 1:
            raise PrivacyError(f"event {self.label!r}: sample_rate must be at most 1, but is {self.sample_rate!r}")

    @property
    def noise_source(self) -> str:
        return self.inner.noise_source


@dataclass(frozen=True)
class ShuffledReports:
    """Releases the reports R_1(x_1), ..., R_n(x_n), n = `reports`, in uniformly random order and without their origin.

    One report of each of n users; each R_i is (local_epsilon, local_delta)-DP, any for any, and may depend on the
    reports released before it. Nobody who sees the order of arrival, a server with transport logs for instance, is
    covered by more than the local figure.
    """

    label: str
    local_epsilon: float
    local_delta: float
    reports: int

    def __post_init__(self) -> None:
        _check(self, whole=("reports",), positive=("local_epsilon",))
        if type(self.local_delta) not in (int, float) or not 0 <= self.local_delta < 1:
            raise PrivacyError(
                f"event {self.label!r}: local_delta must be at least 0 and below 1, but is {self.local_delta!r}"
            )


@dataclass(frozen=True)
class InteractionSgd:
    """Releases a function of the iterates of DP-SGD on one device, and of nothing else about its interactions.

    `steps` steps; in each, every example (an interaction with its own negatives, which are drawn independently of the
    other interactions) is taken with probability sample_rate, independently; gradients over all that is trained are
    clipped to clip_norm (L2) an example, summed, and N(0, (noise_multiplier clip_norm)^2 I) is added. On a device that
    trains in several rounds each has an event of its own.

    Unit: one *interaction* of one user, add/remove. A whole user is not protected: no user-level figure is finite.
    """

    label: str
    sample_rate: float
    noise_multiplier: float
    steps: int
    clip_norm: float
    noise_source: str

    def __post_init__(self) -> None:
        _check(self, whole=("steps",), positive=("sample_rate", "noise_multiplier", "clip_norm"))
        if self.sample_rate > 1:
            raise PrivacyError(f"event {self.label!r}: sample_rate must be at most 1, but is {self.sample_rate!r}")


@dataclass(frozen=True)
class Unprotected:
    """Releases an arbitrary function of users' data without noise: no finite epsilon covers it, in any unit."""

    label: str

    def __post_init__(self) -> None:
        _check(self)


Event = (
    DistributedGaussianSum
    | DistributedSkellamSum
    | DistributedLaplaceSum
    | GaussianSum
    | SampledSum
    | ShuffledReports
    | InteractionSgd
    | Unprotected
)


def _check(event: Any, whole: tuple[str, ...] = (), positive: tuple[str, ...] = ()) -> None:
    label = event.label
    if not isinstance(label, str) or not 0 < len(label) <= 200 or not label.isprintable():
        raise PrivacyError(f"an event's label must be 1 to 200 printable characters, but is {label!r}")
    for name in whole:
        value = getattr(event, name)
        if type(value) is not int or not 1 <= value < 2**63:
            raise PrivacyError(f"event {label!r}: {name} must be a whole number of at least 1, but is {value!r}")
    for name in positive:
        value = getattr(event, name)
        if type(value) not in (int, float) or not 0 < value <= sys.float_info.max:
            raise PrivacyError(f"event {label!r}: {name} must be a positive number, but is {value!r}")
    source = getattr(event, "noise_source", "os")
    if source not in NOISE_SOURCES:
        raise PrivacyError(f'event {label!r}: noise_source must be "os" or "seed", but is {source!r}')
