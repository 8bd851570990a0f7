"""What a step of interaction-level DP-SGD is, on which grid, and what the ledger says of it."""

import math
from dataclasses import dataclass
from functools import cached_property

from securerec.errors import PrivacyError
from securerec.privacy.discrete_gaussian import DiscreteGaussian
from securerec.privacy.events import InteractionSgd

NOISE_UNITS = 4096.0
"""Deviation of the noise in grid units, whatever the settings: the grid's step follows from it."""
ROUNDING_UNITS = 2.0
"""Deviation of the randomised rounding that turns continuous into discrete noise, see `InteractionSettings`."""
_LEAST_CLIP_UNITS = 32


@dataclass(frozen=True)
class InteractionSettings:
    """DP-SGD on a device (Abadi et al. 2016, "Deep Learning with Differential Privacy", algorithm 1), on integers.

    A round has `steps` steps. In each, every example, one interaction with its own negatives, is taken with
    probability at most `sample_rate`, independently. Let g be its gradient over score function, bias and item rows
    and D = `clip_units`. The example contributes the integer vector round(g s), s being the largest factor up to
    D / clip_norm (a little less) that keeps its L2 norm within D; contributions are added exactly, and N_Z(0,
    NOISE_UNITS^2) is added to each coordinate. What is then done with the sum (`score_lr`, `item_lr`, the next step,
    the upload, the released model) is post-processing.

    noise_multiplier: at least that of the continuous Gaussian which reveals no less. A draw of y + N_Z(0, n^2) is, up
    to a factor within 1 +- 1e-30 at each integer, a randomised rounding of y + N(0, n^2 - r^2), r = ROUNDING_UNITS:
    choose integer z with probability proportional to exp(-(z - w)^2 / (2 r^2)); the normaliser is the same for all w
    within 2 exp(-2 pi^2 r^2) (Poisson summation; Peikert 2010, "An Efficient and Parallel Gaussian Sampler for
    Lattices", theorem 3.1). The same rounding serves every sampled subset, so it carries over to sampling, and
    accountants of the sampled Gaussian count it at `exact_multiplier`, sqrt(n^2 - r^2) / D.

    score_lr, item_lr: what a step subtracts of the noised *sum* of gradients: not of a mean, since the number of
    examples a device has is itself private. Raises PrivacyError for what is out of range.
    """

    noise_multiplier: float
    sample_rate: float = 1.0
    steps: int = 1
    clip_norm: float = 1.0
    score_lr: float = 0.1
    item_lr: float = 1.0

    def __post_init__(self) -> None:
        for name in ("noise_multiplier", "sample_rate", "clip_norm", "score_lr", "item_lr"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise PrivacyError(f"{name} of DP-SGD must be a positive number, but is {value!r}")
        if self.sample_rate > 1:
            raise PrivacyError(f"sample_rate is a probability, but is {self.sample_rate!r}")
        if type(self.steps) is not int or self.steps < 1:
            raise PrivacyError(f"a round has at least 1 step, but steps is {self.steps!r}")
        if not _LEAST_CLIP_UNITS <= self.clip_units < 2**30:
            raise PrivacyError(
                f"noise of {self.noise_multiplier:g} clip norms does not fit the grid: it must lie between "
                f"{NOISE_UNITS / 2**30:.0e} and {NOISE_UNITS / _LEAST_CLIP_UNITS:g}; change epsilon, sample_rate or "
                "steps"
            )

    @cached_property
    def clip_units(self) -> int:
        """Largest L2 norm of an example's contribution, grid units."""
        return math.floor(_continuous_units() / self.noise_multiplier)

    @property
    def exact_multiplier(self) -> float:
        """The noise multiplier that is accounted for; `noise_multiplier`, a little more by the whole number of
        units.
        """
        return math.nextafter(_continuous_units() / self.clip_units, 0.0)

    @property
    def unit(self) -> float:
        """A grid unit, in units of the gradient."""
        return self.clip_norm / self.clip_units

    @property
    def noise(self) -> DiscreteGaussian:
        """The law of each coordinate's noise, grid units."""
        return DiscreteGaussian(NOISE_UNITS)

    def event(self, label: str, *, noise_source: str) -> InteractionSgd:
        """What the ledger holds of one round, before its uploads leave."""
        return InteractionSgd(
            label=label,
            sample_rate=float(self.sample_rate),
            noise_multiplier=self.exact_multiplier,
            steps=self.steps,
            clip_norm=float(self.clip_norm),
            noise_source=noise_source,
        )


def _continuous_units() -> float:
    return math.sqrt(NOISE_UNITS**2 - ROUNDING_UNITS**2)
