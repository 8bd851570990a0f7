import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securerec.data.interactions import Interactions
from securerec.evaluation.ease import ease_weights
from securerec.models import neighbours as module
from securerec.models.head import Head, Heads, fit_tastes, with_neighbours
from securerec.models.neighbours import factors, gram_of, item_weights, neighbours, pair_width, pairs_of


def some_lists(seed: int, n_items: int, n_users: int = 12) -> Interactions:
    rng = np.random.default_rng(seed)
    lists = [rng.permutation(n_items)[: rng.integers(0, n_items)].tolist() for _ in range(n_users)]
    return Interactions.from_lists(lists, n_items)


def packed_sum(lists: Interactions, exponent: float) -> np.ndarray:
    total = np.zeros((lists.n_items, pair_width(lists.n_items)))
    for user in range(lists.n_users):
        rows, values = pairs_of(lists.of(user), lists.n_items, exponent=exponent)
        total[rows] += values
    return total


@given(seed=st.integers(0, 2**16), n_items=st.integers(1, 12), exponent=st.sampled_from([0.0, 0.3, 1.0]))
def test_the_sum_of_the_packed_pairs_is_the_gram_matrix(seed: int, n_items: int, exponent: float) -> None:
    lists = some_lists(seed, n_items)
    expected = np.zeros((n_items, n_items))
    for user in range(lists.n_users):
        items = lists.of(user).tolist()
        for place, item in enumerate(items):
            for other_place, other in enumerate(items):
                expected[item, other] += (1 + abs(place - other_place)) ** -exponent
    gram = gram_of(packed_sum(lists, exponent))
    np.testing.assert_allclose(gram, expected, atol=1e-5)
    assert np.linalg.eigvalsh(gram).min(initial=0) > -1e-4


def test_an_item_that_comes_twice_counts_once_where_it_is_newest() -> None:
    rows, values = pairs_of(np.array([3, 1, 3], np.int32), 5, exponent=1.0)
    again, same = pairs_of(np.array([1, 3], np.int32), 5, exponent=1.0)
    twice, once = np.zeros((5, 3)), np.zeros((5, 3))
    twice[rows], once[again] = values, same
    assert np.array_equal(twice, once) and values.max() == 1


def test_without_nearness_the_pairs_give_ease() -> None:
    lists = some_lists(1, 9, n_users=40)
    weights = item_weights(gram_of(packed_sum(lists, 0.0)), reg=5.0)
    np.testing.assert_allclose(weights, ease_weights(lists, reg=5.0), atol=1e-5)


def test_all_singular_directions_give_the_weights_back_and_fewer_the_nearest() -> None:
    weights = np.random.default_rng(0).normal(size=(60, 60)).astype(np.float32)
    inputs, outputs = factors(weights, 60)
    np.testing.assert_allclose(inputs @ outputs.T, weights, atol=1e-4)
    left, sizes, right = np.linalg.svd(weights)
    inputs, outputs = factors(weights, 5)
    assert inputs.shape == outputs.shape == (60, 5)
    error = np.linalg.norm(weights - inputs @ outputs.T)
    assert error == pytest.approx(np.linalg.norm(sizes[5:]), rel=2e-2)


def test_nothing_follows_from_nothing() -> None:
    inputs, outputs = neighbours(np.zeros((4, 3)), 2)
    assert inputs.shape == outputs.shape == (4, 0)


def test_a_device_adds_what_stands_near_its_newest_items() -> None:
    lists, rng = some_lists(2, 9, n_users=40), np.random.default_rng(3)
    head = Head(rng.normal(size=9).astype(np.float32), rng.normal(size=(9, 2)).astype(np.float32))
    before = Heads(head, fit_tastes(head, lists, recency=0.5))
    total = packed_sum(lists, 0.2)
    heads = with_neighbours(before, *neighbours(total, 9), lists, 0.5)
    gram = gram_of(total)
    weights = item_weights(gram, reg=module.REG * float(np.diag(gram).mean()))
    for user in range(lists.n_users):
        added = np.zeros(9)
        for age, item in enumerate(lists.of(user)[::-1].tolist()):
            added += module.GAIN * (1 + age) ** -(module.LATE * 0.5) * weights[item]
        one = np.array([user])
        np.testing.assert_allclose(heads.logits(one)[0], before.logits(one)[0] + added, atol=2e-3)
    # who fits anew, from the public part and the list, comes to the same
    np.testing.assert_array_equal(fit_tastes(heads.head, lists, recency=0.5), heads.tastes)
