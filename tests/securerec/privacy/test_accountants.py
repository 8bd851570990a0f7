"""Several accountants, one truth: they agree where they should, and each bounds what it says it bounds."""

import math
import subprocess
import sys
from collections import Counter

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from securerec.errors import PrivacyError
from securerec.privacy.accounting import (
    ACCOUNTANTS,
    Cost,
    Pure,
    Sampled,
    Skellam,
    composed_epsilon,
    count,
    prv_epsilon,
    rdp_epsilon,
)
from securerec.privacy.accounting.curves import epsilon_of_curve, orders_around, zcdp_epsilon
from securerec.privacy.accounting.gaussian import gdp_epsilon

DELTA = 1e-5


def zcdp_by_search(rho: float, delta: float) -> float:
    """min over alpha of rho alpha + ln(1 / (alpha delta)) / (alpha - 1) + ln(1 - 1 / alpha), by numerical search."""

    def bound(log_a: float) -> float:
        a = math.exp(log_a)  # alpha - 1
        return rho * (1 + a) - (math.log(delta) + math.log1p(a)) / a + math.log(a) - math.log1p(a)

    return float(optimize.minimize_scalar(bound, bounds=(-20, 20), method="bounded", options={"xatol": 1e-10}).fun)


def discrete(z: float, sigma: float = 3000.0) -> Cost:
    """What a sum of 900 clients' uploads of 13,456 values costs, with this noise multiplier."""
    return Cost.central(sensitivity=sigma / z, client_sigma=sigma / 30, min_survivors=900, dimension=13_456)


def test_nothing_slow_is_imported_before_something_is_counted() -> None:
    program = (
        "import sys, securerec.privacy.accounting as a, securerec.privacy.ledger, securerec.privacy.calibration\n"
        "a.composed_epsilon({a.Cost(2.0): 3}, delta=1e-5)\n"
        "sys.exit('torch' in sys.modules or 'dp_accounting' in sys.modules or 'opacus' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_published_anchors_come_through_the_glue() -> None:
    orders = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64))  # those that the published figure was taken over
    assert rdp_epsilon([(1.5, 0.04, 2250)], delta=1e-5, orders=orders) == pytest.approx(7.32911117143, abs=1e-6)
    assert prv_epsilon([(1.5, 0.04, 2249)], delta=1e-5) == pytest.approx(6.777395712150674, abs=1e-6)


def test_published_anchors_are_what_is_reported() -> None:
    """z = 1.5, sample rate 0.04, 90 epochs of 25 steps, delta 1e-5: RDP 7.329, PRV 6.777."""
    figures = {name: count({Sampled(Cost(1.5), "poisson", 0.04): 2250}, delta=1e-5, accountant=name).epsilon
               for name in ("rdp", "prv", "pld")}  # fmt: skip
    assert figures["rdp"] == pytest.approx(7.329, abs=5e-4)
    assert figures["prv"] == pytest.approx(6.777, rel=1e-3)
    assert figures["pld"] == pytest.approx(figures["prv"], rel=0.01)


@pytest.mark.parametrize(("z", "epsilon"), [(3.73, 1.0), (1.99, 2.0), (1.08, 4.0), (0.60, 8.0)])
def test_all_that_know_the_exact_gaussian_agree_within_a_hundredth(z: float, epsilon: float) -> None:
    for cost, times in ((Cost(z), 1), (Cost(z * 5), 25), (discrete(z * 5), 25)):
        figures = {name: count({cost: times}, delta=DELTA, accountant=name) for name in ("gdp", "prv", "pld")}
        assert all(figure.accountant == name for name, figure in figures.items())
        assert figures["gdp"].epsilon == pytest.approx(epsilon, rel=0.01)
        for figure in figures.values():
            # opacus' PRV states the upper end of an error of 0.01
            assert figure.epsilon == pytest.approx(figures["gdp"].epsilon, rel=0.01, abs=0.0105)


@pytest.mark.parametrize("z", [0.05, 0.6, 3.73, 40.0, 1000.0])
@pytest.mark.parametrize("n", [1, 37])
def test_rdp_figure_agrees_with_a_bound_worked_out_apart(z: float, n: int) -> None:
    epsilon = count({discrete(z): n}, delta=DELTA, accountant="rdp").epsilon
    expected = zcdp_by_search(n / (2 * z**2), DELTA)
    assert expected <= epsilon <= expected * (1 + 1e-4)
    assert zcdp_epsilon(n / (2 * z**2), math.log(DELTA)) == pytest.approx(epsilon, rel=1e-9)
    assert count({discrete(z): n}, delta=DELTA).epsilon < epsilon


@pytest.mark.parametrize(("z", "n"), [(1.0, 1), (2.0, 10)])
def test_rdp_and_pld_figures_agree_with_googles_accountants(z: float, n: int) -> None:
    event = dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(z), n)
    rdp, pld = RdpAccountant(), PLDAccountant(value_discretization_interval=1e-3)
    for accountant, name in ((rdp, "rdp"), (pld, "pld")):
        accountant.compose(event)
        ours = count({Cost(z): n}, delta=DELTA, accountant=name).epsilon
        assert ours == pytest.approx(accountant.get_epsilon(DELTA), rel=0.01)


@pytest.mark.parametrize(("z", "q", "n"), [(1.0, 0.01, 500), (3.0, 0.25, 40)])
def test_sampled_figures_agree_with_googles_accountants(z: float, q: float, n: int) -> None:
    event = dp_accounting.SelfComposedDpEvent(
        dp_accounting.PoissonSampledDpEvent(q, dp_accounting.GaussianDpEvent(z)), n
    )
    for accountant, name in ((RdpAccountant(), "rdp"), (PLDAccountant(value_discretization_interval=5e-4), "pld")):
        accountant.compose(event)
        ours = count({Sampled(Cost(z), "poisson", q): n}, delta=DELTA, accountant=name).epsilon
        assert ours == pytest.approx(accountant.get_epsilon(DELTA), rel=0.01)
        noisy_grid = Sampled(discrete(z), "poisson", q)
        assert ours <= count({noisy_grid: n}, delta=DELTA, accountant=name).epsilon <= ours * 1.005
    least = count({Sampled(Cost(z), "poisson", q): n}, delta=DELTA, accountant="pld").epsilon
    assert count({Sampled(Cost(z), "poisson", q): n}, delta=DELTA, accountant="prv").epsilon == pytest.approx(
        least, rel=0.01, abs=0.0105
    )


@pytest.mark.parametrize(("z", "q", "n"), [(4.0, 0.05, 20), (8.0, 0.3, 10)])
def test_fixed_size_sampling_agrees_with_googles_accountant(z: float, q: float, n: int) -> None:
    """Theirs replaces a user, so that the sum moves by up to twice the norm of a vector: half the multiplier."""
    population = 10_000
    orders = [1 + x / 10 for x in range(1, 100)] + list(range(11, 64))
    accountant = RdpAccountant(orders, dp_accounting.NeighboringRelation.REPLACE_ONE)
    inner = dp_accounting.SampledWithoutReplacementDpEvent(
        population, round(q * population), dp_accounting.GaussianDpEvent(z / 2)
    )
    accountant.compose(dp_accounting.SelfComposedDpEvent(inner, n))
    ours = count({Sampled(Cost(z), "fixed", q): n}, delta=DELTA, accountant="rdp").epsilon
    # ours also knows that no sampling is the worst there can be for a vector that becomes zero
    unsampled = count({Cost(z): n}, delta=DELTA, accountant="rdp").epsilon
    assert ours == pytest.approx(min(accountant.get_epsilon(DELTA), unsampled), rel=0.01)


def test_sampling_everybody_or_with_too_little_noise_counts_as_no_sampling() -> None:
    plain = count({Cost(1.0): 3}, delta=DELTA, accountant="rdp").epsilon
    for sampling in ("poisson", "fixed"):
        assert count({Sampled(Cost(1.0), sampling, 1.0): 3}, delta=DELTA, accountant="rdp").epsilon == plain
    coarse = Cost.central(sensitivity=1.0, client_sigma=0.9, min_survivors=1, dimension=1)
    plain = count({coarse: 3}, delta=DELTA, accountant="rdp").epsilon
    assert count({Sampled(coarse, "poisson", 0.1): 3}, delta=DELTA, accountant="rdp").epsilon == plain


def test_the_conversion_is_opacus_own() -> None:
    from opacus.accountants.analysis.rdp import get_privacy_spent

    orders = orders_around(0.3, math.log(DELTA))
    curve = 0.3 * orders + 0.01 * np.sqrt(orders)
    theirs, _ = get_privacy_spent(orders=list(orders), rdp=list(curve), delta=DELTA)
    assert epsilon_of_curve(orders, curve, math.log(DELTA)) == pytest.approx(theirs, rel=1e-12)


def test_kappa_raises_epsilon_twice_and_lowers_delta() -> None:
    for name in ("gdp", "rdp", "prv", "pld"):
        loud = composed_epsilon(Counter({Cost(1.0, 0.3): 4}), delta=1e-5, accountant=name)
        ideal = composed_epsilon(Counter({Cost(1.0): 4}), delta=1e-5 * math.exp(-1.2), accountant=name)
        assert loud == pytest.approx(ideal + 2.4, rel=1e-9, abs=0.011 if name == "prv" else 2e-4)
    assert composed_epsilon(Counter({Cost(1.0, 1e6): 1}), delta=1e-5) > 2e6


def test_kappa_of_a_hundred_real_rounds_is_small_but_never_lost() -> None:
    costs = Counter({Cost.central(sensitivity=1000.0, client_sigma=2.0, min_survivors=943, dimension=53_824): 100})
    kappa = sum(cost.kappa * n for cost, n in costs.items())
    assert 1e-10 < kappa < 1e-9
    plain = Counter({Cost(cost.noise_multiplier, 0.0, cost.sigma, cost.dimension): n for cost, n in costs.items()})
    with_kappa, without = (composed_epsilon(c, delta=1e-5) for c in (costs, plain))
    assert 0 < with_kappa - without < 1e-6


def test_an_ideal_gaussian_is_hardly_cheaper_than_noise_on_a_grid() -> None:
    cost = discrete(1.0, sigma=60.0)  # the least noise that 900 clients may send, two units each
    ideal = gdp_epsilon(1.0, math.log(DELTA))
    assert ideal < count({cost: 1}, delta=DELTA).epsilon < ideal * 1.001


def test_noise_of_the_order_of_the_grid_is_counted_by_the_bound_that_needs_no_rounding() -> None:
    coarse = Cost.local(sensitivity=1000.0, client_sigma=2.0, dimension=13_456)
    figure = count({coarse: 1}, delta=DELTA)
    assert figure.accountant == "zcdp"
    assert figure.epsilon == pytest.approx(zcdp_by_search(1000.0**2 / 2, DELTA), rel=1e-4)
    assert count({Cost.local(sensitivity=1.0, client_sigma=0.5): 1}, delta=DELTA).epsilon < math.inf


LOSSES = st.one_of(
    st.floats(0.3, 100).map(Cost),
    st.builds(Skellam, st.floats(1, 100), st.floats(100, 1000), st.floats(100, 1e6)),
    st.floats(0.001, 3).map(Pure),
)


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(LOSSES, st.integers(1, 5), min_size=1, max_size=4), LOSSES)
def test_one_more_release_never_costs_less_and_order_does_not_matter(losses: dict, more: object) -> None:
    for name in ("gdp", "rdp"):
        before = count(losses, delta=DELTA, accountant=name).epsilon
        total = Counter(losses)
        total[more] += 1
        after = count(total, delta=DELTA, accountant=name).epsilon
        assert before <= after * (1 + 1e-3) + 1e-9  # the orders tried differ a little
        assert after == count(dict(reversed(list(total.items()))), delta=DELTA, accountant=name).epsilon


def test_mixed_releases_name_who_counted_and_add_up_as_curves() -> None:
    gaussian, skellam, laplace = Cost(2.0), Skellam(10.0, 60.0, 400.0), Pure(0.5)
    mixed = count({gaussian: 2, skellam: 1, laplace: 1}, delta=DELTA)
    assert mixed.accountant == "rdp"
    assert mixed.epsilon == count({gaussian: 2, skellam: 1, laplace: 1}, delta=DELTA, accountant="rdp").epsilon
    # noise so large that Skellam's is Gaussian, and a pure loss of almost nothing
    almost = count({gaussian: 2, Skellam(1e4, 1e5, 4e8): 1, Pure(1e-9): 1}, delta=DELTA).epsilon
    assert almost == pytest.approx(count({gaussian: 3}, delta=DELTA, accountant="rdp").epsilon, rel=1e-3)


def test_few_pure_releases_add_up_and_many_do_better() -> None:
    few, many = count({Pure(0.2): 3}, delta=DELTA), count({Pure(0.2): 300}, delta=DELTA)
    assert (few.accountant, few.epsilon) == ("basic", pytest.approx(0.6))
    assert many.accountant == "rdp" and many.epsilon < 30
    assert count({Pure(0.2): 300}, delta=DELTA, accountant="pld").epsilon < many.epsilon


def test_what_takes_all_of_delta_leaves_no_finite_epsilon() -> None:
    assert count({Pure(0.1, 1e-6): 5}, delta=DELTA).epsilon == pytest.approx(0.5)
    assert count({Pure(0.1, 1e-6): 11}, delta=DELTA).epsilon == math.inf


@pytest.mark.parametrize(("loss", "name"), [
    (Skellam(1.0, 1.0, 10.0), "prv"), (Skellam(1.0, 1.0, 10.0), "pld"), (Pure(1.0), "prv"),
    (Sampled(Cost(1.0), "fixed", 0.1), "prv"), (Sampled(Cost(1.0), "fixed", 0.1), "pld"),
])  # fmt: skip
def test_an_accountant_refuses_what_it_cannot_count(loss: Skellam | Pure | Sampled, name: str) -> None:
    with pytest.raises(PrivacyError, match=f"{name} counts .*; use the accountant rdp"):
        count({loss: 1}, delta=DELTA, accountant=name)


@pytest.mark.parametrize("name", ["prv", "pld"])
def test_the_numerical_accountants_say_when_they_cannot_count(name: str) -> None:
    with pytest.raises(PrivacyError, match="cannot count noise of this size"):
        count({Cost(0.001): 100}, delta=DELTA, accountant=name)


@pytest.mark.parametrize("name", ACCOUNTANTS)
def test_a_delta_outside_zero_and_one_and_an_unknown_accountant_are_refused(name: str) -> None:
    for delta in (0.0, 1.0, -1e-5, math.nan):
        with pytest.raises(PrivacyError, match="delta must lie"):
            count({Cost(1.0): 1}, delta=delta, accountant=name)
    with pytest.raises(PrivacyError, match="gdp, rdp, prv, pld"):
        count({Cost(1.0): 1}, delta=DELTA, accountant=name + "x")
