import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from attacks.epsilon import Claim, gaussian, worst_pair
from attacks.epsilon.worst_pair import Mechanism, Pair, Vector
from attacks.errors import AttackError

DELTA = 1e-5
ONES = np.ones(4) / 2


def claim(mu: float) -> Claim:
    return Claim("user", "any other input", DELTA, gaussian.epsilon(mu, DELTA) * 1.05, mu)


def noised(sigma: float) -> Mechanism:
    """Inputs clipped to norm 1, with Gaussian noise."""

    def mechanism(x: Vector | None, direction: Vector, n: int, rng: np.random.Generator) -> Vector:
        clipped = np.zeros_like(direction) if x is None else x / max(1.0, float(np.linalg.norm(x)))
        return (clipped + sigma * rng.normal(size=(n, len(direction)))) @ direction

    return mechanism


def audit(sigma: float, mu: float, draws: int, seed: int) -> dict[str, worst_pair.EpsilonBound]:
    pairs = [Pair("opposites", 3 * ONES, -3 * ONES), Pair("or nothing", 3 * ONES, None)]
    rng = np.random.default_rng(seed)
    bounds = worst_pair.audit(noised(sigma), pairs, claim(mu), draws=draws, rng=rng, setting="here")
    return {bound.method: bound for bound in bounds}


@settings(deadline=None)
@given(n=st.integers(1, 300), data=st.data(), error=st.sampled_from([0.5, 0.05, 1e-6]))
def test_the_upper_bound_is_where_so_few_would_be_as_rare_as_allowed(n: int, data: st.DataObject, error: float) -> None:
    count = data.draw(st.integers(0, n))
    bound = float(worst_pair.most_likely(np.array([count]), n, error)[0])
    if count == n:
        assert bound == 1.0
    else:
        assert stats.binom.cdf(count, n, bound) == pytest.approx(error, rel=1e-6)


def by_hand(one: Vector, other: Vector, error: float) -> float:
    """F7 with loops: the threshold by the even draws, the bound by the odd ones."""

    def bound(a: Vector, b: Vector, threshold: float, error: float) -> float:
        fp = stats.beta.ppf(1 - error / 2, sum(x > threshold for x in b) + 1, sum(x <= threshold for x in b))
        fn = stats.beta.ppf(1 - error / 2, sum(x <= threshold for x in a) + 1, sum(x > threshold for x in a))
        fp, fn = (1.0 if math.isnan(rate) else rate for rate in (fp, fn))
        return max(0.0, *(math.log(max(1e-300, 1 - DELTA - p) / q) for p, q in ((fn, fp), (fp, fn))))

    values = sorted({*one[::2], *other[::2]})
    between = [(a + b) / 2 for a, b in zip(values, values[1:], strict=False)]
    tried = [bound(one[::2], other[::2], t, error / len(between)) for t in between]
    return bound(one[1::2], other[1::2], between[tried.index(max(tried))], error)


@pytest.mark.parametrize("distance", [0.0, 1.0, 3.0, 50.0])
def test_the_threshold_bound_agrees_with_one_worked_out_by_hand(distance: float) -> None:
    rng = np.random.default_rng(3)
    one, other = rng.normal(distance, 1, 90), rng.normal(0, 1, 81)
    assert worst_pair.by_threshold(one, other, DELTA, 0.05) == pytest.approx(by_hand(one, other, 0.05), rel=1e-9)


def test_separate_draws_bound_epsilon_by_the_logarithm_of_their_number() -> None:
    one, other = np.full(2000, 1.0), np.zeros(2000)
    rate = 1 - 0.025 ** (1 / 1000)  # none of a thousand seen
    expected = math.log((1 - DELTA - rate) / rate)
    assert worst_pair.by_threshold(one, other, DELTA, 0.05) == pytest.approx(expected, rel=1e-9)
    assert worst_pair.by_moments(one, other, DELTA, 0.05) == math.inf


def test_draws_that_are_all_alike_bound_nothing() -> None:
    same = np.full(100, 2.5)
    for bound in worst_pair.METHODS.values():
        assert bound(same, same.copy(), DELTA, 0.05) == 0.0


@pytest.mark.parametrize("keep", [0.7, 0.9, 0.99])
def test_randomised_response_is_bounded_near_its_epsilon_and_not_beyond(keep: float) -> None:
    """A yes or no, kept with that probability: epsilon = log(keep / (1 - keep)) exactly."""
    epsilon, beyond, bounds = math.log(keep / (1 - keep)), 0, []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        one, other = ((rng.random(4000) < p).astype(float) for p in (keep, 1 - keep))
        bounds.append(worst_pair.by_threshold(one, other, 0.0, 0.05))
        beyond += bounds[-1] > epsilon
    assert beyond <= 12  # at most 5% of 200 expected
    assert np.median(bounds) > 0.8 * epsilon


@pytest.mark.parametrize("mu", [0.5, 1.57, 6.0])
def test_no_method_goes_beyond_a_true_gaussian_more_often_than_stated(mu: float) -> None:
    epsilon = gaussian.epsilon(mu, DELTA)
    beyond = dict.fromkeys(worst_pair.METHODS, 0)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        one, other = rng.normal(mu, 1, 600), rng.normal(0, 1, 600)
        for method, bound in worst_pair.METHODS.items():
            beyond[method] += bound(one, other, DELTA, 0.05) > epsilon
    assert max(beyond.values()) <= 16, beyond  # 10 expected at most, 3 in 100 chance of more than 16


def test_bounds_come_near_a_gaussians_epsilon() -> None:
    bounds = audit(sigma=1.0, mu=2.0, draws=20_000, seed=0)
    exact = gaussian.epsilon(2.0, DELTA)
    least = {
        "worst pair, Clopper-Pearson": 0.4,
        "worst pair, trade-off curve": 0.9,
        "worst pair, Gaussian moments": 0.94,
    }
    for method, share in least.items():
        assert share * exact < bounds[method].lower <= exact
        assert not bounds[method].refutes_claim and not bounds[method].refutes_noise
        assert bounds[method].draws == 80_000 and bounds[method].setting == "here; opposites"


@pytest.mark.parametrize("epsilon", [2.0, 8.0])
def test_noise_a_tenth_too_small_shows_on_the_trade_off_curve_only(epsilon: float) -> None:
    mu = {2.0: 1 / 1.99, 8.0: 1 / 0.6}[epsilon]
    bounds = audit(sigma=0.9 * 2 / mu, mu=mu, draws=20_000, seed=1)
    assert bounds["worst pair, Gaussian moments"].refutes_noise
    assert not bounds["worst pair, Clopper-Pearson"].refutes_noise


def test_noise_half_as_large_is_refuted_by_all_given_many_draws() -> None:
    bounds = audit(sigma=0.5 * 2 * 1.99, mu=1 / 1.99, draws=100_000, seed=0)
    assert all(bound.refutes_claim for bound in bounds.values())


def test_a_mechanism_that_does_not_clip_is_refuted_by_all() -> None:
    def unclipped(x: Vector | None, direction: Vector, n: int, rng: np.random.Generator) -> Vector:
        shift = 0.0 if x is None else float(x @ direction)
        return shift + 2.0 * rng.normal(size=n)

    pair = Pair("beyond the clip", 8 * ONES, -8 * ONES)
    rng = np.random.default_rng(0)
    bounds = worst_pair.audit(unclipped, [pair], claim(1.0), draws=2000, rng=rng, setting="here")
    assert all(bound.refutes_claim and bound.refutes_noise for bound in bounds)


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(AttackError, match="at least 4 draws"):
        audit(1.0, 1.0, draws=3, seed=0)


def test_a_bound_is_written_with_its_claim_and_no_infinity() -> None:
    bound = worst_pair.EpsilonBound("m", claim(1.0), math.inf, 0.95, 10, "here")
    record = bound.to_json()
    assert record["lower_bound"] is None and record["unbounded"] and record["refutes_claim"]
    assert (record["unit"], record["delta"], record["estimate"]) == ("user", DELTA, None)
    assert record["claimed_epsilon"] == pytest.approx(1.05 * record["exact_epsilon"])
