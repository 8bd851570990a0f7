import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securerec.errors import PrivacyError
from securerec.privacy.accounting import central_epsilon, local_epsilon
from securerec.privacy.calibration import (
    Release,
    calibrate_client_sigma,
    calibrate_local_mix,
    calibrate_mix,
    calibrate_noise_multiplier,
)
from securerec.privacy.events import DistributedGaussianSum, Event
from securerec.privacy.mechanism import client_sigma_for, rounded_sensitivity


def event(label: str, client_sigma: float, release: Release) -> DistributedGaussianSum:
    return DistributedGaussianSum(
        label=label,
        dimension=release.dimension,
        clip_norm=1.0,
        grid_units=1000,
        sensitivity=release.sensitivity,
        client_sigma=client_sigma,
        min_survivors=release.min_survivors,
        noise_source="os",
    )


def events(releases: list[Release], sigmas: list[float], slack: float = 1.0) -> list[Event]:
    return [
        event(f"{kind} {i}", sigma * slack, release)
        for kind, (release, sigma) in enumerate(zip(releases, sigmas, strict=True))
        for i in range(release.count)
    ]


EPSILONS = st.floats(-2, 6).map(lambda x: 10**x)
DELTAS = st.sampled_from([1e-3, 1e-5, 1e-9])
RELEASES = st.lists(
    st.builds(
        lambda dimension, survivors, count, weight: Release(
            rounded_sensitivity(1000, dimension), dimension, survivors, count, weight
        ),
        st.sampled_from([1, 1682, 13_456, 53_824]),
        st.integers(1, 2000),
        st.integers(1, 60),
        st.floats(0.05, 20),
    ),
    min_size=1,
    max_size=3,
)


@settings(deadline=None, max_examples=60)
@given(releases=RELEASES, epsilon=EPSILONS, delta=DELTAS)
def test_calibrated_noise_never_overshoots(releases: list[Release], epsilon: float, delta: float) -> None:
    multipliers = calibrate_mix(releases, epsilon=epsilon, delta=delta)
    sigmas = [
        client_sigma_for(z, release.sensitivity, release.min_survivors)
        for z, release in zip(multipliers, releases, strict=True)
    ]
    assert central_epsilon(events(releases, sigmas), delta=delta).epsilon <= epsilon
    if min(sigmas) > 2.01:  # no floor: a little less noise would be too little
        assert central_epsilon(events(releases, sigmas, 1 - 1e-5), delta=delta).epsilon > epsilon


@settings(deadline=None, max_examples=60)
@given(releases=RELEASES, epsilon=EPSILONS, delta=DELTAS)
def test_calibrated_local_noise_never_overshoots(releases: list[Release], epsilon: float, delta: float) -> None:
    sigmas = calibrate_local_mix(releases, epsilon=epsilon, delta=delta)
    assert local_epsilon(events(releases, sigmas), delta=delta).epsilon <= epsilon
    if min(sigmas) > 2.01:
        assert local_epsilon(events(releases, sigmas, 1 - 1e-5), delta=delta).epsilon > epsilon


@pytest.mark.parametrize("epsilon", [0.5, 8.0, 100.0])
def test_calibration_by_prv_does_not_overshoot_prv(epsilon: float) -> None:
    release = Release(1002.2, 13_456, 900, 30)
    z = calibrate_noise_multiplier(
        epsilon=epsilon,
        delta=1e-5,
        rounds=30,
        dimension=13_456,
        sensitivity=1002.2,
        min_survivors=900,
        accountant="prv",
    )
    sigma = client_sigma_for(z, 1002.2, 900)
    assert central_epsilon(events([release], [sigma]), delta=1e-5, accountant="prv").epsilon <= epsilon
    assert central_epsilon(events([release], [sigma]), delta=1e-5).epsilon > epsilon  # tighter than rdp


def test_rounds_cost_the_square_root_of_their_number() -> None:
    def z(rounds: int) -> float:
        return calibrate_noise_multiplier(
            epsilon=2.0, delta=1e-5, rounds=rounds, dimension=13_456, sensitivity=1002.2, min_survivors=900
        )

    assert z(25) / z(1) == pytest.approx(5.0, rel=1e-5)


def test_weights_share_the_budget() -> None:
    once, often = Release(1000.5, 1682, 900, 1, weight=3.0), Release(1002.2, 13_456, 900, 20, weight=1.0)
    first, second = calibrate_mix([once, often], epsilon=4.0, delta=1e-5)
    share, rest = 1 / (2 * first**2), 20 / (2 * second**2)
    assert share / rest == pytest.approx(3.0, rel=1e-9)


def test_one_release_is_a_mix_of_one() -> None:
    release = Release(1002.2, 13_456, 900, 30)
    alone = calibrate_noise_multiplier(
        epsilon=4.0, delta=1e-5, rounds=30, dimension=13_456, sensitivity=1002.2, min_survivors=900
    )
    assert [alone] == calibrate_mix([release], epsilon=4.0, delta=1e-5)
    sigma = calibrate_client_sigma(epsilon=4.0, delta=1e-5, rounds=30, sensitivity=1002.2)
    assert [sigma] == calibrate_local_mix([release], epsilon=4.0, delta=1e-5)
    # against one client alone the noise must cover twice the sensitivity without help from the others
    assert sigma == pytest.approx(2 * 1002.2 * alone, rel=1e-5)


def test_the_floor_of_two_units_shows_in_the_answer() -> None:
    release = Release(1002.2, 13_456, 900)
    (z,) = calibrate_mix([release], epsilon=1e9, delta=1e-5)
    assert z == pytest.approx(2 * math.sqrt(900) / 1002.2)
    assert calibrate_client_sigma(epsilon=1e9, delta=1e-5, rounds=1, sensitivity=1002.2) == 2.0


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf, math.nan])
def test_an_epsilon_that_is_not_positive_and_finite_is_refused(epsilon: float) -> None:
    with pytest.raises(PrivacyError, match="epsilon must be positive"):
        calibrate_client_sigma(epsilon=epsilon, delta=1e-5, rounds=1, sensitivity=1.0)


def test_an_epsilon_below_what_prv_resolves_is_refused() -> None:
    with pytest.raises(PrivacyError, match="no noise reaches|cannot count"):
        calibrate_client_sigma(epsilon=0.001, delta=1e-5, rounds=1, sensitivity=1000.0, accountant="prv")


@pytest.mark.parametrize("release", [Release(1.0, 1, 1, 0), Release(1.0, 1, 1, 1, 0.0), Release(0.0, 1, 1)])
def test_a_release_without_count_weight_or_sensitivity_is_refused(release: Release) -> None:
    with pytest.raises(PrivacyError, match="planned release"):
        calibrate_mix([release], epsilon=1.0, delta=1e-5)
