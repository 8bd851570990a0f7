import dataclasses

import numpy as np
import pytest

from attacks.case import Case, Public
from attacks.errors import AttackError
from attacks.goals.attributes import ATTRIBUTES, Uploads, drawn_by_popularity
from attacks.goals.properties import fans, genre_shares, habits
from attacks.registry import Attack, run_attacks
from attacks.views import Labels, Truth


def run(case, answer, kinds=("unprotected_upload",), seed=0):
    attack = Attack("test", ATTRIBUTES, kinds, "each", "", "", "", answer)
    return {found.target: found for found in run_attacks(case, attacks=[attack], seed=seed)}


def with_attribute(case, codes, names):
    labels = {"job": Labels(names, np.array(codes, dtype=np.int16))}
    truth = case.truth
    return Case(case.recording, Truth(truth.n_items, truth.clients, truth.offsets, truth.items, labels), case.public)


def constant(seen):
    return np.ones((len(seen.view.clients), 3), np.float32)


def test_true_histories_go_all_the_way_and_constants_none(simulated, people_case):
    case = people_case(simulated.unprotected(1), simulated.unprotected(3))
    histories = simulated.truth.positives(np.arange(60)).astype(np.float32)
    told, untold = run(case, lambda seen: histories), run(case, constant)
    assert set(told) == set(untold) and {"gender", "heavy user", "new user", "fan of red"} <= set(told)
    for target, found in told.items():
        assert found.rounds == (3,) and found.n == 60
        assert found.result.mean == pytest.approx(found.controls["upper"].mean, abs=0.01)
        assert untold[target].result.mean == 0.5 and untold[target].beyond.mean <= 0
    assert told["gender"].others["share of the way from " + told["gender"].against + " to upper"].low > 0.8


def test_result_is_held_against_the_stronger_of_the_controls(simulated, people_case):
    case = people_case(simulated.unprotected(3))
    for found in (each for seed in range(3) for each in run(case, constant, seed=seed).values()):
        floor = found.controls[found.against].mean
        assert floor == max(found.controls["chance"].mean, found.controls.get("lower", found.controls["chance"]).mean)
        assert found.beyond.mean == pytest.approx(found.result.mean - floor)


def test_number_of_items_alone_is_no_control_for_who_has_many(simulated, people_case):
    found = run(people_case(simulated.unprotected(3)), constant)
    for target in ("heavy user", "new user"):
        assert "lower" not in found[target].controls and found[target].against == "chance"


def test_small_classes_and_unknown_ones_are_left_out_and_named(simulated, people_case):
    codes = np.repeat([0, 1, 2, -1], [30, 20, 5, 5])
    case = with_attribute(people_case(simulated.unprotected(3)), codes, ("one", "two", "three", "none"))
    found = run(case, constant)
    assert found["job (2 of 3 classes)"].n == 50
    alone = with_attribute(people_case(simulated.unprotected(3)), np.zeros(60), ("one",))
    assert not any(target.startswith("job") for target in run(alone, constant))
    nobody = with_attribute(people_case(simulated.unprotected(3)), np.full(60, -1), ("one",))
    assert not any(target.startswith("job") for target in run(nobody, constant))


def test_genres_that_nobody_knows_are_not_asked_about(simulated, people_case):
    case = people_case(simulated.unprotected(3))
    bare = run(Case(case.recording, case.truth, Public()), constant)
    assert set(bare) == {"gender", "heavy user", "new user"}


def test_a_sum_says_nothing_of_anybody(simulated, people_case):
    assert run(people_case(simulated.opened(1, [1, 2, 3])), constant, ("opened_sum",)) == {}


def test_drawn_histories_have_the_true_lengths_and_follow_popularity():
    rng = np.random.default_rng(0)
    popularity = np.array([0, 1, 2, 50, 100, 400])
    drawn = drawn_by_popularity(np.tile([0, 1, 2, 5], 500), popularity, rng)
    assert np.array_equal(drawn.sum(axis=1), np.tile([0, 1, 2, 5], 500)) and not drawn[:, 0].any()
    single = drawn[1::4].mean(axis=0)
    assert np.allclose(single, popularity / popularity.sum(), atol=0.06)


def test_habits_and_fans_are_quarters():
    histories = np.tril(np.ones((40, 40), bool))
    found = habits(histories)
    assert found["heavy user"].sum() == found["new user"].sum() == 10
    assert found["heavy user"][-10:].all() and found["new user"][:10].all()
    late = (np.arange(40) >= 20)[:, None]
    assert fans(histories, Public(late, ("late",)))["fan of late"][-10:].all()


def test_genres_are_those_that_split_people_and_not_those_drawn_by_lot():
    """Six genres of the same size: only the last differs between people by more than chance does."""
    rng = np.random.default_rng(1)
    genres = np.eye(6, dtype=bool)[np.arange(300) % 6]
    histories = rng.random((200, 300)) < np.where(genres[:, 5] & (np.arange(200) < 100)[:, None], 0.5, 0.1)
    histories[:100] &= genres[:, 5] | (rng.random((100, 300)) < 0.6)
    shares = genre_shares(histories, Public(genres, tuple("abcdef")))
    assert next(iter(shares)) == "f" and len(shares) <= 5
    expected = histories[:, genres[:, 5]].sum(axis=1) / np.maximum(histories.sum(axis=1), 1)
    assert np.allclose(shares["f"], expected)


def test_evidence_leads_to_no_truth():
    assert not any("Truth" in str(field.type) for field in dataclasses.fields(Uploads))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.zeros((59, 3), np.float32), "answered with the shape"),
        (np.zeros(60, np.float32), "answered with the shape"),
        (np.full((60, 2), np.nan, np.float32), "not finite"),
    ],
)
def test_answers_that_break_the_contract_are_refused(simulated, people_case, answer, message):
    with pytest.raises(AttackError, match=message):
        run(people_case(simulated.unprotected(3)), lambda seen: answer)


def test_a_truth_of_other_items_is_refused(simulated, people_case):
    case = people_case(simulated.unprotected(3))
    other = Truth.from_lists(5, np.arange(60), [np.array([1], np.int32)] * 60)
    with pytest.raises(AttackError, match="not of one run"):
        run(Case(case.recording, other, case.public), constant)
