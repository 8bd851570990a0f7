import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from securerec.data.interactions import Interactions
from securerec.data.splits import draw_candidates, leave_one_out
from securerec.errors import DataError

N_ITEMS = 12
histories = st.lists(st.lists(st.integers(0, N_ITEMS - 1), max_size=9), min_size=1, max_size=8)


@settings(deadline=None)
@given(histories)
def test_newest_is_test_and_second_newest_validation(lists: list[list[int]]) -> None:
    split = leave_one_out(Interactions.from_lists(lists, N_ITEMS))
    for user, items in enumerate(lists):
        if len(items) < 3:
            assert split.train.of(user).tolist() == items
            assert (split.validation[user], split.test[user]) == (-1, -1)
        else:
            assert split.train.of(user).tolist() == items[:-2]
            assert [split.validation[user], split.test[user]] == items[-2:]


@settings(max_examples=200, deadline=None)
@given(histories, st.integers(1, 20), st.integers(0, 2**32))
def test_negatives_are_untouched_distinct_and_overlap_only_when_they_must(
    lists: list[list[int]], negatives: int, seed: int
) -> None:
    interactions = Interactions.from_lists(lists, N_ITEMS)
    split = leave_one_out(interactions)
    candidates = draw_candidates(interactions, split, np.random.default_rng(seed), negatives)
    free = [set(range(N_ITEMS)) - set(items) for items in lists]
    width = min([negatives, *(len(free[user]) for user, items in enumerate(lists) if len(items) >= 3)])
    assert candidates.negatives == width
    for user, items in enumerate(lists):
        rows = (candidates.validation[user].tolist(), candidates.test[user].tolist())
        if len(items) < 3:
            assert {*rows[0], *rows[1]} == {-1}
            continue
        assert [row[0] for row in rows] == items[-2:]
        drawn = [set(row[1:]) for row in rows]
        assert [len(row) for row in drawn] == [width, width]
        assert drawn[0] | drawn[1] <= free[user]
        assert len(drawn[0] & drawn[1]) == max(0, 2 * width - len(free[user]))


def drawn_slowly(lists: list[list[int]], wanted: dict[int, int], most: int, rng: np.random.Generator) -> dict:
    """What `draw_candidates` draws for each user, item by item."""
    stream = rng.integers(N_ITEMS, size=(len(wanted), 2 * most)).tolist()
    drawn = {}
    for user, items in zip(wanted, stream, strict=True):
        new = [item for item in dict.fromkeys(items) if item not in lists[user]]
        drawn[user] = new[: wanted[user]] if len(new) >= wanted[user] else None
    for user, found in drawn.items():
        if found is None:
            free = [item for item in range(N_ITEMS) if item not in lists[user]]
            drawn[user] = rng.permutation(free)[: wanted[user]].tolist()
    return drawn


@settings(max_examples=200, deadline=None)
@given(histories, st.integers(1, 20), st.integers(0, 2**32))
def test_drawing_is_that_of_the_plain_loop(lists: list[list[int]], negatives: int, seed: int) -> None:
    interactions = Interactions.from_lists(lists, N_ITEMS)
    candidates = draw_candidates(interactions, leave_one_out(interactions), np.random.default_rng(seed), negatives)
    width = candidates.negatives
    wanted = {u: min(2 * width, N_ITEMS - len(set(items))) for u, items in enumerate(lists) if len(items) >= 3}
    for user, drawn in drawn_slowly(lists, wanted, 2 * width, np.random.default_rng(seed)).items():
        assert candidates.validation[user, 1:].tolist() == drawn[:width]
        assert candidates.test[user, 1:].tolist() == drawn[-width:]


@pytest.mark.parametrize("negatives", [1, 2, 4, 7])
def test_each_untouched_item_is_drawn_equally_often_in_each_place(negatives: int) -> None:
    """Few negatives come from the stream, many from the permutation: counts are flat for both."""
    interactions = Interactions.from_lists([[1, 3, 5]] * 4000, n_items=10)
    split = leave_one_out(interactions)
    candidates = draw_candidates(interactions, split, np.random.default_rng(5), negatives)
    untouched = [0, 2, 4, 6, 7, 8, 9]
    for drawn in (candidates.validation, candidates.test):
        for column in range(1, negatives + 1):
            assert chisquare(np.bincount(drawn[:, column], minlength=10)[untouched]).pvalue > 1e-4


def test_same_generator_state_draws_the_same_candidates_and_another_seed_others() -> None:
    interactions = Interactions.from_lists([list(range(u, u + 10)) for u in range(50)], n_items=400)
    split = leave_one_out(interactions)
    first, again, other = (draw_candidates(interactions, split, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.validation, again.validation) and np.array_equal(first.test, again.test)
    assert not np.array_equal(first.test, other.test)


def test_drawing_in_many_chunks_keeps_every_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("securerec.data.splits._CELLS_AT_ONCE", 1000)
    rng = np.random.default_rng(0)
    lists = [rng.choice(300, size=rng.integers(3, 90), replace=False).tolist() for _ in range(60)]
    interactions = Interactions.from_lists(lists, n_items=300)
    candidates = draw_candidates(interactions, leave_one_out(interactions), rng, 80)
    for user, items in enumerate(lists):
        both = [*candidates.validation[user, 1:], *candidates.test[user, 1:]]
        assert len(set(both)) == 160 and not set(both) & set(items)


def test_a_user_who_touched_everything_is_named() -> None:
    interactions = Interactions.from_lists([[0, 1, 2], [0, 1, 2, 3]], n_items=4)
    with pytest.raises(DataError, match="user number 1 has touched all 4 items"):
        draw_candidates(interactions, leave_one_out(interactions), np.random.default_rng(0))
