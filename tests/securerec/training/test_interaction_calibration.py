import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant, RDPAccountant
from opacus.accountants.utils import get_noise_multiplier

from securerec.errors import PrivacyError
from securerec.privacy.accounting import central_epsilon, interaction_epsilon, local_epsilon
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


@pytest.mark.parametrize(("epsilon", "rounds", "sample_rate"), [(0.5, 30, 0.2), (8.0, 10, 0.1)])
def test_calibrated_noise_of_sampled_steps_never_overshoots(epsilon: float, rounds: int, sample_rate: float) -> None:
    check(epsilon, rounds, 1, sample_rate)


def test_calibration_agrees_with_opacus() -> None:
    ours = calibrate(epsilon=8.0, delta=1e-5, rounds=20, accountant="rdp")
    theirs = get_noise_multiplier(
        target_epsilon=8.0, target_delta=1e-5, sample_rate=1.0, steps=20, accountant="rdp", epsilon_tolerance=1e-3
    )
    assert ours == pytest.approx(theirs, rel=0.01)


def test_what_is_counted_of_sampled_steps_agrees_with_opacus() -> None:
    rdp, prv = RDPAccountant(), PRVAccountant()
    rdp.history = prv.history = [(1.5, 0.04, 90 * 25)]
    plan = events(1.5, 90, sample_rate=0.04, steps=25)
    found = interaction_epsilon(plan, delta=1e-5, accountant="rdp").epsilon
    assert found == pytest.approx(rdp.get_epsilon(1e-5), rel=0.01)
    assert prv.get_epsilon(1e-5) < found, "the tighter accountant confirms that it is safe"


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
