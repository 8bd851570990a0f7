import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from attacks.epsilon import Claim, gaussian, one_run
from attacks.errors import AttackError

DELTA = 1e-5


def claim(mu: float) -> Claim:
    return Claim("user", "a canary is in or out", DELTA, gaussian.epsilon(mu, DELTA), mu)


def slow_p_value(m: int, r: int, v: int, epsilon: float, delta: float) -> float:
    """The theorem, term by term."""
    q = math.exp(epsilon) / (1 + math.exp(epsilon))
    weight = [math.comb(r, w) * q**w * (1 - q) ** (r - w) for w in range(r + 1)]
    most = max(sum(weight[w] for w in range(max(0, v - i), v)) / i for i in range(1, m + 1))
    return min(1.0, sum(weight[v:]) + 2 * m * delta * most)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), epsilon=st.floats(0, 6), delta=st.sampled_from([0.0, 1e-5, 1e-3]))
def test_the_p_value_is_the_theorems(data: st.DataObject, epsilon: float, delta: float) -> None:
    m = data.draw(st.integers(1, 60))
    r = data.draw(st.integers(1, m))
    v = data.draw(st.integers(0, r))
    assert one_run.p_value(m, r, v, epsilon, delta) == pytest.approx(slow_p_value(m, r, v, epsilon, delta), rel=1e-9)


@pytest.mark.parametrize("guesses", [5, 100, 600])
def test_guesses_that_are_all_right_bound_epsilon_in_closed_form(guesses: int) -> None:
    accuracy = 0.05 ** (1 / guesses)  # right every time with probability 0.05
    expected = math.log(accuracy / (1 - accuracy))
    assert one_run.lower_bound(1000, guesses, guesses, 0.0) == pytest.approx(expected, abs=1e-6)
    assert one_run.lower_bound(1000, guesses, guesses, DELTA) < expected


def test_half_right_bounds_nothing_and_more_right_bounds_more() -> None:
    bounds = [one_run.lower_bound(200, 200, v, DELTA) for v in range(100, 201, 10)]
    assert bounds[0] == 0.0
    assert bounds == sorted(bounds) and bounds[-1] > 4


@pytest.mark.parametrize("epsilon", [0.5, 2.0, 4.0])
def test_a_private_mechanism_is_rejected_no_more_often_than_stated(epsilon: float) -> None:
    """Randomised response answers as many right as any such mechanism can: Binomial, so the chance is exact."""
    m = 300
    accuracy = math.exp(epsilon) / (1 + math.exp(epsilon))
    chance = sum(
        float(stats.binom.pmf(v, m, accuracy)) for v in range(m + 1) if one_run.lower_bound(m, m, v, 0.0) > epsilon
    )
    assert 0.01 < chance <= 0.05


def test_what_delta_lets_through_is_forgiven() -> None:
    """Fifteen canaries drawn at random come out in the clear so rarely that each does with probability delta."""
    m, shown, delta, epsilon = 60, 15, 0.03, 0.5
    accuracy = math.exp(epsilon) / (1 + math.exp(epsilon))
    rng, beyond, unforgiven = np.random.default_rng(0), 0, 0
    for _ in range(4000):
        clear = shown if rng.random() < delta * m / shown else 0
        correct = clear + int(rng.binomial(m - clear, accuracy))
        beyond += one_run.p_value(m, m, correct, epsilon, delta) < 0.05
        unforgiven += one_run.p_value(m, m, correct, epsilon, 0.0) < 0.05
    assert beyond <= 200 and unforgiven > 240


def noised(mu: float) -> one_run.Run:
    return lambda included, rng: mu * included + rng.normal(size=len(included))


def test_audits_of_true_noise_stay_below_its_epsilon_and_rise_with_it() -> None:
    medians = []
    for mu in (0.5, 1.57, 6.0):
        bounds = [
            one_run.audit(noised(mu), 500, claim(mu), rng=np.random.default_rng(seed), setting="here")
            for seed in range(50)
        ]
        assert sum(bound.refutes_claim for bound in bounds) <= 5
        medians.append(float(np.median([bound.lower for bound in bounds])))
    assert 0 < medians[0] < medians[1] < medians[2]
    assert medians[1] > 1.5 and medians[2] > 3.5
    assert bounds[0].draws == 500 and "guesses right" in bounds[0].setting


def test_scores_without_noise_refute_a_claim() -> None:
    bound = one_run.audit(noised(1e6), 500, claim(0.5), rng=np.random.default_rng(0), setting="here")
    assert bound.refutes_claim


def test_only_the_most_and_least_likely_are_guessed() -> None:
    scores = np.array([3.0, -1.0, 0.2, 2.0, -4.0, 0.1])
    included = np.array([True, True, False, False, False, True])
    assert one_run.correct_guesses(scores, included, 2) == 2
    assert one_run.correct_guesses(scores, included, 4) == 2
    for wrong in (0, 3, 8):
        with pytest.raises(AttackError, match="even"):
            one_run.correct_guesses(scores, included, wrong)


def test_fewer_guesses_are_made_where_scores_tell_less() -> None:
    few, many = (one_run.best_guesses(1000, claim(mu)) for mu in (1.0, 8.0))
    assert 2 <= few < many <= 1000 and few % 2 == many % 2 == 0


def test_a_single_canary_is_refused() -> None:
    with pytest.raises(AttackError, match="at least 2"):
        one_run.audit(noised(1.0), 1, claim(1.0), rng=np.random.default_rng(0), setting="here")
