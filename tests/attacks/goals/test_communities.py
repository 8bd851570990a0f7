import dataclasses

import numpy as np
import pytest

from attacks.case import Case, Public
from attacks.errors import AttackError
from attacks.goals.communities import COMMUNITIES, Themes
from attacks.registry import Attack, run_attacks


def run(case, answer, kinds=("unprotected_upload",)):
    return run_attacks(case, attacks=[Attack("test", COMMUNITIES, kinds, "each", "", "", "", answer)])


def even(seen):
    return np.zeros((len(seen.items), len(seen.view.clients)), np.float32)


def test_true_shares_name_the_community_and_its_opposite_names_it_last(simulated, people_case):
    histories = simulated.truth.positives(np.arange(60)).astype(np.float32)

    def share(seen):
        return seen.items.astype(np.float32) @ histories.T / histories.sum(axis=1)

    case = people_case(simulated.unprotected(1), simulated.unprotected(3))
    right, wrong = run(case, share), run(case, lambda seen: -share(seen))
    assert len(right) == len(wrong) == 3
    for best, worst in zip(right, wrong, strict=True):
        assert best.rounds == (3,) and best.result.mean == 1 and worst.result.mean == 0
        assert [each.mean for each in best.others.values()] == [1] and [
            each.mean for each in worst.others.values()
        ] == [0]
        assert 0.5 <= best.controls["activity"].mean < 1


def test_whoever_says_the_same_of_all_is_a_coin(simulated, people_case):
    for found in run(people_case(simulated.unprotected(3)), even):
        assert found.result.mean == 0.5 and found.beyond.mean == 0


def test_no_genres_and_no_single_uploads_give_no_finding(simulated, people_case):
    case = people_case(simulated.unprotected(3))
    assert run(Case(case.recording, case.truth, Public()), even) == []
    assert run(people_case(simulated.opened(1, [1, 2, 3])), even, ("opened_sum",)) == []


def test_evidence_leads_to_no_truth():
    assert not any("Truth" in str(field.type) for field in dataclasses.fields(Themes))


@pytest.mark.parametrize(
    ("answer", "message"),
    [(np.zeros((3, 59), np.float32), "answered with the shape"), (np.full((3, 60), np.nan, np.float32), "not finite")],
)
def test_answers_that_break_the_contract_are_refused(simulated, people_case, answer, message):
    with pytest.raises(AttackError, match=message):
        run(people_case(simulated.unprotected(3)), lambda seen: answer)
