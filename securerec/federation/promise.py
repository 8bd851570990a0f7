"""From settings to what each kind of release does to an upload, its event in the ledger, and what must be summed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import protocols
from securerec.config import Config, PrivacySettings
from securerec.errors import ConfigError
from securerec.privacy import calibration
from securerec.privacy.events import Event, Unprotected
from securerec.privacy.mechanism import FixedPoint, Mechanism, client_sigma_for, rounded_sensitivity

CLEAR_FRACTION_BITS = 10
CLEAR_VALUE_BOUND = 1 << 21
"""Without privacy a coordinate of a round travels in steps of 2^-10 and is held within +-2048."""

UNIT_FRACTION_BITS = 20
"""Without privacy a coordinate of a vector of norm 1 travels in steps of 2^-20."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A kind of release that a run plans.

    dimension: values of a client's vector; count: how often it is released; share: of the privacy budget, all releases
    of this kind together. clip_norm: L2 bound of the vector; nonnegative: whether no value is below zero.
    """

    name: str
    dimension: int
    count: int
    share: float
    clip_norm: float = 1.0
    coordinate_cap: float = 1.0
    nonnegative: bool = False
    fraction_bits: int = UNIT_FRACTION_BITS
    clear_bound: int = 1 << UNIT_FRACTION_BITS


def planned(config: Config, n_items: int) -> list[Planned]:
    """What a resolved configuration releases, in the order in which it does."""
    start, training, privacy = config.start, config.training, config.privacy
    releases = []
    if start.head:
        releases.append(Planned("popularity", n_items, 1, start.popularity_share or 0.0, nonnegative=True))
    if start.head and start.segments:
        releases.append(Planned("segments", n_items * (1 + start.segments), 1, start.segment_share or 0.0))
    rest = 1.0 - sum(each.share for each in releases)
    if training.rounds:
        releases.append(
            Planned(
                "round", n_items * training.model().dim, training.rounds, rest, privacy.clip_norm,
                privacy.coordinate_cap, fraction_bits=CLEAR_FRACTION_BITS, clear_bound=CLEAR_VALUE_BOUND,
            )
        )  # fmt: skip
    return releases


@dataclass(frozen=True, slots=True)
class Promise:
    """What every release of a kind does to an upload, and how many of the cohort its noise is sized for.

    min_survivors: a sum of fewer is not opened; min_honest: of so many the noise counts, the others may side with
    whoever looks.
    """

    quantiser: Mechanism | FixedPoint
    min_survivors: int
    min_honest: int
    noise_source: str
    delta: float

    def event(self, label: str) -> Event:
        """What the ledger holds before the first upload of a release leaves."""
        if isinstance(self.quantiser, FixedPoint):
            return Unprotected(label)
        return self.quantiser.event(label, min_survivors=self.min_honest, noise_source=self.noise_source)

    def spec(self, cohort: int) -> protocols.SumSpec:
        """What the protocol must sum exactly for a cohort of that many clients."""
        return protocols.SumSpec(
            length=self.quantiser.dimension,
            max_clients=cohort,
            min_clients=self.min_survivors,
            value_bound=self.quantiser.value_bound,
            noise_sigma=self.quantiser.tail_sigma(max_clients=cohort, min_clients=self.min_survivors),
        )


def make_promises(
    settings: PrivacySettings, releases: Sequence[Planned], *, cohort: int, noise_source: str
) -> dict[str, Promise]:
    """Size the noise of each kind of release for resolved settings.

    Raises ConfigError or PrivacyError when it cannot be done.
    """
    min_survivors = max(1, math.ceil(settings.surviving * cohort))
    min_honest = min_survivors - math.floor(settings.colluding * cohort)
    if min_honest < 1:
        raise ConfigError(
            f"of {min_survivors} survivors {math.floor(settings.colluding * cohort)} may collude, so nobody's noise "
            "counts: raise `surviving` or lower `colluding`"
        )
    quantisers: list[Mechanism | FixedPoint]
    if settings.privacy:
        sigmas = _client_sigmas(settings, releases, min_honest)
        quantisers = [
            Mechanism(
                clip_norm=each.clip_norm, dimension=each.dimension, coordinate_cap=each.coordinate_cap,
                client_sigma=sigma, grid_units=settings.grid_units, nonnegative=each.nonnegative,
            )
            for each, sigma in zip(releases, sigmas, strict=True)
        ]  # fmt: skip
    else:
        quantisers = [FixedPoint(each.dimension, each.fraction_bits, each.clear_bound) for each in releases]
    return {
        each.name: Promise(quantiser, min_survivors, min_honest, noise_source, settings.delta)
        for each, quantiser in zip(releases, quantisers, strict=True)
    }


def _client_sigmas(settings: PrivacySettings, releases: Sequence[Planned], min_honest: int) -> list[float]:
    """One client's noise in grid units, for each kind of release."""
    kinds = [
        calibration.Release(
            sensitivity=rounded_sensitivity(settings.grid_units, each.dimension), dimension=each.dimension,
            min_survivors=min_honest, count=each.count, weight=each.share, nonnegative=each.nonnegative,
        )
        for each in releases
    ]  # fmt: skip
    if settings.local_epsilon is not None:
        return calibration.calibrate_local_mix(kinds, epsilon=settings.local_epsilon, delta=settings.delta)
    if settings.noise_multiplier is not None:
        whole = settings.noise_multiplier / math.sqrt(kinds[-1].count / kinds[-1].weight)
        multipliers = [whole * math.sqrt(kind.count / kind.weight) for kind in kinds]
    elif settings.epsilon is not None:
        multipliers = calibration.calibrate_mix(kinds, epsilon=settings.epsilon, delta=settings.delta)
    else:
        raise ConfigError("privacy is on, but nothing sets the noise: give an epsilon or a noise multiplier")
    return [
        client_sigma_for(multiplier, kind.sensitivity, kind.min_survivors)
        for multiplier, kind in zip(multipliers, kinds, strict=True)
    ]
