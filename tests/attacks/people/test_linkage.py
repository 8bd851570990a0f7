import numpy as np
import pytest

from attacks.goals.linkage import TwoRounds, anonymous
from attacks.people.linkage import assignment
from attacks.registry import all_attacks, run_attacks
from attacks.views import DenseUploads

(ATTACK,) = [attack for attack in all_attacks() if attack.goal.name == "linkage"]


def run(case):
    return run_attacks(case, attacks=[ATTACK], seed=1)


def test_unprotected_uploads_are_linked_across_near_and_far_rounds(simulated, people_case):
    found = run(people_case(*(simulated.unprotected(number) for number in (1, 5, 6))))
    assert [each.rounds for each in found] == [(1, 6), (5, 6)]
    for each in found:
        assert each.result.mean >= 0.95 and each.others["most similar is right"].mean >= 0.95
        assert each.beyond.low > 0.8 and each.controls["activity"].high < 0.5


def test_little_noise_is_no_defence(simulated, people_case):
    rng = np.random.default_rng(5)
    (found,) = run(people_case(*(simulated.noised(number, 0.3, rng) for number in (3, 4))))
    assert found.result.mean >= 0.95


def test_pure_noise_links_nobody(simulated, people_case):
    rng = np.random.default_rng(6)
    views = [
        simulated.view("noised_upload", number, DenseUploads(np.arange(60), noise.astype(np.float32)))
        for number, noise in zip((3, 4), rng.normal(size=(2, 60, 300, 16)), strict=True)
    ]
    (found,) = run(people_case(*views))
    assert found.result.low <= 1 / 60 <= found.result.high and found.beyond.low <= 0


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_order_of_the_uploads_says_nothing(simulated, people_case, noise):
    first, second = (simulated.noised(number, noise, np.random.default_rng(number)) for number in (2, 3))
    order = np.random.default_rng(0).permutation(60)
    public = people_case(first).public
    straight = assignment(TwoRounds(first, second, public))
    mixed = assignment(TwoRounds(first, anonymous(second, order), public))
    assert np.allclose(mixed.similarity, straight.similarity[order], atol=1e-4)
    assert np.mean(mixed.guess == straight.guess[order]) > 0.9
