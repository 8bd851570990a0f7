"""New items: what features foretell, and directions in the coordinates of the items that were there."""

import numpy as np
import pytest

from securerec.data.interactions import Interactions
from securerec.errors import RunError
from securerec.models.head import Head, PublicFeatures, grown, make_head
from securerec.models.neighbours import LATE
from securerec.models.new_items import carried, extended_directions, foretold, foretold_popularity, ridge
from securerec.models.newcomer import PublicStart
from securerec.models.segments import Segments

N, D = 40, 5


def features(seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((N, D)) < 0.4).astype(np.float32)


def test_an_item_like_an_old_one_gets_its_directions() -> None:
    rng, values = np.random.default_rng(1), features()
    learnt, popularity = rng.normal(size=(N, 3)).astype(np.float32), rng.uniform(1, 50, N)
    head = make_head(grown(PublicFeatures(values, np.full(D, 8.0)), learnt), popularity)
    again = [4, 17]
    directions = extended_directions(
        head.directions, np.concatenate([values, values[again]]), np.concatenate([learnt, learnt[again]]),
        np.concatenate([head.base, head.base[again]]),
    )  # fmt: skip
    assert np.array_equal(directions[:N], head.directions)
    np.testing.assert_allclose(directions[N:], head.directions[again], atol=1e-4)


def test_directions_of_other_features_are_refused() -> None:
    values = features()
    head = make_head(PublicFeatures(values, np.full(D, 8.0)), np.random.default_rng(1).uniform(1, 50, N))
    with pytest.raises(RunError, match="does not follow from"):
        extended_directions(head.directions, features(seed=9), np.zeros((N, 0), np.float32), head.base)


def test_ridge_is_the_penalised_least_squares_solution() -> None:
    rng, known = np.random.default_rng(2), features()
    targets, new = rng.normal(size=(N, 2)).astype(np.float32), features(seed=3)[:4]
    centre = known.mean(axis=0)
    # the same by augmented rows and a generic solver
    rows = np.concatenate([known - centre, np.sqrt(7.0) * np.eye(D)])
    wanted = np.concatenate([targets - targets.mean(axis=0), np.zeros((D, 2))])
    weights = np.linalg.lstsq(rows, wanted, rcond=None)[0]
    np.testing.assert_allclose(ridge(known, targets, new, 7.0), (new - centre) @ weights + targets.mean(0), atol=1e-5)


def test_popularity_that_follows_from_features_is_foretold_and_never_beyond_what_was_seen() -> None:
    rng = np.random.default_rng(4)
    known = (rng.random((4000, 2)) < 0.5).astype(np.float32)
    mean = np.exp(1.0 + known @ np.array([1.5, -0.5]))
    popularity = mean * rng.gamma(2.0, 0.5, len(mean))
    new = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [9, 0]], np.float32)
    found = foretold_popularity(known, popularity, new)
    np.testing.assert_allclose(found[:4], np.exp([1.0, 2.5, 0.5, 2.0]), rtol=0.1)
    assert found[4] <= popularity.max() * (1 + 1e-12)


def test_items_that_were_there_keep_base_and_row() -> None:
    rng, values = np.random.default_rng(5), features()
    base, rows = rng.normal(size=30).astype(np.float32), rng.normal(size=(30, 4)).astype(np.float32)
    all_base, all_rows = foretold(values, base, rows)
    assert np.array_equal(all_base[:30], base) and np.array_equal(all_rows[:30], rows)
    assert len(all_base) == N and len(all_rows) == N


def test_columns_that_tell_old_items_apart_are_carried() -> None:
    values = features()
    values[:30, 0], values[30:, 0] = 0, 1
    assert np.array_equal(carried(PublicFeatures(values, np.ones(D)), 30), values[:, 1:])


def test_new_items_leave_what_devices_fitted_alone() -> None:
    rng, values = np.random.default_rng(6), features()
    known = PublicFeatures(values[:30], np.full(D, 8.0))
    popularity, table = rng.uniform(1, 50, 30), rng.normal(size=(30, 3)).astype(np.float32)
    first = make_head(known, popularity)
    start = PublicStart(make_head(grown(known, table), popularity), table, (Segments.of(first, 2),), popularity)
    lists = Interactions.from_lists([rng.permutation(30)[:9].tolist() for _ in range(4)], 30)
    heads, functions = start.private(lists, recency=0.8, negatives=4)
    wider = start.with_new_items(values)
    assert np.array_equal(wider.head.logits(heads.tastes)[:, :30], heads.logits(np.arange(4)))
    assert np.array_equal(wider.segments[0].directions[:30], start.segments[0].directions)
    later, again = wider.private(Interactions(lists.offsets, lists.items, N), recency=0.8, negatives=4)
    np.testing.assert_allclose(again.weights, functions.weights, atol=1e-6)
    assert later.tastes.shape == heads.tastes.shape


def test_new_items_of_a_head_with_an_item_item_model() -> None:
    """They lead to no other item, and what leads to them follows from their features."""
    rng, values = np.random.default_rng(7), features()
    known = PublicFeatures(values[:30], np.full(D, 8.0))
    popularity = rng.uniform(1, 50, 30)
    bare = make_head(known, popularity)
    inputs, outputs = (rng.normal(size=(30, 4)).astype(np.float32) for _ in range(2))
    head = Head(bare.base, np.concatenate([bare.directions, outputs], axis=1), inputs)
    start = PublicStart(head, np.zeros((30, 0), np.float32), (), popularity)
    wider = start.with_new_items(values)
    assert wider.head.fitted == head.fitted and wider.head.inputs.shape == (N, 4)
    assert np.array_equal(wider.head.inputs[:30], inputs) and not wider.head.inputs[30:].any()
    assert np.array_equal(wider.head.directions[:30], head.directions)
    foretold_outputs = ridge(values[:30], outputs, values[30:], 3.0)
    np.testing.assert_allclose(wider.head.directions[30:, -4:], foretold_outputs, atol=1e-6)
    # a list of old items scores the old ones as before
    lists = [rng.permutation(30)[:9].tolist() for _ in range(4)]
    heads, _ = start.private(Interactions.from_lists(lists, 30), recency=0.8, negatives=4)
    later = wider.head.logits(heads.tastes)
    assert np.array_equal(later[:, :30], heads.logits(np.arange(4))) and np.isfinite(later).all()
    # and one with a new item has the old tastes along the model, less what the new item displaces by age
    longer, _ = wider.private(Interactions.from_lists([[*each, 35] for each in lists], N), recency=0.8, negatives=4)
    aged = np.array([
        sum((1 + age + 1) ** -(LATE * 0.8) * inputs[item] for age, item in enumerate(reversed(each))) for each in lists
    ])  # fmt: skip
    np.testing.assert_allclose(longer.tastes[:, -4:], aged, atol=1e-5)
