"""From settings to a round's mechanism, its event in the ledger, and what the protocol must be able to sum."""

import math
from dataclasses import dataclass

import protocols
from securerec.config import PrivacySettings
from securerec.errors import ConfigError
from securerec.privacy import calibration
from securerec.privacy.events import Event, Unprotected
from securerec.privacy.mechanism import FixedPoint, Mechanism, client_sigma_for, rounded_sensitivity

CLEAR_FRACTION_BITS = 10
CLEAR_VALUE_BOUND = 1 << 21
"""Without privacy a coordinate travels in steps of 2^-10 and is held within +-2048."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What every round of a run does to an upload, and how many of the cohort its noise is sized for."""

    quantiser: Mechanism | FixedPoint
    min_survivors: int
    noise_source: str
    delta: float

    def event(self, round_number: int, attempt: int = 1) -> Event:
        """What the ledger holds before the round's first upload leaves; an attempt with other updates costs again."""
        label = f"round {round_number}" + (f", attempt {attempt}" if attempt > 1 else "")
        if isinstance(self.quantiser, FixedPoint):
            return Unprotected(label)
        return self.quantiser.event(label, min_survivors=self.min_survivors, noise_source=self.noise_source)

    def spec(self, cohort: int) -> protocols.SumSpec:
        """What the protocol must sum exactly for a cohort of that many clients."""
        return protocols.SumSpec(
            length=self.quantiser.dimension,
            max_clients=cohort,
            min_clients=self.min_survivors,
            value_bound=self.quantiser.value_bound,
            noise_sigma=self.quantiser.client_sigma,
        )


def make_promise(settings: PrivacySettings, *, rounds: int, cohort: int, dimension: int, noise_source: str) -> Promise:
    """Size the noise for resolved settings. dimension: n_items * dim. Raises ConfigError when it cannot be done."""
    min_survivors = max(1, math.ceil(settings.surviving * cohort))
    if not settings.privacy:
        quantiser = FixedPoint(dimension, CLEAR_FRACTION_BITS, CLEAR_VALUE_BOUND)
        return Promise(quantiser, min_survivors, noise_source, settings.delta)
    sensitivity = rounded_sensitivity(settings.grid_units, dimension)
    if settings.local_epsilon is not None:
        client_sigma = calibration.calibrate_client_sigma(
            epsilon=settings.local_epsilon, delta=settings.delta, rounds=rounds, sensitivity=sensitivity
        )
    else:
        multiplier = settings.noise_multiplier
        if multiplier is None:
            if settings.epsilon is None:
                raise ConfigError("privacy is on, but nothing sets the noise: give an epsilon or a noise multiplier")
            multiplier = calibration.calibrate_noise_multiplier(
                epsilon=settings.epsilon, delta=settings.delta, rounds=rounds, dimension=dimension,
                sensitivity=sensitivity, min_survivors=min_survivors,
            )  # fmt: skip
        client_sigma = client_sigma_for(multiplier, sensitivity, min_survivors)
    mechanism = Mechanism(
        clip_norm=settings.clip_norm, dimension=dimension, coordinate_cap=settings.coordinate_cap,
        client_sigma=client_sigma, grid_units=settings.grid_units,
    )  # fmt: skip
    return Promise(mechanism, min_survivors, noise_source, settings.delta)
