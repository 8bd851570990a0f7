import math

import numpy as np
import pytest
from scipy import stats

from securerec.privacy.accounting.accountants import Gaussian
from securerec.privacy.accounting.gaussian import gdp_epsilon
from securerec.privacy.accounting.tradeoff import of_gaussian, of_pairs

RATES = np.array([1e-9, 1e-3, 0.01, 0.3, 0.9])


@pytest.mark.parametrize("mu", [0.1, 1.0, 3.0])
def test_the_likelihood_ratio_test_of_two_gaussians_reaches_what_is_stated(mu: float) -> None:
    reached = stats.norm.sf(stats.norm.isf(RATES) - mu)
    assert [of_gaussian(Gaussian(mu, 0.0), rate) for rate in RATES] == pytest.approx(list(reached), rel=1e-12)
    assert of_gaussian(Gaussian(mu, 0.1), 0.01) > of_gaussian(Gaussian(mu, 0.0), 0.01)
    assert of_gaussian(Gaussian(50.0, 1.0), 0.5) == 1.0


@pytest.mark.parametrize("mu", [0.3, 1.0, 3.0])
def test_pairs_of_epsilon_and_delta_bound_it_from_above_and_many_of_them_closely(mu: float) -> None:
    pairs = [(gdp_epsilon(mu, math.log(delta)), delta) for delta in 10 ** np.linspace(-12, -0.05, 200)]
    for rate in RATES[1:4]:
        exact = of_gaussian(Gaussian(mu, 0.0), rate)
        assert exact <= of_pairs(pairs, rate) <= exact * 1.02 + 1e-3
        assert of_pairs(pairs, rate) <= of_pairs(pairs[:1], rate)


def test_randomised_response_reaches_the_bound_of_its_pair() -> None:
    epsilon = 1.3
    keep = math.exp(epsilon) / (1 + math.exp(epsilon))
    assert of_pairs([(epsilon, 0.0)], 1 - keep) == pytest.approx(keep)


def test_no_guarantee_lets_a_test_reach_everything() -> None:
    assert of_pairs([(math.inf, 1e-5)], 0.01) == of_pairs([], 0.01) == 1.0
    assert of_gaussian(Gaussian(math.inf, 0.0), 0.01) == 1.0
