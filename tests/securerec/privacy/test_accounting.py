"""What figures say of events: whose privacy, against whom, with whose noise."""

import dataclasses
import math

import numpy as np
import pytest

from securerec.errors import PrivacyError
from securerec.privacy.accounting import (
    ACCOUNTANTS,
    Skellam,
    central_epsilon,
    count,
    interaction_epsilon,
    local_epsilon,
    model_epsilon,
)
from securerec.privacy.accounting.gaussian import gdp_epsilon
from securerec.privacy.accounting.shuffle import shuffled_epsilon
from securerec.privacy.events import (
    DistributedGaussianSum,
    DistributedLaplaceSum,
    DistributedSkellamSum,
    Event,
    GaussianSum,
    InteractionSgd,
    SampledSum,
    ShuffledReports,
    Unprotected,
)

DELTA = 1e-5
FIGURES = (central_epsilon, local_epsilon, model_epsilon, interaction_epsilon)
ROUND = DistributedGaussianSum(
    label="round",
    dimension=13_456,
    clip_norm=50.0,
    grid_units=1000,
    sensitivity=1002.2,
    client_sigma=100.0,
    min_survivors=900,
    noise_source="os",
    nonnegative=False,
)
SKELLAM = DistributedSkellamSum(
    label="skellam",
    dimension=1682,
    clip_norm=1.0,
    grid_units=1000,
    sensitivity=1000.5,
    sensitivity_l1=8000.0,
    client_variance=10_000.0,
    min_survivors=900,
    noise_source="os",
    nonnegative=False,
)
LAPLACE = DistributedLaplaceSum(
    label="laplace",
    dimension=1682,
    clip_norm=1.0,
    grid_units=1000,
    sensitivity=1000.0,
    client_scale=2000.0,
    min_survivors=900,
    noise_source="os",
)
SGD = InteractionSgd(
    label="device", sample_rate=0.1, noise_multiplier=2.0, steps=50, clip_norm=1.0, noise_source="os"
)  # fmt: skip
CURATOR = GaussianSum(label="curator", noise_multiplier=2.0, noise_source="os")


def rounds(n: int, **changes: object) -> list[Event]:
    return [dataclasses.replace(ROUND, label=f"round {i}", **changes) for i in range(n)]


def exact(z: float, n: int = 1) -> float:
    return gdp_epsilon(math.sqrt(n) / z, math.log(DELTA))


def pmf(sigma: float, n: int) -> np.ndarray:
    """Probabilities of the sum of n draws of N_Z(0, sigma^2) on an odd range around 0."""
    reach = math.ceil(25 * sigma)
    one = np.exp(-(np.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
    one /= one.sum()
    total = one
    for _ in range(n - 1):
        total = np.convolve(total, one)
    return total


def exact_delta(noise: np.ndarray, shift: int, epsilon: float) -> float:
    p, q = np.pad(noise, (shift, 0)), np.pad(noise, (0, shift))
    return float(np.maximum(p - math.exp(epsilon) * q, 0).sum())


@pytest.mark.parametrize("accountant", ["gdp", "rdp"])
@pytest.mark.parametrize(
    ("sigma", "n", "shift"), [(0.5, 2, 1), (0.6, 5, 2), (1.0, 3, 2), (2.0, 4, 3), (2.0, 1, 1), (9.0, 2, 40)]
)
def test_central_epsilon_covers_the_exact_loss_of_the_sum(sigma: float, n: int, shift: int, accountant: str) -> None:
    event = dataclasses.replace(ROUND, dimension=1, sensitivity=float(shift), client_sigma=sigma, min_survivors=n)
    for delta in (1e-2, 1e-5, 1e-9):
        epsilon = central_epsilon([event], delta=delta, accountant=accountant).epsilon
        assert exact_delta(pmf(sigma, n), shift, epsilon) <= delta


@pytest.mark.parametrize("accountant", ["gdp", "rdp"])
@pytest.mark.parametrize(("sigma", "shift"), [(0.5, 1), (2.0, 3), (9.0, 40)])
def test_local_epsilon_covers_the_exact_loss_of_one_upload(sigma: float, shift: int, accountant: str) -> None:
    event = dataclasses.replace(ROUND, dimension=1, sensitivity=float(shift), client_sigma=sigma)
    for delta in (1e-2, 1e-5):
        epsilon = local_epsilon([event], delta=delta, accountant=accountant).epsilon
        assert exact_delta(pmf(sigma, 1), 2 * shift, epsilon) <= delta  # from -shift to +shift


def test_local_epsilon_of_vectors_without_negative_coordinates_covers_the_exact_loss() -> None:
    """(5, 0) against (0, 5): five sqrt 2 apart, and no two such vectors are further."""
    event = dataclasses.replace(ROUND, dimension=2, sensitivity=5.0, client_sigma=4.0, nonnegative=True)
    noise, epsilon = pmf(4.0, 1), local_epsilon([event], delta=DELTA).epsilon
    p, q = np.pad(noise, (5, 0)), np.pad(noise, (0, 5))
    reached = np.maximum(np.outer(p, q) - math.exp(epsilon) * np.outer(q, p), 0).sum()
    assert DELTA / 3 < reached <= DELTA
    both = local_epsilon([dataclasses.replace(event, nonnegative=False)], delta=DELTA).epsilon
    assert epsilon < both == pytest.approx(exact(4.0 / 10), rel=0.1)


def test_two_rounds_cover_the_exact_loss_of_both() -> None:
    noise, shift = pmf(2.0, 3), 2
    p, q = np.pad(noise, (shift, 0)), np.pad(noise, (0, shift))
    event = dataclasses.replace(ROUND, dimension=1, sensitivity=2.0, client_sigma=2.0, min_survivors=3)
    events = [event, dataclasses.replace(event, label="again")]
    for accountant, slack in (("rdp", 100), ("gdp", 3)):
        epsilon = central_epsilon(events, delta=DELTA, accountant=accountant).epsilon
        joint = np.maximum(np.outer(p, p) - math.exp(epsilon) * np.outer(q, q), 0).sum()
        assert DELTA / slack < joint <= DELTA


@pytest.mark.parametrize("accountant", ACCOUNTANTS)
def test_no_events_cost_nothing_and_an_unprotected_one_everything(accountant: str) -> None:
    for figure in FIGURES:
        assert figure([], delta=DELTA, accountant=accountant).epsilon == 0.0
        assert figure([Unprotected("round 0")], delta=DELTA, accountant=accountant).epsilon == math.inf
        events = [*rounds(2, client_sigma=3e3), Unprotected("u")]
        assert figure(events, delta=DELTA, accountant=accountant).epsilon == math.inf


@pytest.mark.parametrize("accountant", ["gdp", "rdp", "prv"])
def test_different_releases_add_up_in_any_order(accountant: str) -> None:
    popularity = dataclasses.replace(ROUND, label="popularity", dimension=1682, sensitivity=1000.5, client_sigma=80.0)
    events: list[Event] = [popularity, *rounds(20)]
    together = central_epsilon(events, delta=DELTA, accountant=accountant).epsilon
    assert together == central_epsilon(events[::-1], delta=DELTA, accountant=accountant).epsilon
    assert together > central_epsilon(events[1:], delta=DELTA, accountant=accountant).epsilon
    rho = 20 * 1002.2**2 / (2 * 900 * 100**2) + 1000.5**2 / (2 * 900 * 80**2)
    one = exact(1 / math.sqrt(2 * rho))
    assert together == pytest.approx(one, rel=2e-3) if accountant != "rdp" else one < together < 1.15 * one


def test_local_epsilon_doubles_the_sensitivity_and_counts_one_clients_noise() -> None:
    figure = local_epsilon(rounds(5), delta=DELTA)
    assert figure.epsilon == pytest.approx(exact(100 / (2 * 1002.2), 5), rel=1e-3)
    assert figure.epsilon == local_epsilon(rounds(5, min_survivors=10), delta=DELTA).epsilon
    nonnegative = local_epsilon(rounds(5, nonnegative=True), delta=DELTA)
    assert nonnegative.epsilon == pytest.approx(exact(100 / (math.sqrt(2) * 1002.2), 5), rel=1e-3)
    assert central_epsilon(rounds(5, nonnegative=True), delta=DELTA) == central_epsilon(rounds(5), delta=DELTA)


def test_a_figure_says_what_it_means() -> None:
    events = [*rounds(2), dataclasses.replace(ROUND, label="late", min_survivors=700, noise_source="seed")]
    central, local = central_epsilon(events, delta=DELTA), local_epsilon(events, delta=DELTA)
    assert (central.unit, central.delta, central.accountant, central.min_survivors) == ("user", DELTA, "gdp", 700)
    assert "zero" in central.relation and "any other" in local.relation and local.min_survivors is None
    assert "sums" in central.against and "uploads" in local.against
    assert "model" in model_epsilon(events, delta=DELTA).against
    assert interaction_epsilon(events, delta=DELTA).unit == "interaction"
    assert central.reproducible_noise and not central_epsilon(events[:2], delta=DELTA).reproducible_noise
    assert float(central) == central.epsilon < local.epsilon


def test_huge_noise_and_tiny_noise_stay_finite() -> None:
    assert local_epsilon(rounds(100, client_sigma=2.0), delta=1e-9).epsilon == pytest.approx(
        100 * 1002.2**2 / 2, rel=0.01
    )
    assert 0 <= central_epsilon(rounds(1, client_sigma=2e5), delta=0.5).epsilon < 1e-3


def test_numbers_that_no_float_can_hold_end_in_infinity_and_not_in_an_error() -> None:
    for change in ({"sensitivity": 1e308}, {"sensitivity": 5e-324}, {"client_sigma": 1e308}, {"dimension": 2**62}):
        for figure in FIGURES:
            epsilon = figure([dataclasses.replace(ROUND, **change)], delta=DELTA).epsilon  # type: ignore[arg-type]
            assert epsilon >= 0
    for event in (
        dataclasses.replace(SKELLAM, client_variance=5e-324),
        dataclasses.replace(LAPLACE, client_scale=5e-324),
        dataclasses.replace(CURATOR, noise_multiplier=5e-324),
    ):
        assert central_epsilon([event], delta=DELTA).epsilon == math.inf


def test_skellam_noise_counts_like_a_gaussians_of_the_same_variance_where_there_is_enough() -> None:
    central = central_epsilon([SKELLAM], delta=DELTA)
    gaussian = dataclasses.replace(ROUND, sensitivity=SKELLAM.sensitivity, client_sigma=100.0)
    assert central.accountant == "rdp"
    rdp = central_epsilon([gaussian], delta=DELTA, accountant="rdp").epsilon
    assert rdp < central.epsilon < 1.01 * rdp
    local = local_epsilon([SKELLAM], delta=DELTA).epsilon
    assert local > local_epsilon([gaussian], delta=DELTA).epsilon
    for nonnegative, factor in ((False, 2.0), (True, math.sqrt(2))):
        apart = Skellam(factor * SKELLAM.sensitivity, 2 * SKELLAM.sensitivity_l1, SKELLAM.client_variance)
        event = dataclasses.replace(SKELLAM, nonnegative=nonnegative)
        assert local_epsilon([event], delta=DELTA).epsilon == count({apart: 1}, delta=DELTA).epsilon


def test_laplace_noise_is_pure_locally_and_doubles_the_sensitivity() -> None:
    figure = local_epsilon([LAPLACE], delta=DELTA)
    assert (figure.epsilon, figure.accountant) == (pytest.approx(1.0), "basic")
    assert local_epsilon([LAPLACE, LAPLACE], delta=1e-300).epsilon == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("scale", "clients", "shift"),
    [(3.0, 1, (2,)), (3.0, 5, (3,)), (3.0, 5, (7,)), (4.0, 12, (3, -2)), (2.0, 3, (1, 1))],
)
def test_laplace_noise_of_all_survivors_covers_the_exact_loss_of_the_sum(
    scale: float, clients: int, shift: tuple[int, ...]
) -> None:
    one = np.exp(-np.abs(np.arange(-60, 61)) / scale)
    one, noise = one / one.sum(), np.ones(1)
    for _ in range(clients):
        noise = np.convolve(noise, one)
    noise = noise[np.abs(np.arange(noise.size) - noise.size // 2) <= 150]
    norm = float(sum(map(abs, shift)))
    event = dataclasses.replace(
        LAPLACE, dimension=len(shift), sensitivity=norm, client_scale=scale, min_survivors=clients
    )
    p, q = np.ones(1), np.ones(1)
    for step in shift:
        moved, still = np.pad(noise, (abs(step), 0)), np.pad(noise, (0, abs(step)))
        if step < 0:
            moved, still = still, moved
        p, q = np.multiply.outer(p, moved).ravel(), np.multiply.outer(q, still).ravel()
    for delta in (0.1, 1e-3, 1e-6):
        for accountant in ("gdp", "rdp", "pld"):
            epsilon = central_epsilon([event], delta=delta, accountant=accountant).epsilon
            assert epsilon <= norm / scale * (1 + 1e-3) or accountant == "rdp"
            assert np.maximum(p - math.exp(epsilon) * q, 0).sum() <= delta * (1 + 1e-9)


def test_many_survivors_laplace_noise_protects_as_much_as_their_number_says() -> None:
    one, all_of_them = (
        central_epsilon([dataclasses.replace(LAPLACE, client_scale=100.0, min_survivors=n)], delta=DELTA)
        for n in (1, 900)
    )
    assert (one.epsilon, one.accountant) == (pytest.approx(10.0), "basic")
    assert all_of_them.epsilon < 2.0 and all_of_them.accountant == "rdp"
    # the information in Laplace noise is that of a Gaussian of half its variance
    gaussian = gdp_epsilon(1000.0 / (100.0 * math.sqrt(900)), math.log(DELTA))
    assert gaussian < all_of_them.epsilon < 1.3 * gaussian


def test_a_trusted_curator_promises_nothing_against_itself() -> None:
    assert central_epsilon([CURATOR], delta=DELTA).epsilon == pytest.approx(exact(2.0))
    assert local_epsilon([CURATOR], delta=DELTA).epsilon == math.inf


@pytest.mark.parametrize("sampling", ["poisson", "fixed"])
@pytest.mark.parametrize("inner", [ROUND, CURATOR])
def test_sampling_counts_only_against_those_who_see_the_model_alone(
    sampling: str, inner: DistributedGaussianSum | GaussianSum
) -> None:
    event = SampledSum(label="rounds", inner=inner, sampling=sampling, sample_rate=0.02, count=30)
    each = [dataclasses.replace(inner, label=f"{i}") for i in range(30)]
    assert central_epsilon([event], delta=DELTA).epsilon == central_epsilon(each, delta=DELTA).epsilon
    assert local_epsilon([event], delta=DELTA).epsilon == local_epsilon(each, delta=DELTA).epsilon
    model = model_epsilon([event], delta=DELTA, accountant="rdp")
    assert model.epsilon < 0.5 * central_epsilon([event], delta=DELTA).epsilon
    assert "not who took part" in model.against
    assert model.min_survivors == getattr(inner, "min_survivors", None)


def test_shuffled_reports_count_as_local_ones_locally_and_as_shuffled_centrally() -> None:
    event = ShuffledReports(label="reports", local_epsilon=1.0, local_delta=0.0, reports=10_000)
    assert local_epsilon([event], delta=DELTA).epsilon == pytest.approx(1.0)
    alone = central_epsilon([event], delta=DELTA).epsilon
    assert alone == pytest.approx(shuffled_epsilon(1.0, 0.0, 10_000, delta=DELTA * (1 - 1e-9))[0], rel=1e-3)
    assert alone < central_epsilon([event, *rounds(1)], delta=DELTA).epsilon < math.inf


def test_units_are_never_mixed() -> None:
    assert central_epsilon([SGD, *rounds(1)], delta=DELTA).epsilon == math.inf
    assert local_epsilon([SGD], delta=DELTA).epsilon == math.inf
    assert model_epsilon([SGD], delta=DELTA).epsilon == math.inf
    alone = interaction_epsilon([SGD], delta=DELTA, accountant="rdp")
    again = interaction_epsilon([SGD, dataclasses.replace(SGD, label="again")], delta=DELTA, accountant="rdp")
    assert 0 < alone.epsilon < again.epsilon < 2 * alone.epsilon
    assert alone.unit == "interaction" and "interaction" in alone.relation


@pytest.mark.parametrize("event", [ROUND, SKELLAM, LAPLACE, CURATOR])
def test_a_users_sum_costs_an_interaction_what_any_vector_for_any_other_costs(event: Event) -> None:
    """One interaction may turn a vector round, so that it moves by twice its norm where no coordinate is known to be
    positive."""
    central, interaction = (f([event], delta=DELTA).epsilon for f in (central_epsilon, interaction_epsilon))
    assert central < interaction < math.inf
    if event is ROUND:
        expected = exact(ROUND.noise_multiplier / 2)
        assert interaction == pytest.approx(expected, rel=1e-3)


def test_a_mixed_ledger_names_the_accountant_that_counted() -> None:
    mixed = central_epsilon([*rounds(3), SKELLAM, LAPLACE], delta=DELTA)
    assert mixed.accountant == "rdp"
    assert mixed.epsilon > central_epsilon([*rounds(3), SKELLAM], delta=DELTA).epsilon
    assert central_epsilon([*rounds(3), Unprotected("u"), SKELLAM], delta=DELTA).epsilon == math.inf
    with pytest.raises(PrivacyError, match="prv counts Gaussian noise"):
        central_epsilon([*rounds(3), SKELLAM], delta=DELTA, accountant="prv")


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
def test_a_delta_outside_zero_and_one_is_refused_even_where_nothing_was_released(delta: float) -> None:
    for events in (rounds(1), [], [Unprotected("u")]):
        with pytest.raises(PrivacyError, match="delta"):
            central_epsilon(events, delta=delta)


def test_an_unknown_accountant_is_refused_with_the_known_ones() -> None:
    with pytest.raises(PrivacyError, match="gdp, rdp, prv, pld"):
        central_epsilon(rounds(1), delta=DELTA, accountant="moments")
