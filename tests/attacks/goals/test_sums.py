import numpy as np
import pytest

from attacks.case import Case, Public, Recording
from attacks.errors import AttackError
from attacks.findings import Estimate
from attacks.goals.differencing import DIFFERENCING
from attacks.goals.disaggregation import DISAGGREGATION
from attacks.goals.items import ItemScores
from attacks.goals.membership import MEMBERSHIP, as_clipped, row_covariances
from attacks.goals.singletons import SINGLETONS, RowClaims, likeliest
from attacks.goals.sums import cohort_sizes, consecutive
from attacks.registry import Attack


def run(goal, simulated, answer, views, rounds="each"):
    """Findings of an attack that notes its evidence and answers with `answer(evidence)`."""
    seen = []

    def attack(evidence):
        seen.append(evidence)
        return answer(evidence)

    kinds = ("unprotected_upload", "noised_upload")
    spy = Attack("spy", goal, kinds, rounds, "a", "s", "s", attack)
    case = Case(Recording.of(views), simulated.truth, simulated.public)
    return goal.evaluate(spy, case, np.random.default_rng(5)), seen


def popularity_for(n):
    return lambda evidence: ItemScores(
        np.tile(evidence.popularity.astype(np.float32), (n, 1)), np.zeros((n, len(evidence.popularity)), dtype=bool)
    )


def nothing_read(evidence):
    n = len(evidence.popularity)
    return RowClaims(np.zeros(n, dtype=bool), np.zeros(n, dtype=bool), np.full(n, -1))


def test_runs_are_of_rounds_without_a_gap():
    assert consecutive((1, 2, 3, 5, 8, 9)) == [(1, 2, 3), (8, 9)]
    assert consecutive((4,)) == [] and consecutive((1, 3, 5)) == []


def test_cohorts_go_up_to_everybody():
    for n, sizes in ((60, (10, 30, 60)), (10, (10,)), (943, (10, 30, 100, 943))):
        assert cohort_sizes(n, "unprotected_upload", Public(min_survivors=50)) == sizes
        assert cohort_sizes(n, "noised_upload", Public()) == sizes
    assert cohort_sizes(943, "noised_upload", Public(min_survivors=100)) == (100, 943)


def test_sums_within_a_round_differ_by_the_target_alone(simulated):
    (found,), seen = run(DIFFERENCING, simulated, popularity_for(1), [simulated.unprotected(2)])
    assert len(seen) == 60 and found.beyond == Estimate(0.0, 0.0, 0.0)
    for overlap in seen:
        (whole,), (rest,) = overlap.present, overlap.absent
        (target,) = np.setdiff1d(whole.clients, rest.clients)
        difference = whole.total - rest.total
        assert np.allclose(difference, simulated.changes[2][target], atol=1e-9 * np.abs(whole.total).max())
        assert np.array_equal(np.any(difference != 0, axis=1), simulated.touched[2][target])


def test_sums_across_rounds_have_the_target_in_every_other_round(simulated):
    views = [simulated.unprotected(number) for number in (2, 3, 4)]
    found, seen = run(DIFFERENCING, simulated, popularity_for(1), views, rounds="all")
    assert [finding.n for finding in found] == [40, 40, 40] and len(seen) == 120
    for overlap in seen:
        assert [each.round_number for each in overlap.present] == [3]
        assert [each.round_number for each in overlap.absent] == [2, 4]
        for each in (*overlap.present, *overlap.absent):
            wanted = simulated.changes[each.round_number][each.clients].sum(axis=0, dtype=np.float64)
            assert np.allclose(each.total, wanted, atol=1e-4 * np.abs(wanted).max())
        assert len(np.setdiff1d(overlap.present[0].clients, overlap.absent[0].clients)) == 1


def test_sums_over_rounds_are_fewer_than_the_clients_in_each(simulated):
    views = [simulated.unprotected(number) for number in (1, 2, 3, 5)]
    many = lambda evidence: popularity_for(evidence.taking_part.shape[1])(evidence)  # noqa: E731
    found, seen = run(DISAGGREGATION, simulated, many, views, rounds="all")
    assert [evidence.taking_part.shape for evidence in seen] == [(24, 10), (72, 30), (144, 60)]
    assert all(finding.rounds == (1, 2, 3) for finding in found)


def test_an_answer_of_another_shape_is_refused(simulated):
    views = [simulated.unprotected(1)]
    with pytest.raises(AttackError, match="answered with the shape"):
        run(DIFFERENCING, simulated, popularity_for(2), views)
    with pytest.raises(AttackError, match="finite scores"):
        run(MEMBERSHIP, simulated, lambda trials: np.zeros(3), views)
    with pytest.raises(AttackError, match="each of 300 rows"):
        run(SINGLETONS, simulated, lambda sums: RowClaims(*np.zeros((3, 2))), views)


def test_answers_that_know_nothing_stand_at_chance(simulated):
    rng = np.random.default_rng(6)
    found, seen = run(MEMBERSHIP, simulated, lambda it: rng.normal(size=len(it.totals)), [simulated.unprotected(2)])
    assert [evidence.others for evidence in seen[::8]] == [29, 59]
    for finding in found:
        assert finding.result.low <= 0.5 <= finding.result.high
        assert finding.others["epsilon of this sum at least"].mean == 0


def test_trials_hold_the_candidate_or_not(simulated):
    _, seen = run(MEMBERSHIP, simulated, lambda it: np.zeros(len(it.totals)), [simulated.unprotected(2)])
    trials = seen[0]
    everybody = simulated.changes[2].sum(axis=0, dtype=np.float64)
    assert np.allclose(59 * trials.mean[0] + trials.candidates[0], everybody, atol=1e-4 * np.abs(everybody).max())
    assert len(trials.totals) > 10 and any(
        np.array_equal(trials.candidates[0], change) for change in simulated.changes[2]
    )


def test_row_covariances_are_numpys():
    uploads = np.random.default_rng(7).normal(size=(40, 3, 4)).astype(np.float32)
    for item, covariance in enumerate(row_covariances(uploads)):
        assert np.allclose(covariance, np.cov(uploads[:, item].T, bias=True), atol=1e-6)


def test_clip_norm_is_read_off_the_noised_uploads():
    rng = np.random.default_rng(8)
    trained = (rng.normal(size=(400, 500)) * rng.choice([0.05, 2.0], size=(400, 1), p=[0.3, 0.7])).astype(np.float32)
    norms = np.linalg.norm(trained, axis=1, keepdims=True)
    clipped = trained * np.minimum(1, 10 / norms)
    noised = (clipped + rng.normal(0, 3, trained.shape)).astype(np.float32)
    assert np.allclose(as_clipped(trained, noised), clipped, rtol=0.05, atol=0.02)


def test_singleton_control_is_as_good_as_it_expects_to_be(simulated):
    found, _ = run(SINGLETONS, simulated, nothing_read, [simulated.unprotected(3)])
    small = found[0]
    assert small.result.mean == 0 and 0 < small.controls["popularity"].mean < 1
    guess = likeliest(simulated.popularity, 60, 10, 4)
    assert 0 < guess.read.sum() < 300 and not guess.positive[simulated.popularity == 0].any()


def test_reading_every_singleton_row_scores_one(simulated):
    def cheat(evidence):
        changed = simulated.touched[3][evidence.sum.clients]
        has = simulated.truth.positives(evidence.sum.clients)
        return RowClaims(changed.sum(axis=0) == 1, has.any(axis=0), changed.argmax(axis=0))

    found, _ = run(SINGLETONS, simulated, cheat, [simulated.unprotected(3)])
    assert found[0].result.mean == 1 and found[0].others["precision"].mean == 1
    assert found[0].others["rows read and linked to others of their member"].mean > 0
