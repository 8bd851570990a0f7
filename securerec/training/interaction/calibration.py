"""The noise for a wished-for epsilon of one interaction, found by asking the accounting itself."""

import math
from collections.abc import Sequence
from functools import cache

from scipy.optimize import brentq

from securerec.errors import PrivacyError
from securerec.privacy.accounting import interaction_epsilon
from securerec.privacy.accounting.accountants import DEFAULT
from securerec.privacy.events import InteractionSgd
from securerec.training.interaction.settings import InteractionSettings

MOST_NOISE = 100.0
"""Clip norms; more does not fit the grid of `InteractionSettings`."""


def calibrate(
    *,
    epsilon: float,
    delta: float,
    rounds: int,
    sample_rate: float = 1.0,
    steps: int = 1,
    accountant: str = DEFAULT,
) -> float:
    """The least noise multiplier, to 1e-3 (relative), that keeps one interaction within epsilon over all rounds.

    The events of settings with this noise never count for more than `epsilon` with the same accountant. Raises
    PrivacyError when none will do.
    """
    if not 0 < epsilon < float("inf") or rounds < 1:
        raise PrivacyError(f"calibration needs a positive epsilon and rounds, but got {epsilon} and {rounds}")

    @cache
    def log_excess(log_noise: float) -> float:
        settings = InteractionSettings(math.exp(log_noise), sample_rate=sample_rate, steps=steps)
        found = interaction_epsilon(_plan(settings, rounds), delta=delta, accountant=accountant).epsilon
        return math.log(max(found, 1e-12) / epsilon) if found < math.inf else 700.0

    # Without sampling, z sqrt(2 ln(1 / delta)) sqrt(count) / epsilon is near; sampling divides it by up to its rate.
    guess = sample_rate * math.sqrt(2 * math.log(1 / delta) * rounds * steps) / epsilon
    most = math.log(MOST_NOISE)
    low = high = math.log(min(max(guess, 0.4), MOST_NOISE))
    while log_excess(high) > 0:
        if high == most:
            raise PrivacyError(
                f"no noise that fits the grid keeps an interaction within epsilon {epsilon:g} at delta {delta:g}: "
                "take fewer rounds or steps, or a smaller sample_rate"
            )
        low, high = high, min(high + 0.5, most)
    while low == high or log_excess(low) <= 0:
        low, high = low - 0.5, low
    found = high
    if log_excess(high) < 0:
        found = float(brentq(log_excess, low, high, xtol=4e-4, rtol=1e-9))
    while log_excess(found) > 0:
        found += 4e-4
    return math.exp(found)


def _plan(settings: InteractionSettings, rounds: int) -> Sequence[InteractionSgd]:
    return [settings.event(f"round {number}", noise_source="os") for number in range(1, rounds + 1)]
