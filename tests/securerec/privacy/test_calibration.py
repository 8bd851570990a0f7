import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securerec.errors import PrivacyError
from securerec.privacy.accounting import central_epsilon, interaction_epsilon, local_epsilon
from securerec.privacy.calibration import (
    Release,
    calibrate_client_sigma,
    calibrate_events,
    calibrate_local_mix,
    calibrate_mix,
    calibrate_noise_multiplier,
)
from securerec.privacy.events import (
    DistributedGaussianSum,
    DistributedLaplaceSum,
    DistributedSkellamSum,
    Event,
    InteractionSgd,
)
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
        nonnegative=release.nonnegative,
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
        lambda dimension, survivors, count, weight, nonnegative: Release(
            rounded_sensitivity(1000, dimension), dimension, survivors, count, weight, nonnegative
        ),
        st.sampled_from([1, 1682, 13_456, 53_824]),
        st.integers(1, 2000),
        st.integers(1, 60),
        st.floats(0.05, 20),
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
)


ACCOUNTANT = st.sampled_from(["gdp", "gdp", "rdp"])


@settings(deadline=None, max_examples=60)
@given(releases=RELEASES, epsilon=EPSILONS, delta=DELTAS, accountant=ACCOUNTANT)
def test_calibrated_noise_never_overshoots(
    releases: list[Release], epsilon: float, delta: float, accountant: str
) -> None:
    multipliers = calibrate_mix(releases, epsilon=epsilon, delta=delta, accountant=accountant)
    sigmas = [
        client_sigma_for(z, release.sensitivity, release.min_survivors)
        for z, release in zip(multipliers, releases, strict=True)
    ]
    assert central_epsilon(events(releases, sigmas), delta=delta, accountant=accountant).epsilon <= epsilon
    if min(sigmas) > 2.01:  # no floor: a little less noise would be too little
        less = events(releases, sigmas, 1 - 1e-5)
        assert central_epsilon(less, delta=delta, accountant=accountant).epsilon > epsilon


@settings(deadline=None, max_examples=60)
@given(releases=RELEASES, epsilon=EPSILONS, delta=DELTAS, accountant=ACCOUNTANT)
def test_calibrated_local_noise_never_overshoots(
    releases: list[Release], epsilon: float, delta: float, accountant: str
) -> None:
    sigmas = calibrate_local_mix(releases, epsilon=epsilon, delta=delta, accountant=accountant)
    assert local_epsilon(events(releases, sigmas), delta=delta, accountant=accountant).epsilon <= epsilon
    if min(sigmas) > 2.01:
        less = events(releases, sigmas, 1 - 1e-5)
        assert local_epsilon(less, delta=delta, accountant=accountant).epsilon > epsilon


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
    # tighter than rdp, and above the exact figure by its error of 0.01
    assert central_epsilon(events([release], [sigma]), delta=1e-5, accountant="rdp").epsilon > epsilon
    assert epsilon - 0.02 < central_epsilon(events([release], [sigma]), delta=1e-5).epsilon < epsilon


@pytest.mark.parametrize(("epsilon", "published"), [(1.0, 3.73), (2.0, 1.99), (4.0, 1.08), (8.0, 0.60)])
def test_calibrations_agree_with_the_known_noise_multipliers(epsilon: float, published: float) -> None:
    found = {
        name: calibrate_noise_multiplier(
            epsilon=epsilon, delta=1e-5, rounds=1, dimension=1682, sensitivity=1000.5, min_survivors=900,
            accountant=name,
        )
        for name in (("gdp", "pld", "prv", "rdp") if epsilon in (1.0, 8.0) else ("gdp", "prv", "rdp"))
    }  # fmt: skip
    assert found["gdp"] == pytest.approx(published, abs=0.005)
    assert found.get("pld", found["gdp"]) == pytest.approx(found["gdp"], rel=0.01)
    assert found["gdp"] < found["prv"] < 1.015 * found["gdp"]  # its error of 0.01 in epsilon is paid in noise
    assert found["gdp"] < found["rdp"] < 1.15 * found["gdp"]


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
    sigma = calibrate_client_sigma(epsilon=4.0, delta=1e-5, rounds=30, sensitivity=1002.2, dimension=13_456)
    assert [sigma] == calibrate_local_mix([release], epsilon=4.0, delta=1e-5)
    # against one client alone the noise must cover twice the sensitivity without help from the others
    assert sigma == pytest.approx(2 * 1002.2 * alone, rel=1e-5)
    nonnegative = calibrate_client_sigma(epsilon=4.0, delta=1e-5, rounds=30, sensitivity=1002.2, nonnegative=True)
    assert nonnegative == pytest.approx(math.sqrt(2) * 1002.2 * alone, rel=1e-5)


def test_the_floor_of_two_units_shows_in_the_answer() -> None:
    release = Release(1002.2, 13_456, 900)
    (z,) = calibrate_mix([release], epsilon=1e9, delta=1e-5)
    assert z == pytest.approx(2 * math.sqrt(900) / 1002.2)
    assert calibrate_client_sigma(epsilon=1e9, delta=1e-5, rounds=1, sensitivity=1002.2) == 2.0


def skellam(variance: float) -> list[Event]:
    shape = {"dimension": 1682, "clip_norm": 1.0, "grid_units": 1000, "sensitivity": 1000.5, "sensitivity_l1": 8000.0}
    rest = {"min_survivors": 900, "noise_source": "os", "nonnegative": True}
    return [DistributedSkellamSum(label=f"{i}", client_variance=variance, **shape, **rest) for i in range(3)]  # type: ignore[arg-type]


def laplace(scale: float) -> list[Event]:
    shape = {"dimension": 1682, "clip_norm": 1.0, "grid_units": 1000, "sensitivity": 1000.0}
    return [
        DistributedLaplaceSum(label=f"{i}", client_scale=scale, min_survivors=9, noise_source="os", **shape)  # type: ignore[arg-type]
        for i in range(3)
    ]


def sgd(noise_multiplier: float) -> list[Event]:
    return [InteractionSgd("device", 0.1, noise_multiplier, steps=40, clip_norm=1.0, noise_source="os")]


@pytest.mark.parametrize(("plan", "figure", "start", "epsilon"), [
    (skellam, central_epsilon, 1e4, 0.5), (skellam, local_epsilon, 1e7, 4.0), (laplace, local_epsilon, 1e3, 4.0),
    (laplace, central_epsilon, 1e3, 0.5), (sgd, interaction_epsilon, 1.0, 4.0),
])  # fmt: skip
def test_noise_of_any_kind_is_calibrated_and_never_overshoots(plan, figure, start, epsilon) -> None:  # type: ignore[no-untyped-def]
    noise = calibrate_events(plan, figure, epsilon=epsilon, delta=1e-5, start=start)
    assert figure(plan(noise), delta=1e-5).epsilon <= epsilon < figure(plan(noise * (1 - 1e-5)), delta=1e-5).epsilon


def test_a_plan_that_no_noise_can_save_is_refused() -> None:
    with pytest.raises(PrivacyError, match="no noise reaches"):
        calibrate_events(lambda noise: laplace(1.0), local_epsilon, epsilon=0.1, delta=1e-5, start=1.0)


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
