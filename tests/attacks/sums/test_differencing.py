import numpy as np
import pytest

from attacks.case import Case, Recording
from attacks.registry import all_attacks, run_attacks
from attacks.sums.common_directions import posterior

ATTACKS = {attack.name: attack for attack in all_attacks() if attack.goal.name == "differencing"}


def findings(simulated, name, views):
    case = Case(Recording.of(views), simulated.truth, simulated.public)
    return run_attacks(case, attacks=[ATTACKS[name]])


def unprotected(simulated, rounds):
    return [simulated.unprotected(number) for number in rounds]


def noised(simulated, rounds, deviation):
    rng = np.random.default_rng(0)
    return [simulated.noised(number, deviation, rng) for number in rounds]


def test_two_sums_of_one_round_that_differ_by_a_client_give_all_its_items_away(simulated):
    for finding in findings(simulated, "differencing within a round", unprotected(simulated, [1, 4])):
        assert finding.result.mean >= 0.99 and finding.others["F1"].mean >= 0.99 and finding.beyond.low > 0.05
        assert finding.view == "sum of unprotected uploads" and finding.n == 60


def test_noise_on_each_upload_leaves_the_difference_at_popularity(simulated):
    (finding,) = findings(simulated, "differencing within a round", noised(simulated, [3], 20.0))
    assert abs(finding.beyond.mean) <= 0.01 and finding.beyond.low <= 0.005
    assert finding.view == "sum of noised uploads"


def test_sums_of_two_rounds_give_a_member_of_a_small_cohort_away_and_one_of_a_large_cohort_less(simulated):
    by_size = findings(simulated, "differencing across rounds", unprotected(simulated, [5, 6]))
    assert [finding.target for finding in by_size] == [
        f"items of one client, cohort of {size}" for size in (10, 30, 60)
    ]
    small, _, large = by_size
    assert small.beyond.low > 0.05
    assert small.result.mean > large.result.mean + 0.05


def test_several_rounds_with_and_without_the_target_help(simulated):
    two = findings(simulated, "differencing across rounds", unprotected(simulated, [5, 6]))
    five = findings(simulated, "differencing across rounds", unprotected(simulated, [2, 3, 4, 5, 6]))
    assert five[1].rounds == (2, 3, 4, 5, 6)
    assert five[1].result.mean > two[1].result.mean


@pytest.mark.parametrize("rounds", [[5, 6], [2, 3, 4, 5]])
def test_under_noise_sums_of_different_rounds_give_no_more_than_popularity(simulated, rounds):
    for finding in findings(simulated, "differencing across rounds", noised(simulated, rounds, 20.0)):
        assert abs(finding.beyond.mean) <= 0.01


def test_rounds_that_do_not_follow_each_other_are_not_compared(simulated):
    assert findings(simulated, "differencing across rounds", unprotected(simulated, [1, 3, 5])) == []


def test_posterior_is_that_of_the_mixture_the_moves_are_drawn_from():
    rng = np.random.default_rng(3)
    n, up, down, share = 20000, 2.0, 1.5, 0.4
    prior = rng.normal(-1, 1, n)
    has = rng.random(n) < 1 / (1 + np.exp(-prior))
    negative = ~has & (rng.random(n) < share)
    noise = rng.uniform(0.3, 1.5, n)
    along = up * has - down * negative + np.sqrt(noise) * rng.normal(size=n)
    density = lambda centre: np.exp(-((along - centre) ** 2) / (2 * noise))  # noqa: E731
    exact = prior + np.log(density(up) / (share * density(-down) + (1 - share) * density(0)))
    # The noise need be known up to a factor only.
    for factor in (0.7, 1.0, 1.5):
        assert np.mean(np.abs(posterior(along, factor * noise, prior) - exact)) < 0.15
