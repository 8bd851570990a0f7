import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securerec.evaluation import ranking


def by_permutation(scores: list[int], k: int) -> tuple[float, float]:
    """Hit rate and NDCG of candidate 0, averaged over every order that sorting by score allows."""
    hits, gains, orders = 0.0, 0.0, 0
    for order in itertools.permutations(range(len(scores))):
        ranked = [scores[candidate] for candidate in order]
        if ranked != sorted(scores, reverse=True):
            continue
        position = order.index(0)
        orders += 1
        hits += position < k
        gains += 1 / np.log2(position + 2) if position < k else 0.0
    return hits / orders, gains / orders


@given(scores=st.lists(st.integers(0, 3), min_size=1, max_size=6), k=st.integers(1, 8))
def test_metrics_equal_the_average_over_every_way_to_break_ties(scores, k):
    better, tied = ranking.better_and_tied(np.array([scores], dtype=np.float32))
    hit, gain = by_permutation(scores, k)
    assert ranking.hit_rate_per_user(better, tied, k)[0] == pytest.approx(hit)
    assert ranking.ndcg_per_user(better, tied, k)[0] == pytest.approx(gain)


def test_constant_scorer_scores_what_chance_gives():
    better, tied = ranking.better_and_tied(np.zeros((5, 100), dtype=np.float32))
    assert ranking.hit_rate(better, tied, 10) == pytest.approx(0.10)
    assert ranking.ndcg(better, tied, 10) == pytest.approx(sum(1 / np.log2(p + 1) for p in range(1, 11)) / 100)


def test_first_place_is_a_full_hit_and_last_place_none():
    scores = np.vstack([np.arange(100, 0, -1), np.arange(100)]).astype(np.float32)
    better, tied = ranking.better_and_tied(scores)
    assert ranking.hit_rate_per_user(better, tied, 10).tolist() == [1.0, 0.0]
    assert ranking.ndcg_per_user(better, tied, 10).tolist() == [1.0, 0.0]
    assert ranking.hit_rate(better, tied, 10) == 0.5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_score_that_is_not_finite_is_an_error_that_says_how_many(bad):
    scores = np.ones((3, 4), dtype=np.float32)
    scores[0, 1] = scores[2, 3] = bad
    with pytest.raises(ValueError, match="2 of 12 scores are not finite"):
        ranking.better_and_tied(scores)


def test_absent_candidates_count_neither_above_nor_level():
    scores = np.array([[1.0, 2.0, 1.0, 2.0, 1.0]], dtype=np.float32)
    present = np.array([[True, False, False, True, True]])
    better, tied = ranking.better_and_tied(scores, present)
    assert (better[0], tied[0]) == (1, 1)


def test_relevant_item_may_stand_in_any_column():
    scores = np.array([[3.0, 1.0, 1.0], [0.0, 0.0, 5.0]], dtype=np.float32)
    better, tied = ranking.better_and_tied_at(scores, np.array([1, 2]))
    assert better.tolist() == [1, 0] and tied.tolist() == [1, 0]


def test_no_users_and_k_below_one_are_refused():
    nobody = np.zeros(0, dtype=np.int64)
    with pytest.raises(ValueError, match="nothing to average"):
        ranking.hit_rate(nobody, nobody, 10)
    with pytest.raises(ValueError, match="k must be at least 1"):
        ranking.ndcg_per_user(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), 0)
