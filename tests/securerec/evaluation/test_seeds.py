import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from securerec.evaluation.intervals import mean_interval
from securerec.evaluation.protocols import Ranks
from securerec.evaluation.seeds import per_user_by_seed, seeded_interval


def crossed(rng, n_seeds, n_users, *, users, seeds, rest):
    """Values around 0.5 with these deviations of users, seeds and what is left."""
    values = 0.5 + rng.normal(0, users, n_users) + rng.normal(0, seeds, (n_seeds, 1))
    return np.clip(values + rng.normal(0, rest, (n_seeds, n_users)), 0, 1)


def coverage(covers, *, repeats=400, **sizes):
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(repeats):
        interval = seeded_interval(crossed(rng, **sizes), covers=covers)
        hits += interval.low <= 0.5 <= interval.high
    return hits / repeats


@pytest.mark.parametrize(
    "sizes",
    [
        {"n_seeds": 5, "n_users": 200, "users": 0.1, "seeds": 0.05, "rest": 0.05},
        {"n_seeds": 3, "n_users": 300, "users": 0.1, "seeds": 0.02, "rest": 0.1},
        {"n_seeds": 5, "n_users": 200, "users": 0.1, "seeds": 0.0, "rest": 0.1},
        {"n_seeds": 8, "n_users": 200, "users": 0.3, "seeds": 0.04, "rest": 0.3},
    ],
)
def test_users_and_seeds_together_cover_the_true_mean_as_often_as_said(sizes):
    assert 0.92 <= coverage("users and seeds", **sizes) <= 0.995


def test_an_interval_over_one_source_misses_what_the_other_does():
    sizes = {"n_seeds": 5, "n_users": 200, "users": 0.1, "seeds": 0.05, "rest": 0.05}
    assert coverage("users", **sizes) < 0.75
    sizes = {"n_seeds": 5, "n_users": 200, "users": 0.1, "seeds": 0.0, "rest": 0.02}
    assert coverage("seeds", **sizes) < 0.75


def test_each_source_alone_is_covered_as_often_as_said():
    assert 0.92 <= coverage("users", n_seeds=4, n_users=200, users=0.1, seeds=0.0, rest=0.1) <= 0.985
    assert 0.92 <= coverage("seeds", n_seeds=5, n_users=200, users=0.0, seeds=0.05, rest=0.0) <= 0.985


def test_seeds_alone_is_students_interval_of_the_seeds_means():
    """Means 0.4, 0.5, 0.6: deviation 0.1, Student's quantile 4.302653 with 2 degrees of freedom."""
    values = np.array([[0.3, 0.5], [0.4, 0.6], [0.5, 0.7]])
    interval = seeded_interval(values, covers="seeds")
    assert interval.mean == pytest.approx(0.5)
    assert interval.high - 0.5 == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-6)
    assert 0.5 - interval.low == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-6)
    assert (interval.covers, interval.n_seeds, interval.n_users) == ("seeds", 3, 2)


def test_seeds_that_agree_leave_the_interval_over_users():
    values = np.tile((np.random.default_rng(0).random(80) < 0.4).astype(float), (3, 1))
    expected = mean_interval(values[0])
    for covers in ("users", "users and seeds"):
        interval = seeded_interval(values, covers=covers)
        assert (interval.mean, interval.low, interval.high) == pytest.approx(tuple(expected))
    still = seeded_interval(values, covers="seeds")
    assert still.low == pytest.approx(still.high)


def test_the_seeds_part_is_the_textbook_variance_component():
    """Against expected mean squares worked out cell by cell with loops."""
    values = crossed(np.random.default_rng(1), 4, 60, users=0.1, seeds=0.08, rest=0.05)
    seeds, users = values.shape
    grand = values.mean()
    between_seeds = sum(users * (values[s].mean() - grand) ** 2 for s in range(seeds)) / (seeds - 1)
    left = 0.0
    for s in range(seeds):
        for u in range(users):
            left += (values[s, u] - values[s].mean() - values[:, u].mean() + grand) ** 2
    left /= (seeds - 1) * (users - 1)
    between_users = sum(seeds * (values[:, u].mean() - grand) ** 2 for u in range(users)) / (users - 1)
    total = (between_users + between_seeds - left) / values.size
    alone = mean_interval(values.mean(axis=0))
    both = seeded_interval(values)
    component = (between_seeds - left) / values.size
    freedom = (total * values.size) ** 2 / (
        between_users**2 / (users - 1) + between_seeds**2 / (seeds - 1) + left**2 / ((users - 1) * (seeds - 1))
    )
    variance_of_users = ((alone.high - alone.low) / 2 / stats.norm.ppf(0.975)) ** 2
    half = stats.t.ppf(0.975, freedom) * (variance_of_users + component) ** 0.5
    assert (both.high - both.low) / 2 == pytest.approx(half, rel=1e-9)


@given(st.integers(2, 6), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_covering_both_is_never_narrower_than_covering_users(n_seeds, n_users, seed):
    rng = np.random.default_rng(seed)
    values = np.clip(rng.normal(rng.random((n_seeds, 1)), 0.3, (n_seeds, n_users)), 0, 1)
    users, both = seeded_interval(values, covers="users"), seeded_interval(values)
    assert both.low <= users.low + 1e-12 and users.high <= both.high + 1e-12
    assert 0 <= both.low <= both.mean + 1e-12 and both.mean - 1e-12 <= both.high <= 1


def test_higher_level_is_wider():
    values = crossed(np.random.default_rng(2), 5, 40, users=0.1, seeds=0.05, rest=0.1)
    narrow, wide = seeded_interval(values, level=0.5), seeded_interval(values, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize(
    ("values", "arguments", "message"),
    [
        (np.zeros((0, 4)), {}, "shape"),
        (np.zeros((2, 0)), {}, "shape"),
        (np.zeros(4), {}, "shape"),
        (np.full((2, 2), 1.5), {}, r"\[0, 1\]"),
        (np.full((2, 2), np.nan), {}, r"\[0, 1\]"),
        (np.zeros((1, 4)), {}, "run at least 2, or cover users only"),
        (np.zeros((1, 4)), {"covers": "seeds"}, "run at least 2"),
        (np.zeros((2, 4)), {"covers": "items"}, "covers must be"),
        (np.zeros((2, 4)), {"level": 1.0}, "level must lie"),
    ],
)
def test_values_that_cannot_be_averaged_are_refused(values, arguments, message):
    with pytest.raises(ValueError, match=message):
        seeded_interval(values, **arguments)


def test_one_seed_can_still_cover_users():
    values = np.array([[0.0, 1.0, 1.0, 0.0, 1.0]])
    assert seeded_interval(values, covers="users").low == pytest.approx(mean_interval(values[0]).low)


def ranks(users, better):
    return Ranks(np.array(users), np.array(better), np.zeros(len(users), np.int64))


def test_ranks_of_several_seeds_stack_seed_by_seed():
    stacked = per_user_by_seed([ranks([0, 2], [0, 9]), ranks([0, 2], [3, 0])], [1, 10])
    assert stacked["hr@1"].tolist() == [[1, 0], [0, 1]] and stacked["hr@10"].tolist() == [[1, 1], [1, 1]]
    assert set(stacked) == {"hr@1", "ndcg@1", "hr@10", "ndcg@10"}


def test_seeds_that_evaluated_other_users_are_refused():
    with pytest.raises(ValueError, match="different users"):
        per_user_by_seed([ranks([0, 2], [0, 9]), ranks([0, 1], [0, 9])], [10])
    with pytest.raises(ValueError, match="no seed"):
        per_user_by_seed([], [10])
