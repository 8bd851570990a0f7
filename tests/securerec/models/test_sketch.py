import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securerec.data.interactions import Interactions
from securerec.models.neighbours import item_weights
from securerec.models.sketch import (
    GAIN,
    RIDGE,
    eigenpairs,
    first_basis,
    item_scales,
    low_rank_weights,
    next_basis,
    product_of,
    scaled,
    sketched_neighbours,
)


def some_lists(seed: int, n_items: int, n_users: int = 30) -> Interactions:
    rng = np.random.default_rng(seed)
    lists = [rng.permutation(n_items)[: rng.integers(0, n_items)].tolist() for _ in range(n_users)]
    return Interactions.from_lists(lists, n_items)


def a_world(n_items: int, seed: int = 0) -> tuple[Interactions, np.ndarray, np.ndarray]:
    """Lists in which a few tastes rule; their Gram matrix, item by item; and the items' scales."""
    rng = np.random.default_rng(seed)
    likes = rng.normal(size=(80, 3)) @ rng.normal(size=(3, n_items)) + 0.3 * rng.normal(size=(80, n_items))
    lists = [np.flatnonzero(row > 1.5).tolist() for row in likes]
    gram = np.zeros((n_items, n_items))
    for items in lists:
        for item in items:
            for other in items:
                gram[item, other] += 1 / np.sqrt(len(items))
    scales = (1 + np.diag(gram)) ** -0.25
    return Interactions.from_lists(lists, n_items), gram, scales


def summed(lists: Interactions, basis: np.ndarray) -> np.ndarray:
    total = np.zeros(basis.shape)
    for user in range(lists.n_users):
        rows, values = product_of(lists.of(user), basis)
        total[rows] += values
    return total


def sketched(lists: Interactions, scales: np.ndarray, width: int, sums: int) -> tuple[np.ndarray, np.ndarray]:
    """The last basis and the sum for it."""
    basis = first_basis(lists.n_items, width)
    total = summed(lists, scaled(basis, scales))
    for _ in range(sums - 1):
        basis = next_basis(total, scales)
        total = summed(lists, scaled(basis, scales))
    return basis, total


@given(seed=st.integers(0, 2**16), n_items=st.integers(1, 12), width=st.integers(1, 15))
def test_the_sum_of_all_products_is_the_gram_matrix_times_the_basis(seed: int, n_items: int, width: int) -> None:
    lists = some_lists(seed, n_items)
    gram = np.zeros((n_items, n_items))
    for user in range(lists.n_users):
        items = lists.of(user)
        gram[np.ix_(items, items)] += 1 / np.sqrt(max(len(items), 1))
    basis = scaled(first_basis(n_items, width), item_scales(np.diag(gram)))
    np.testing.assert_allclose(summed(lists, basis), gram @ basis, atol=1e-5)


@given(seed=st.integers(0, 2**16), n_items=st.integers(1, 40), t=st.integers(0, 40))
def test_no_value_of_a_product_is_beyond_one(seed: int, n_items: int, t: int) -> None:
    rng = np.random.default_rng(seed)
    basis = scaled(first_basis(n_items, 4), item_scales(rng.random(n_items)))
    items = rng.permutation(n_items)[:t].astype(np.int32)
    # the worst basis for this list: its own direction
    worst = np.zeros((n_items, 1), np.float32)
    worst[items] = 1 / np.sqrt(max(len(items), 1))
    for each in (basis, worst):
        assert np.abs(product_of(items, each)[1]).max(initial=0) <= 1 + 1e-6


def test_an_item_that_comes_twice_counts_once() -> None:
    basis = scaled(first_basis(5, 2), np.ones(5))
    rows, values = product_of(np.array([3, 1, 3], np.int32), basis)
    again, same = product_of(np.array([1, 3], np.int32), basis)
    assert np.array_equal(rows, again) and np.array_equal(values, same)


def test_three_sums_find_the_largest_eigenpairs() -> None:
    lists, gram, scales = a_world(60)
    values, vectors = eigenpairs(*_image(lists, scales, 12, 3))
    expected, directions = np.linalg.eigh(scales[:, None] * gram * scales)
    np.testing.assert_allclose(values[:4], expected[::-1][:4], rtol=2e-3)
    assert (values <= expected[::-1][:12] * (1 + 1e-5)).all()
    overlap = np.linalg.norm(vectors[:, :3].T @ directions[:, ::-1][:, :3], axis=0)
    assert overlap.min() > 0.999
    one = eigenpairs(*_image(lists, scales, 12, 1))[0]
    assert np.abs(one[:4] - expected[::-1][:4]).max() > np.abs(values[:4] - expected[::-1][:4]).max()


def _image(lists: Interactions, scales: np.ndarray, width: int, sums: int) -> tuple[np.ndarray, np.ndarray]:
    basis, total = sketched(lists, scales, width, sums)
    return basis, scales[:, None] * total


def test_as_many_directions_as_items_give_the_eigenpairs_with_one_sum() -> None:
    lists, gram, scales = a_world(20)
    values, vectors = eigenpairs(*_image(lists, scales, 99, 1))
    matrix = scales[:, None] * gram * scales
    np.testing.assert_allclose(values, np.linalg.eigh(matrix)[0][::-1], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(vectors * values @ vectors.T, matrix, atol=1e-4)


def test_a_matrix_of_lower_rank_than_the_basis_is_found_with_its_rank() -> None:
    lists = Interactions.from_lists([[0, 1, 2], [0, 1, 2], [5, 6], [5, 6, 7]], 40)
    scales = np.ones(40)
    values, vectors = eigenpairs(*_image(lists, scales, 8, 3))
    assert len(values) == 3 and vectors.shape == (40, 3)
    np.testing.assert_allclose(values[0], 2 * 3 / np.sqrt(3), rtol=1e-5)


def test_low_rank_weights_at_full_rank_are_ease_s_off_the_diagonal() -> None:
    _, gram, _ = a_world(25)
    values, vectors = np.linalg.eigh(gram)
    inputs, outputs = low_rank_weights(values, vectors, 3.0)
    weights = inputs @ outputs.T
    np.fill_diagonal(weights, 0.0)
    np.testing.assert_allclose(weights, item_weights(gram.copy(), reg=3.0), atol=1e-6)


def test_the_model_is_ease_of_the_scaled_gram_matrix_where_the_sketch_is_complete() -> None:
    lists, gram, scales = a_world(25)
    inputs, outputs = sketched_neighbours(*sketched(lists, scales, 25, 1), scales)
    matrix = scales[:, None] * gram * scales
    median = float(np.median(np.linalg.eigvalsh(matrix)))
    expected = scales[:, None] * item_weights(matrix, reg=RIDGE * median) / scales
    found = inputs.astype(np.float64) @ outputs.T
    assert np.linalg.norm(found) / np.sqrt(25) == pytest.approx(GAIN, rel=1e-4)
    np.fill_diagonal(found, 0.0)
    ratio = np.linalg.norm(found) / np.linalg.norm(expected)
    np.testing.assert_allclose(found, ratio * expected, atol=1e-3 * GAIN)


def test_nothing_follows_from_nothing() -> None:
    inputs, outputs = sketched_neighbours(first_basis(6, 2), np.zeros((6, 2)), np.ones(6))
    assert inputs.shape == outputs.shape == (6, 0)
