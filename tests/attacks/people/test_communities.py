import numpy as np

from attacks.registry import all_attacks, run_attacks
from attacks.views import DenseUploads

(ATTACK,) = [attack for attack in all_attacks() if attack.goal.name == "communities"]


def run(case):
    return run_attacks(case, attacks=[ATTACK], seed=4)


def test_unprotected_uploads_name_the_members_without_labels(simulated, people_case):
    found = run(people_case(simulated.unprotected(1), simulated.unprotected(4)))
    assert {each.target for each in found} == {f"community around {colour}" for colour in ("red", "green", "blue")}
    for each in found:
        assert each.rounds == (4,) and each.result.mean > 0.98 and each.beyond.low > 0.4
        (precision,) = each.others.values()
        assert precision.mean > 0.8


def test_noise_that_hides_each_upload_does_not_hide_the_communities(simulated, people_case):
    found = run(people_case(simulated.noised(4, 4.0, np.random.default_rng(8))))
    assert np.mean([each.result.mean for each in found]) > 0.6


def test_pure_noise_names_nobody(simulated, people_case):
    noise = np.random.default_rng(9).normal(size=(60, 300, 16)).astype(np.float32)
    for each in run(people_case(simulated.view("noised_upload", 4, DenseUploads(np.arange(60), noise)))):
        assert each.beyond.low <= 0
