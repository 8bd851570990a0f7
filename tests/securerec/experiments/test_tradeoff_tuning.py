"""The price of choosing the best of several private trials: against another library, and against the exact law."""

import math
from typing import Any

import numpy as np
import pytest
from dp_accounting import dp_event
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from securerec.errors import ConfigError, PrivacyError
from securerec.experiments.tradeoff import tuning
from securerec.experiments.tradeoff.tuning import LAWS, Law, concentrated, epsilon_of, selection, tuned_epsilon
from securerec.privacy.events import Unprotected
from securerec.privacy.mechanism import Mechanism

SHAPES = {"geometric": 1.0, "logarithmic": 0.0, "Poisson": math.inf}
FEW = tuning.BEYOND_ONE[::12]


def gaussian_events(count: int, sigma: float = 900.0) -> tuple[Any, ...]:
    mechanism = Mechanism(clip_norm=1.0, dimension=50, coordinate_cap=1.0, client_sigma=sigma)
    return tuple(
        mechanism.event(f"round {number}", min_survivors=20, noise_source="os") for number in range(1, count + 1)
    )


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("multiplier", [0.6, 2.0, 5.0])
@pytest.mark.parametrize("mean", [1.5, 10.0, 100.0])
def test_the_bound_is_the_one_that_dp_accounting_has(law: Law, multiplier: float, mean: float) -> None:
    accountant = RdpAccountant(list(1 + FEW))
    event = dp_event.GaussianDpEvent(multiplier)
    accountant.compose(dp_event.RepeatAndSelectDpEvent(event, mean, SHAPES[law]))
    bound = selection(concentrated(1 / (2 * multiplier**2)), law, mean, FEW)
    assert epsilon_of(bound, 1e-5, FEW) == pytest.approx(accountant.get_epsilon(1e-5), rel=1e-6)


@given(
    weights=st.lists(st.floats(0.05, 1.0), min_size=2, max_size=6),
    tilts=st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6),
    mean=st.floats(1.1, 30.0),
    law=st.sampled_from(LAWS),
)
@settings(max_examples=60)
def test_no_selection_is_farther_apart_than_the_bound(
    weights: list[float], tilts: list[float], mean: float, law: Law
) -> None:
    """The best of K draws from a finite ordered set has the distribution function G(F), G generating K's law."""
    p = np.array(weights) / sum(weights)
    q = p * np.exp(np.array(tilts[: len(p)]))
    q /= q.sum()
    bound = selection(lambda orders: np.maximum(renyi(p, q, orders), renyi(q, p, orders)), law, mean, FEW)
    best_p, best_q = best_of(p, law, mean), best_of(q, law, mean)
    exact = np.maximum(renyi(best_p, best_q, 1 + FEW), renyi(best_q, best_p, 1 + FEW))
    assert np.all(exact <= bound + 1e-7)


def renyi(p: NDArray[np.float64], q: NDArray[np.float64], orders: NDArray[np.float64]) -> NDArray[np.float64]:
    logs = orders[:, None] * np.log(p) + (1 - orders[:, None]) * np.log(q)
    top = logs.max(axis=1)
    return np.asarray((top + np.log(np.exp(logs - top[:, None]).sum(axis=1))) / (orders - 1))


def best_of(p: NDArray[np.float64], law: Law, mean: float) -> NDArray[np.float64]:
    below = np.minimum(np.concatenate(([0.0], np.cumsum(p))), 1.0)
    if law == "Poisson":
        generated = np.exp(mean * (below - 1))
        return np.concatenate(([generated[0]], np.diff(generated)))
    gamma = tuning.gamma_of(SHAPES[law], mean)
    if law == "geometric":
        generated = gamma * below / (1 - (1 - gamma) * below)
    else:
        generated = np.log1p(-(1 - gamma) * below) / math.log(gamma)
    return np.diff(generated)


@pytest.mark.parametrize("mean", [1.001, 3.0, 50.0, 1e6])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_gamma_gives_the_mean_that_was_asked_for(eta: float, mean: float) -> None:
    gamma = tuning.gamma_of(eta, mean)
    assert 0 < gamma < 1
    if eta == 0:
        assert (1 / gamma - 1) / math.log(1 / gamma) == pytest.approx(mean)
    else:
        assert eta * (1 - gamma) / (gamma * (1 - gamma**eta)) == pytest.approx(mean)


def test_the_ledger_says_how_private_one_trial_was() -> None:
    events = gaussian_events(12)
    central = tuned_epsilon(events, mean_trials=1, delta=1e-5, against="central")
    local = tuned_epsilon(events, mean_trials=1, delta=1e-5, against="local")
    for tuned, multiplier in ((central, events[0].noise_multiplier), (local, 900 / (2 * events[0].sensitivity))):
        accountant = RdpAccountant(list(1 + tuning.BEYOND_ONE))
        accountant.compose(dp_event.GaussianDpEvent(multiplier), 12)
        assert tuned.one_trial == pytest.approx(accountant.get_epsilon(1e-5), rel=1e-6)
        assert tuned.epsilon == pytest.approx(tuned.one_trial, rel=1e-3)


def test_more_trials_cost_more() -> None:
    costs = [tuned_epsilon(gaussian_events(3), mean_trials=k, delta=1e-5, against="central") for k in (1, 2, 10, 1000)]
    for law in LAWS:
        each = [cost.epsilons[law] for cost in costs]
        assert each == sorted(each) and each[-1] > each[0]
    assert {cost.one_trial for cost in costs} == {costs[0].one_trial}


def test_noise_that_is_not_quite_discrete_gaussian_costs_more() -> None:
    bare, close = (selection(concentrated(0.1, kappa), "geometric", 10) for kappa in (0.0, 1e-3))
    assert np.all(close > bare)


def test_what_cannot_be_accounted_is_refused() -> None:
    with pytest.raises(PrivacyError, match="the ledger has Unprotected"):
        tuned_epsilon((Unprotected("round 1"),), mean_trials=3, delta=1e-5, against="central")
    for mean in (0.5, 1e7):
        with pytest.raises(ConfigError, match="must lie between 1 and 1,000,000"):
            tuned_epsilon(gaussian_events(1), mean_trials=mean, delta=1e-5, against="central")
    with pytest.raises(PrivacyError, match="delta must lie"):
        tuned_epsilon(gaussian_events(1), mean_trials=3, delta=0.0, against="central")
