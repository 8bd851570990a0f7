import numpy as np
import pytest

from attacks.case import Case, Recording
from attacks.goals.disaggregation import ManySums
from attacks.registry import all_attacks, run_attacks
from attacks.sums.least_squares import solved

ATTACKS = {attack.name: attack for attack in all_attacks() if attack.goal.name == "disaggregation"}


def findings(simulated, name, views):
    case = Case(Recording.of(views), simulated.truth, simulated.public)
    return run_attacks(case, attacks=[ATTACKS[name]])


def test_solution_is_each_upload_with_its_untouched_rows_exactly_zero(simulated):
    uploads = simulated.changes[2].astype(np.float64)
    taking_part = np.random.default_rng(0).random((75, 60)) < 0.5
    totals = np.tensordot(taking_part.astype(float), uploads, axes=1)
    found = solved(ManySums(taking_part, totals, simulated.tables[2], simulated.popularity, 60))
    assert np.allclose(found, uploads, atol=1e-8 * np.abs(uploads).max())
    assert np.array_equal(np.any(found != 0, axis=2), simulated.touched[2])


def test_more_sums_of_a_round_than_clients_give_all_items_of_all_away(simulated):
    (finding,) = findings(simulated, "least squares within a round", [simulated.unprotected(3)])
    assert finding.result.mean >= 0.99 and finding.others["F1"].mean >= 0.99 and finding.n == 60
    assert finding.target == "items of 60 clients, 75 sums"


def test_sums_over_several_rounds_do_though_no_round_has_enough_of_them(simulated):
    views = [simulated.unprotected(number) for number in (2, 3, 4, 5, 6)]
    for finding in findings(simulated, "least squares over rounds", views):
        assert finding.rounds == (2, 3, 4, 5, 6)
        assert finding.beyond.low > 0.05


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_noise_leaves_the_solution_at_popularity(simulated, name):
    rng = np.random.default_rng(1)
    views = [simulated.noised(number, 20.0, rng) for number in (3, 4, 5)]
    for finding in findings(simulated, name, views):
        assert abs(finding.beyond.mean) <= 0.01
