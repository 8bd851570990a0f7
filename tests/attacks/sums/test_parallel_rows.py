import numpy as np

from attacks.case import Case, Recording
from attacks.goals.singletons import OneSum
from attacks.goals.sums import KnownSum
from attacks.registry import all_attacks, run_attacks
from attacks.sums.parallel_rows import groups, parallel_rows

(ATTACK,) = [attack for attack in all_attacks() if attack.goal.name == "singleton rows"]


def findings(simulated, views):
    return run_attacks(Case(Recording.of(views), simulated.truth, simulated.public), attacks=[ATTACK])


def test_rows_of_one_member_are_read_in_a_small_cohort(simulated):
    small, *_ = findings(simulated, [simulated.unprotected(5)])
    assert small.target == "rows of one member alone, cohort of 10"
    assert small.others["singleton rows"].mean > 20
    assert small.others["precision"].mean > 0.9 and small.others["recall"].mean > 0.5 and small.beyond.low > 0.2


def test_noise_leaves_no_row_to_be_read(simulated):
    views = [simulated.unprotected(5), simulated.noised(5, 0.1, np.random.default_rng(0))]
    noised = [finding for finding in findings(simulated, views) if finding.view == "sum of noised uploads"]
    assert noised and all(finding.result.mean == 0 and finding.beyond.mean <= 0 for finding in noised)


def test_claims_say_whose_row_it_is_and_which_way_it_went(simulated):
    members = np.array([4, 11, 30])
    touched = simulated.touched[6][members]
    total = simulated.changes[6][members].sum(axis=0, dtype=np.float64)
    claims = parallel_rows(OneSum(KnownSum(6, simulated.tables[6], members, total), simulated.popularity, 60))
    assert np.array_equal(claims.read, claims.owner >= 0) and claims.read.sum() > 30
    assert np.all(touched.sum(axis=0)[claims.read] == 1)
    for group in np.unique(claims.owner[claims.read]):
        assert len(np.unique(touched[:, claims.owner == group].argmax(axis=0))) == 1
    has = simulated.truth.positives(members).any(axis=0)
    assert np.mean(claims.positive[claims.read] == has[claims.read]) > 0.95


def test_groups_are_the_parallel_rows_and_agree_with_a_search_over_pairs():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(3, 5))
    rows = np.concatenate([np.outer(rng.normal(size=6), vector) for vector in vectors] + [rng.normal(size=(20, 5))])
    rows[-1] = 0
    rows = rows[rng.permutation(len(rows))]
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
    parallel = np.abs(unit @ unit.T) > 1 - 1e-9
    wanted = {tuple(np.flatnonzero(row)) for row in parallel if row.sum() > 1}
    got = {tuple(group.tolist()) for group in groups(rows, np.full(len(rows), 1e-9))}
    assert got == wanted and len(got) == 3


def test_rows_as_short_as_rounding_are_left_out():
    rows = np.array([[1.0, 2], [2, 4], [1e-8, 2e-8]])
    assert [group.tolist() for group in groups(rows, np.full(3, 1e-9))] == [[0, 1]]
