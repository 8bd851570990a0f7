import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securerec.data.interactions import Interactions
from securerec.data.splits import Split
from securerec.evaluation import protocols
from securerec.evaluation.protocols import full_ranks, sampled_ranks


def scorer_of(table):
    return lambda users: table[users]


def random_split(rng, n_users=30, n_items=40):
    lists, validation, test = [], [], []
    for _ in range(n_users):
        items = rng.permutation(n_items)[: rng.integers(1, 12)]
        whole = len(items) < 3
        lists.append(items if whole else items[:-2])
        validation.append(-1 if whole else items[-2])
        test.append(-1 if whole else items[-1])
    return Split(
        Interactions.from_lists(lists, n_items), np.array(validation, dtype=np.int32), np.array(test, dtype=np.int32)
    )


def slow_full(table, split, k, held_out):
    """Mean hit rate with each user's candidates written out as a set, ties at their expected position."""
    hits = []
    for user in range(len(table)):
        target = int((split.test if held_out == "test" else split.validation)[user])
        if target < 0:
            continue
        hidden = set(split.train.of(user).tolist())
        if held_out == "test":
            hidden.add(int(split.validation[user]))
        others = [table[user, item] for item in range(table.shape[1]) if item not in hidden and item != target]
        above = sum(score > table[user, target] for score in others)
        level = sum(score == table[user, target] for score in others)
        hits.append(np.mean([position < k for position in range(above, above + level + 1)]))
    return float(np.mean(hits))


@given(seed=st.integers(0, 2**32 - 1), held_out=st.sampled_from(["test", "validation"]))
def test_full_ranking_equals_ranking_an_explicit_candidate_set(seed, held_out):
    rng = np.random.default_rng(seed)
    split = random_split(rng)
    table = rng.integers(0, 6, (30, 40)).astype(np.float32)
    if not np.any(split.test >= 0):
        return
    measured = full_ranks(scorer_of(table), split, held_out=held_out).metrics([3])
    assert measured["hr@3"] == pytest.approx(slow_full(table, split, 3, held_out))


def test_full_ranking_hides_training_items_always_and_the_validation_item_only_at_test():
    split = Split(Interactions.from_lists([[0, 1]], 5), np.array([2], dtype=np.int32), np.array([3], dtype=np.int32))
    table = np.array([[9, 8, 7, 6, 0]], dtype=np.float32)
    assert full_ranks(scorer_of(table), split, held_out="test").better.tolist() == [0]
    table = np.array([[9, 8, 1, 6, 0]], dtype=np.float32)
    assert full_ranks(scorer_of(table), split, held_out="validation").better.tolist() == [1]


def test_sampled_ranking_looks_only_at_the_candidates():
    table = np.array([[5, 1, 2, 9], [5, 1, 2, 9]], dtype=np.float32)
    candidates = np.array([[2, 1, 0], [2, 1, -1]], dtype=np.int32)
    ranks = sampled_ranks(scorer_of(table), candidates)
    assert ranks.better.tolist() == [1, 0]
    assert sampled_ranks(scorer_of(table), candidates).metrics([1, 2]) == pytest.approx(
        {"hr@1": 0.5, "ndcg@1": 0.5, "hr@2": 1.0, "ndcg@2": (1 + 1 / np.log2(3)) / 2}
    )


def test_users_without_a_held_out_item_are_skipped_and_never_scored():
    asked = []

    def score(users):
        asked.extend(users.tolist())
        return np.zeros((len(users), 4), dtype=np.float32)

    candidates = np.array([[0, 1], [-1, -1], [2, 3]], dtype=np.int32)
    assert sampled_ranks(score, candidates).users.tolist() == [0, 2]
    assert asked == [0, 2]


def test_nobody_to_evaluate_is_an_error():
    with pytest.raises(ValueError, match="no user has a held-out item"):
        sampled_ranks(scorer_of(np.zeros((1, 3), dtype=np.float32)), np.full((1, 2), -1, dtype=np.int32)).metrics([10])


def test_chunks_bound_the_scores_held_at_once_and_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    split = random_split(rng)
    table = rng.normal(size=(30, 40)).astype(np.float32)
    whole = full_ranks(scorer_of(table), split)
    monkeypatch.setattr(protocols, "_SCORES_AT_ONCE", 3 * 40 + 7)
    largest = []

    def score(users):
        largest.append(len(users))
        return table[users]

    chunked = full_ranks(score, split)
    assert max(largest) == 3
    assert np.array_equal(whole.better, chunked.better) and np.array_equal(whole.tied, chunked.tied)


def test_non_finite_score_of_a_hidden_item_is_an_error_too():
    split = Split(Interactions.from_lists([[0, 1]], 5), np.array([2], dtype=np.int32), np.array([3], dtype=np.int32))
    table = np.array([[np.nan, 0, 0, 1, 0]], dtype=np.float32)
    with pytest.raises(ValueError, match="1 of 5 scores are not finite"):
        full_ranks(scorer_of(table), split)


def test_candidate_outside_the_catalogue_is_refused():
    with pytest.raises(ValueError, match="a candidate is item 4"):
        sampled_ranks(scorer_of(np.zeros((1, 4), dtype=np.float32)), np.array([[1, 4]], dtype=np.int32))


def test_intervals_hold_the_means_that_metrics_reports():
    rng = np.random.default_rng(1)
    split = random_split(rng)
    ranks = full_ranks(scorer_of(rng.normal(size=(30, 40)).astype(np.float32)), split)
    means = ranks.metrics([5, 10])
    for name, (mean, low, high) in ranks.intervals([5, 10]).items():
        assert mean == means[name] and low <= mean <= high
