import numpy as np
import pytest

from attacks.registry import all_attacks, run_attacks
from attacks.views import DenseUploads

ATTACKS = {attack.name: attack for attack in all_attacks() if attack.goal.name == "re-identification"}


def run(name, case):
    return run_attacks(case, attacks=[ATTACKS[name]], seed=2)


def test_likeliest_profile_finds_as_many_as_the_true_histories_allow(simulated, people_case):
    two, four, eight = run("likeliest profile", people_case(simulated.unprotected(1), simulated.unprotected(5)))
    assert two.rounds == four.rounds == (5,)
    for found in (two, four, eight):
        assert abs(found.result.mean - found.controls["upper"].mean) < 0.05 and found.beyond.low > 0.2
    assert two.result.mean <= four.result.mean <= eight.result.mean and eight.result.mean > 0.9


def test_similar_profile_is_right_where_it_stands_by_its_guess(simulated, people_case):
    *_, eight = run("similar profile", people_case(simulated.unprotected(5)))
    assert eight.result.mean > 0.5 and eight.others["top-10"].mean > 0.95
    assert eight.others["stood by"].mean > 0.1 and eight.others["right where stood by"].mean > 0.9


@pytest.mark.parametrize("name", ATTACKS)
def test_pure_noise_hides_who_has_what(simulated, people_case, name):
    noise = np.random.default_rng(7).normal(size=(60, 300, 16)).astype(np.float32)
    for found in run(name, people_case(simulated.view("noised_upload", 5, DenseUploads(np.arange(60), noise)))):
        assert found.result.low <= found.controls["chance"].mean <= found.result.high
        assert found.others["top-10"].low <= 1 / 6
