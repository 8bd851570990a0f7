import dataclasses

import numpy as np
import pytest

from attacks.case import Case, Recording
from attacks.errors import AttackError
from attacks.goals.profiles import KNOWN, REIDENTIFICATION, Profiles, Suspects
from attacks.registry import Attack, run_attacks


def run(simulated, answer, kinds=("unprotected_upload",), views=None):
    case = Case(Recording.of(views or [simulated.unprotected(1), simulated.unprotected(4)]), simulated.truth)
    return run_attacks(case, attacks=[Attack("test", REIDENTIFICATION, kinds, "each", "", "", "", answer)])


def even(seen):
    return Suspects(np.zeros((len(seen.known), len(seen.view.clients)), np.float32), np.zeros(len(seen.known), bool))


def test_the_truth_reaches_the_upper_control_and_knows_when_it_is_sure(simulated):
    histories = simulated.truth.positives(np.arange(60))

    def oracle(seen):
        scores = np.stack([histories[:, known].all(axis=1) / histories.sum(axis=1) for known in seen.known])
        best = np.sort(scores, axis=1)
        return Suspects(scores.astype(np.float32), best[:, -2] == 0)

    found = run(simulated, oracle)
    assert [each.target for each in found] == [f"person with {k} known items" for k in KNOWN]
    for each in found:
        assert each.rounds == (4,) and each.result.mean == pytest.approx(each.controls["upper"].mean)
        assert each.others["right where stood by"].mean == 1
        assert 0 < each.others["stood by"].mean <= each.result.mean


def test_whoever_says_the_same_of_all_is_at_chance(simulated):
    for each in run(simulated, even):
        assert each.result.mean == pytest.approx(1 / 60) and each.beyond.mean == pytest.approx(0)
        assert each.others["top-10"].mean == pytest.approx(1 / 6) and "right where stood by" not in each.others


def test_known_items_are_distinct_items_of_a_client_with_more_and_come_in_no_order(simulated):
    histories, shown = simulated.truth.positives(np.arange(60)), []
    run(simulated, lambda seen: shown.append(seen) or even(seen))
    for seen, k in zip(shown, KNOWN, strict=True):
        assert seen.known.shape == (np.count_nonzero(histories.sum(axis=1) > k), k)
        owners = [np.flatnonzero(histories[:, known].all(axis=1)) for known in seen.known]
        assert all(len(np.unique(known)) == k for known in seen.known) and all(len(each) for each in owners)
        sole = [each[0] for each in owners if len(each) == 1]
        assert len(sole) > 5 and sole != sorted(sole)
    assert not any("Truth" in str(field.type) for field in dataclasses.fields(Profiles))


def test_a_sum_has_nobody_to_find(simulated):
    assert run(simulated, even, ("opened_sum",), [simulated.opened(1, [1, 2, 3])]) == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda seen: Suspects(np.zeros((1, 60), np.float32), np.zeros(1, bool)), "answered with the shape"),
        (
            lambda seen: Suspects(np.full((len(seen.known), 60), np.inf, np.float32), np.zeros(len(seen.known), bool)),
            "not finite",
        ),
    ],
)
def test_answers_that_break_the_contract_are_refused(simulated, answer, message):
    with pytest.raises(AttackError, match=message):
        run(simulated, answer)
