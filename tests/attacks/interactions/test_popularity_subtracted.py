import numpy as np
import pytest

from attacks.case import Case, Public, Recording
from attacks.goals.items import Seen
from attacks.interactions.popularity_subtracted import explained, sum_less_popularity
from attacks.interactions.rank_one import popularity_log_odds
from attacks.registry import all_attacks, run_attacks
from attacks.views import OpenedSum

(SUM,) = [attack for attack in all_attacks() if attack.name == "sum less popularity"]


def finding(simulated, view):
    (result,) = run_attacks(Case(Recording.of([view]), simulated.truth, simulated.public), attacks=[SUM])
    return result


@pytest.mark.parametrize("round_number", [1, 3, 6])
def test_a_sum_over_one_client_gives_its_items_away(simulated, round_number):
    reached = [finding(simulated, simulated.opened(round_number, [client])).result.mean for client in range(12)]
    assert min(reached) >= 0.95 and np.mean(reached) >= 0.99


@pytest.mark.parametrize("cohort", [2, 4])
def test_a_sum_over_few_clients_tells_more_than_popularity(simulated, cohort):
    cohorts = [list(range(start, start + cohort)) for start in range(0, 40, cohort)]
    beyond = [finding(simulated, simulated.opened(3, clients)).beyond.mean for clients in cohorts]
    assert np.mean(beyond) > 0.03
    assert np.mean(beyond) > 3 * np.std(beyond) / np.sqrt(len(beyond))


@pytest.mark.parametrize("round_number", [1, 3, 6])
def test_a_sum_over_everybody_tells_popularity_and_no_more(simulated, round_number):
    assert abs(finding(simulated, simulated.opened(round_number, list(range(60)))).beyond.mean) <= 0.02


def test_pure_noise_adds_nothing_to_popularity(simulated):
    noise = np.random.default_rng(2).normal(size=(300, 16)).astype(np.float32)
    view = simulated.view("opened_sum", 3, OpenedSum(np.arange(60), noise))
    assert abs(finding(simulated, view).beyond.mean) <= 0.01


def test_movement_that_popularity_explains_is_taken_away_and_the_rest_is_left(simulated):
    prior = popularity_log_odds(simulated.opened(1, [0]))
    along = 3 - 2 * prior + 0.5 * prior**3
    rest = np.zeros(300)
    rest[[20, 150]] = 4.0
    touched = np.ones(300, dtype=bool)
    assert np.allclose(explained(along, prior, touched), along, atol=1e-9)
    left = along + rest - explained(along + rest, prior, touched)
    assert np.allclose(left, rest, atol=0.5) and set(np.argsort(-left)[:2].tolist()) == {20, 150}


def test_sum_of_nothing_has_finite_scores(simulated):
    view = simulated.view("opened_sum", 1, OpenedSum(np.arange(60), np.zeros((300, 16), np.float32)))
    assert np.all(np.isfinite(sum_less_popularity(Seen((view,), Public())).scores))
