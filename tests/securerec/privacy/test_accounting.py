import dataclasses
import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from scipy import optimize, stats

from securerec.errors import PrivacyError
from securerec.privacy.accounting import (
    Cost,
    central_epsilon,
    closeness,
    composed_epsilon,
    local_epsilon,
    prv_epsilon,
    rdp_epsilon,
)
from securerec.privacy.events import DistributedGaussianSum, Event, Unprotected

DELTA = 1e-5
ROUND = DistributedGaussianSum(
    label="round",
    dimension=13_456,
    clip_norm=50.0,
    grid_units=1000,
    sensitivity=1002.2,
    client_sigma=100.0,
    min_survivors=900,
    noise_source="os",
)


def rounds(n: int, **changes: object) -> list[Event]:
    return [dataclasses.replace(ROUND, label=f"round {i}", **changes) for i in range(n)]


def zcdp_epsilon(rho: float, delta: float) -> float:
    """min over alpha of rho alpha + ln(1 / (alpha delta)) / (alpha - 1) + ln(1 - 1 / alpha), by numerical search."""

    def bound(log_a: float) -> float:
        a = math.exp(log_a)  # alpha - 1
        return rho * (1 + a) - (math.log(delta) + math.log1p(a)) / a + math.log(a) - math.log1p(a)

    return float(optimize.minimize_scalar(bound, bounds=(-20, 20), method="bounded", options={"xatol": 1e-10}).fun)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The exact one of a continuous Gaussian with noise multiplier 1 / mu (Balle, Wang 2018, Theorem 8)."""

    def excess(epsilon: float) -> float:
        first = stats.norm.cdf(mu / 2 - epsilon / mu)
        return float(first - math.exp(epsilon + stats.norm.logcdf(-mu / 2 - epsilon / mu)) - delta)

    return float(optimize.brentq(excess, 0, mu**2 + 20 * mu + 20))


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


def test_nothing_slow_is_imported_before_something_is_counted() -> None:
    program = "import sys, securerec.privacy.accounting, securerec.privacy.ledger; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_published_anchors_come_through_the_glue() -> None:
    orders = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64))  # those that the published figure was taken over
    assert rdp_epsilon([(1.5, 0.04, 2250)], delta=1e-5, orders=orders) == pytest.approx(7.32911117143, abs=1e-6)
    assert prv_epsilon([(1.5, 0.04, 2249)], delta=1e-5) == pytest.approx(6.777395712150674, abs=1e-6)


@pytest.mark.parametrize("z", [0.05, 0.6, 3.73, 40.0, 1000.0])
@pytest.mark.parametrize("n", [1, 37])
def test_rdp_figure_agrees_with_a_bound_worked_out_apart(z: float, n: int) -> None:
    events = rounds(n, client_sigma=z * 1002.2 / 30)
    epsilon = central_epsilon(events, delta=DELTA).epsilon
    expected = zcdp_epsilon(n / (2 * z**2), DELTA)
    assert expected <= epsilon <= expected * (1 + 1e-4)


@pytest.mark.parametrize(("z", "epsilon"), [(3.73, 1.0), (1.99, 2.0), (1.08, 4.0), (0.60, 8.0)])
def test_prv_figure_agrees_with_the_exact_gaussian(z: float, epsilon: float) -> None:
    events = rounds(1, client_sigma=z * 1002.2 / 30)
    figure = central_epsilon(events, delta=DELTA, accountant="prv")
    assert gaussian_epsilon(1 / z, DELTA) <= figure.epsilon <= gaussian_epsilon(1 / z, DELTA) + 0.011
    assert figure.epsilon == pytest.approx(epsilon, rel=0.02)
    assert figure.approximate and not central_epsilon(events, delta=DELTA).approximate


@pytest.mark.parametrize(
    ("sigma", "n", "shift"), [(0.5, 2, 1), (0.6, 5, 2), (1.0, 3, 2), (2.0, 4, 3), (2.0, 1, 1), (9.0, 2, 40)]
)
def test_central_epsilon_covers_the_exact_loss_of_the_sum(sigma: float, n: int, shift: int) -> None:
    event = dataclasses.replace(ROUND, dimension=1, sensitivity=float(shift), client_sigma=sigma, min_survivors=n)
    for delta in (1e-2, 1e-5, 1e-9):
        epsilon = central_epsilon([event], delta=delta).epsilon
        assert exact_delta(pmf(sigma, n), shift, epsilon) <= delta


@pytest.mark.parametrize(("sigma", "shift"), [(0.5, 1), (2.0, 3), (9.0, 40)])
def test_local_epsilon_covers_the_exact_loss_of_one_upload(sigma: float, shift: int) -> None:
    event = dataclasses.replace(ROUND, dimension=1, sensitivity=float(shift), client_sigma=sigma)
    for delta in (1e-2, 1e-5):
        epsilon = local_epsilon([event], delta=delta).epsilon
        assert exact_delta(pmf(sigma, 1), 2 * shift, epsilon) <= delta  # from -shift to +shift


def test_two_rounds_cover_the_exact_loss_of_both() -> None:
    noise, shift = pmf(2.0, 3), 2
    p, q = np.pad(noise, (shift, 0)), np.pad(noise, (0, shift))
    event = dataclasses.replace(ROUND, dimension=1, sensitivity=2.0, client_sigma=2.0, min_survivors=3)
    epsilon = central_epsilon([event, dataclasses.replace(event, label="again")], delta=DELTA).epsilon
    joint = np.maximum(np.outer(p, p) - math.exp(epsilon) * np.outer(q, q), 0).sum()
    assert DELTA / 100 < joint <= DELTA


@pytest.mark.parametrize("sigma", [0.5, 0.6, 0.8, 1.0])
@pytest.mark.parametrize("n", [2, 3, 6])
def test_a_sum_of_discrete_gaussians_is_as_close_to_one_as_stated(sigma: float, n: int) -> None:
    total = pmf(sigma, n)
    x = np.arange(total.size) - total.size // 2
    near = np.abs(x) <= 6 * sigma * math.sqrt(n)
    log_one = -(x**2) / (2 * n * sigma**2) - math.log(np.exp(-(x**2) / (2 * n * sigma**2)).sum())
    assert np.abs(np.log(total[near]) - log_one[near]).max() <= closeness(sigma, n)


def test_closeness_is_small_but_never_lost() -> None:
    assert closeness(5.0, 1) == 0.0
    assert closeness(2.0, 943) == pytest.approx(10 * math.exp(-4 * math.pi**2), rel=1e-5)
    assert closeness(2.0, 943) < 1e-16
    costs = Counter({Cost.central(sensitivity=1000.0, client_sigma=2.0, min_survivors=943, dimension=53_824): 100})
    kappa = sum(cost.kappa * count for cost, count in costs.items())
    assert 1e-10 < kappa < 1e-9
    plain = Counter({Cost(cost.noise_multiplier): count for cost, count in costs.items()})
    with_kappa, without = (composed_epsilon(c, delta=1e-5, accountant="rdp") for c in (costs, plain))
    assert 0 < with_kappa - without < 1e-6


def test_kappa_raises_epsilon_twice_and_lowers_delta() -> None:
    loud = composed_epsilon(Counter({Cost(1.0, 0.3): 4}), delta=1e-5, accountant="rdp")
    ideal = composed_epsilon(Counter({Cost(1.0): 4}), delta=1e-5 * math.exp(-1.2), accountant="rdp")
    assert loud == pytest.approx(ideal + 2.4, rel=1e-12)
    assert composed_epsilon(Counter({Cost(1.0, 1e6): 1}), delta=1e-5, accountant="rdp") == math.inf


@pytest.mark.parametrize("accountant", ["rdp", "prv"])
def test_no_events_cost_nothing_and_an_unprotected_one_everything(accountant: str) -> None:
    for count in (central_epsilon, local_epsilon):
        assert count([], delta=DELTA, accountant=accountant).epsilon == 0.0
        assert count([Unprotected("round 0")], delta=DELTA, accountant=accountant).epsilon == math.inf
        assert (
            count([*rounds(2, client_sigma=3e3), Unprotected("u")], delta=DELTA, accountant=accountant).epsilon
            == math.inf
        )


@pytest.mark.parametrize("accountant", ["rdp", "prv"])
def test_different_releases_add_up_in_any_order(accountant: str) -> None:
    popularity = dataclasses.replace(ROUND, label="popularity", dimension=1682, sensitivity=1000.5, client_sigma=80.0)
    events: list[Event] = [popularity, *rounds(20)]
    together = central_epsilon(events, delta=DELTA, accountant=accountant).epsilon
    assert together == central_epsilon(events[::-1], delta=DELTA, accountant=accountant).epsilon
    assert together > central_epsilon(events[1:], delta=DELTA, accountant=accountant).epsilon
    rho = 20 * 1002.2**2 / (2 * 900 * 100**2) + 1000.5**2 / (2 * 900 * 80**2)
    expected = zcdp_epsilon(rho, DELTA) if accountant == "rdp" else gaussian_epsilon(math.sqrt(2 * rho), DELTA) + 0.01
    assert together == pytest.approx(expected, rel=2e-3)


def test_local_epsilon_doubles_the_sensitivity_and_counts_one_clients_noise() -> None:
    figure = local_epsilon(rounds(5), delta=DELTA)
    assert figure.epsilon == pytest.approx(zcdp_epsilon(5 * (2 * 1002.2 / 100) ** 2 / 2, DELTA), rel=1e-4)
    assert figure.epsilon == local_epsilon(rounds(5, min_survivors=10), delta=DELTA).epsilon


def test_a_figure_says_what_it_means() -> None:
    events = [*rounds(2), dataclasses.replace(ROUND, label="late", min_survivors=700, noise_source="seed")]
    central, local = central_epsilon(events, delta=DELTA), local_epsilon(events, delta=DELTA)
    assert (central.unit, central.delta, central.accountant, central.min_survivors) == ("user", DELTA, "rdp", 700)
    assert "zero" in central.relation and "any other" in local.relation and local.min_survivors is None
    assert central.reproducible_noise and not central_epsilon(events[:2], delta=DELTA).reproducible_noise
    assert float(central) == central.epsilon < local.epsilon


def test_huge_noise_and_tiny_noise_stay_finite_with_rdp() -> None:
    assert local_epsilon(rounds(100, client_sigma=2.0), delta=1e-9).epsilon == pytest.approx(
        zcdp_epsilon(100 * 1002.2**2 / 2, 1e-9), rel=1e-4
    )
    assert 0 <= central_epsilon(rounds(1, client_sigma=2e5), delta=0.5).epsilon < 1e-3


def test_prv_says_when_it_cannot_count() -> None:
    with pytest.raises(PrivacyError, match="use the accountant rdp"):
        local_epsilon(rounds(100, client_sigma=2.0), delta=DELTA, accountant="prv")


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
def test_a_delta_outside_zero_and_one_is_refused(delta: float) -> None:
    with pytest.raises(PrivacyError, match="delta"):
        central_epsilon(rounds(1), delta=delta)


def test_an_unknown_accountant_is_refused_with_the_known_ones() -> None:
    with pytest.raises(PrivacyError, match="rdp, prv"):
        central_epsilon(rounds(1), delta=DELTA, accountant="gdp")
