"""From settings to what each kind of release does to an upload, its event in the ledger, and what must be summed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import protocols
from securerec.config import Config, PrivacySettings
from securerec.errors import ConfigError
from securerec.federation.warm_start import PAIRS, segments_name, sketch_name
from securerec.models.neighbours import pair_width, sketched
from securerec.models.sketch import SUMS, sketch_width
from securerec.privacy import calibration
from securerec.privacy.accounting import Epsilon, central_epsilon, interaction_epsilon, local_epsilon
from securerec.privacy.events import Event, Unprotected
from securerec.privacy.mechanism import MIN_CLIENT_SIGMA, FixedPoint, Mechanism, client_sigma_for, rounded_sensitivity
from securerec.privacy.other_noise import LaplaceMechanism, SkellamMechanism
from securerec.training.interaction.calibration import calibrate
from securerec.training.interaction.settings import InteractionSettings

MECHANISMS: dict[str, type[Mechanism]] = {
    "gaussian": Mechanism, "skellam": SkellamMechanism, "laplace": LaplaceMechanism
}  # fmt: skip
"""By the name that settings give them."""

CLEAR_FRACTION_BITS = 10
CLEAR_VALUE_BOUND = 1 << 21
"""Without privacy a coordinate of a round travels in steps of 2^-10 and is held within +-2048."""

UNIT_FRACTION_BITS = 20
"""Without privacy a coordinate of a vector of norm 1 travels in steps of 2^-20."""

PAIR_FRACTION_BITS = 10
"""A pair's value, between 0 and 1, travels in steps of 2^-10."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A kind of release that a run plans.

    dimension: values of a client's vector; count: how often it is released; share: of the privacy budget, all releases
    of this kind together. clip_norm: bound of the vector, L2, or L1 where the mechanism clips so; nonnegative: whether
    no value is below zero. sgd: how devices train where their noise is in the training, and not in the upload.
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
    sgd: InteractionSettings | None = None


def planned(config: Config, n_items: int) -> list[Planned]:
    """What a resolved configuration releases, in the order in which it does; spare attempts count as releases."""
    start, training, privacy = config.start, config.training, config.privacy
    once, releases = 1 + privacy.spare_attempts, []
    if start.head:
        releases.append(Planned("popularity", n_items, once, start.popularity_share or 0.0, nonnegative=True))
    if start.head and start.segments:
        share = (start.segment_share or 0.0) / len(start.segments)
        releases += [
            Planned(segments_name(number), n_items * (1 + width), once, share)
            for number, width in enumerate(start.segments)
        ]
    if start.head and start.pairs and sketched(n_items):
        dimension = n_items * sketch_width(n_items, start.pairs)
        releases += [Planned(sketch_name(number), dimension, once, 0.0) for number in range(SUMS)]
    elif start.head and start.pairs:
        dimension = n_items * pair_width(n_items)
        releases.append(
            Planned(
                PAIRS, dimension, once, 0.0, nonnegative=True, fraction_bits=PAIR_FRACTION_BITS,
                clear_bound=1 << PAIR_FRACTION_BITS,
            )
        )  # fmt: skip
    rest = 1.0 - sum(each.share for each in releases)
    if training.rounds:
        learner = training.learner()
        releases.append(
            Planned(
                "round", (n_items + learner.shared_rows) * learner.dim, training.rounds + privacy.spare_attempts,
                rest, privacy.clip_norm, privacy.coordinate_cap, fraction_bits=CLEAR_FRACTION_BITS,
                clear_bound=CLEAR_VALUE_BOUND,
                sgd=_sgd(config) if privacy.unit == "interaction" else None,
            )
        )  # fmt: skip
    return releases


@dataclass(frozen=True, slots=True)
class Promise:
    """What every release of a kind does to an upload, and how many of the cohort its noise is sized for.

    min_survivors: a sum of fewer is not opened; min_honest: of so many the noise counts, the others may side with
    whoever looks. sgd: devices train by it, and its noise is all there is: the quantiser adds none.
    """

    quantiser: Mechanism | FixedPoint
    min_survivors: int
    min_honest: int
    noise_source: str
    delta: float
    sgd: InteractionSettings | None = None

    def event(self, label: str) -> Event:
        """What the ledger holds before the first upload of a release leaves."""
        if self.sgd is not None:
            return self.sgd.event(label, noise_source=self.noise_source)
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


def attempt_label(label: str, attempt: int) -> str:
    """What names an attempt at a release in ledgers, and all noise in it."""
    return label if attempt == 1 else f"{label}, attempt {attempt}"


def figure_of(settings: PrivacySettings) -> Callable[..., Epsilon]:
    """What counts the epsilon of a run's own unit from its events, against whoever sees the sums."""
    return interaction_epsilon if settings.unit == "interaction" else central_epsilon


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
    quantisers: list[Mechanism | FixedPoint] = []
    if settings.privacy and releases and not any(each.sgd for each in releases):
        quantisers += _mechanisms(settings, releases, min_honest)
    else:
        quantisers += [FixedPoint(each.dimension, each.fraction_bits, each.clear_bound) for each in releases]
    return {
        each.name: Promise(quantiser, min_survivors, min_honest, noise_source, settings.delta, each.sgd)
        for each, quantiser in zip(releases, quantisers, strict=True)
    }


def _mechanisms(settings: PrivacySettings, releases: Sequence[Planned], min_honest: int) -> list[Mechanism]:
    """Each kind of release with its noise."""
    kind = MECHANISMS[settings.mechanism]
    least = [
        kind(
            clip_norm=each.clip_norm, dimension=each.dimension, coordinate_cap=each.coordinate_cap,
            client_sigma=MIN_CLIENT_SIGMA, grid_units=settings.grid_units, nonnegative=each.nonnegative,
        )
        for each in releases
    ]  # fmt: skip
    if kind is Mechanism and settings.noise_multiplier is None:
        sigmas = _gaussian_sigmas(settings, releases, min_honest)
        return [replace(each, client_sigma=sigma) for each, sigma in zip(least, sigmas, strict=True)]

    # Shares are of zero-concentrated privacy for all noise, which is what many small losses of any kind add up to.
    factors = [math.sqrt(each.count / each.share) for each in releases]

    def at(amount: float) -> list[Mechanism]:
        """Noise multipliers of the sums in these proportions; of one client's uploads for a local epsilon."""
        sharing = 1 if settings.local_epsilon is not None else min_honest
        return [
            replace(each, client_sigma=client_sigma_for(amount * factor, each.sensitivity, sharing))
            for each, factor in zip(least, factors, strict=True)
        ]

    def events(amount: float) -> list[Event]:
        return [
            mechanism.event(each.name, min_survivors=min_honest, noise_source="os")
            for each, mechanism in zip(releases, at(amount), strict=True)
            for _ in range(each.count)
        ]

    if settings.noise_multiplier is not None:
        return at(settings.noise_multiplier / factors[-1])
    local = settings.local_epsilon is not None
    epsilon = settings.local_epsilon if settings.local_epsilon is not None else _central(settings)
    found = calibration.calibrate_events(
        events, local_epsilon if local else central_epsilon, epsilon=epsilon, delta=settings.delta,
        start=0.5 * math.sqrt(2 * math.log(1 / settings.delta)) / epsilon,
    )  # fmt: skip
    return at(found)


def _gaussian_sigmas(settings: PrivacySettings, releases: Sequence[Planned], min_honest: int) -> list[float]:
    """One client's noise in grid units for an epsilon, for each kind of release."""
    kinds = [
        calibration.Release(
            sensitivity=rounded_sensitivity(settings.grid_units, each.dimension), dimension=each.dimension,
            min_survivors=min_honest, count=each.count, weight=each.share, nonnegative=each.nonnegative,
        )
        for each in releases
    ]  # fmt: skip
    if settings.local_epsilon is not None:
        return calibration.calibrate_local_mix(kinds, epsilon=settings.local_epsilon, delta=settings.delta)
    multipliers = calibration.calibrate_mix(kinds, epsilon=_central(settings), delta=settings.delta)
    return [
        client_sigma_for(multiplier, kind.sensitivity, kind.min_survivors)
        for multiplier, kind in zip(multipliers, kinds, strict=True)
    ]


def _central(settings: PrivacySettings) -> float:
    if settings.epsilon is None:
        raise ConfigError("privacy is on, but nothing sets the noise: give an epsilon or a noise multiplier")
    return settings.epsilon


def _sgd(config: Config) -> InteractionSettings:
    """DP-SGD on the device as a resolved configuration has it. Raises PrivacyError where no noise will do."""
    training, privacy, own = config.training, config.privacy, config.interaction
    if training.score_lr is None or own.item_lr is None or own.sample_rate is None or own.steps is None:
        raise ValueError("settings are not resolved yet")
    noise = _sgd_noise(_central(privacy), privacy.delta, training.rounds or 0, own.sample_rate, own.steps)
    return InteractionSettings(
        noise, sample_rate=own.sample_rate, steps=own.steps, clip_norm=privacy.clip_norm, score_lr=training.score_lr,
        item_lr=own.item_lr,
    )  # fmt: skip


@cache
def _sgd_noise(epsilon: float, delta: float, rounds: int, sample_rate: float, steps: int) -> float:
    """Remembered, since finding it takes seconds."""
    return calibrate(epsilon=epsilon, delta=delta, rounds=rounds, sample_rate=sample_rate, steps=steps)
