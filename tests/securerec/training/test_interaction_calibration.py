import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants.utils import get_noise_multiplier

from securerec.errors import PrivacyError
from securerec.privacy.accounting import central_epsilon, interaction_epsilon, local_epsilon, prv_epsilon
from securerec.training.interaction.calibration import calibrate
from securerec.training.interaction.settings import InteractionSettings


def events(noise_multiplier: float, rounds: int, *, sample_rate: float = 1.0, steps: int = 1) -> list:
    config = InteractionSettings(noise_multiplier, sample_rate=sample_rate, steps=steps)
    return [config.event(f"round {number}", noise_source="os") for number in range(rounds)]


def check(epsilon: float, rounds: int, steps: int, sample_rate: float) -> None:
    z = calibrate(epsilon=epsilon, delta=1e-5, rounds=rounds, sample_rate=sample_rate, steps=steps)
    plan = events(z, rounds, sample_rate=sample_rate, steps=steps)
    assert interaction_epsilon(plan, delta=1e-5).epsilon <= epsilon
    less = events(z * 0.99, rounds, sample_rate=sample_rate, steps=steps)
    assert interaction_epsilon(less, delta=1e-5).epsilon > epsilon


@settings(max_examples=40)
@given(epsilon=st.floats(0.5, 100.0), rounds=st.integers(1, 30), steps=st.integers(1, 5))
def test_calibrated_noise_never_overshoots(epsilon: float, rounds: int, steps: int) -> None:
    check(epsilon, rounds, steps, 1.0)


@pytest.mark.parametrize(("epsilon", "rounds", "sample_rate"), [(0.5, 30, 0.2), (8.0, 10, 0.05)])
def test_calibrated_noise_of_sampled_steps_never_overshoots(epsilon: float, rounds: int, sample_rate: float) -> None:
    check(epsilon, rounds, 1, sample_rate)


@pytest.mark.parametrize(("epsilon", "sample_rate", "steps"), [(4.0, 0.04, 250), (8.0, 1.0, 20)])
def test_calibration_agrees_with_opacus(epsilon: float, sample_rate: float, steps: int) -> None:
    ours = calibrate(epsilon=epsilon, delta=1e-5, rounds=1, sample_rate=sample_rate, steps=steps, accountant="rdp")
    theirs = get_noise_multiplier(
        target_epsilon=epsilon, target_delta=1e-5, sample_rate=sample_rate, steps=steps, accountant="rdp",
        epsilon_tolerance=1e-3,
    )  # fmt: skip
    assert ours == pytest.approx(theirs, rel=0.01)


def test_the_tightest_accountant_confirms_that_calibration_is_safe() -> None:
    z = calibrate(epsilon=2.0, delta=1e-5, rounds=20, sample_rate=0.2)
    plan = events(z, 20, sample_rate=0.2)
    history = [(event.noise_multiplier, event.sample_rate, event.steps) for event in plan]
    assert 1.5 < prv_epsilon(history, delta=1e-5) <= 2.0


def test_the_user_unit_gets_no_finite_epsilon() -> None:
    plan = events(1.0, 3)
    assert math.isinf(central_epsilon(plan, delta=1e-5).epsilon)
    assert math.isinf(local_epsilon(plan, delta=1e-5).epsilon)
    figure = interaction_epsilon(plan, delta=1e-5)
    assert math.isfinite(figure.epsilon) and figure.unit == "interaction"


def test_what_cannot_be_reached_is_refused() -> None:
    with pytest.raises(PrivacyError, match="no noise that fits the grid"):
        calibrate(epsilon=1e-3, delta=1e-5, rounds=100)
    with pytest.raises(PrivacyError, match="positive epsilon"):
        calibrate(epsilon=0.0, delta=1e-5, rounds=1)
