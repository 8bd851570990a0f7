import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.interactions.touched import items_behind, touch_probability, touched_rows, uploads_by_rows
from attacks.views import DenseUploads


@settings(deadline=None, max_examples=20)
@given(n_items=st.integers(20, 120), own=st.integers(1, 12), negatives=st.integers(1, 6), seed=st.integers(0, 999))
def test_expected_number_of_touched_rows_is_what_a_client_touches_on_average(n_items, own, negatives, seed):
    rng = np.random.default_rng(seed)
    touched = []
    for _ in range(200):
        rows = set(range(own))
        for _ in range(own):
            rows |= set((own + rng.choice(n_items - own, negatives, replace=False)).tolist())
        touched.append(len(rows))
    chance = touch_probability(np.array(own), n_items, negatives)
    # Draws without replacement repel each other, so that the count's variance is at most that of independent ones.
    deviation = np.sqrt((n_items - own) * chance * (1 - chance))
    assert np.mean(touched) == pytest.approx(own + (n_items - own) * chance, abs=5 * deviation / np.sqrt(200) + 1e-9)


@given(st.integers(30, 400), st.integers(1, 5), st.data())
def test_number_of_items_follows_from_the_expected_number_of_touched_rows(n_items, negatives, data):
    own = data.draw(st.integers(0, n_items // (2 + negatives)))
    expected = own + (n_items - own) * touch_probability(np.array(own), n_items, negatives)
    assert items_behind(np.array(float(expected)), n_items, negatives) == pytest.approx(own, abs=1e-6)


def test_as_many_rows_as_there_are_items_or_none_have_an_answer():
    few = items_behind(np.array([0.0, 100.0, 250.0]), 100, 4)
    assert few[0] == 0 and np.all(np.isfinite(few)) and np.all(few <= 100)


def test_rows_named_and_rows_not_zero_are_the_same(simulated):
    sparse = simulated.unprotected(2)
    dense = simulated.view("unprotected_upload", 2, DenseUploads(np.arange(60), simulated.changes[2]))
    assert np.array_equal(touched_rows(sparse), simulated.touched[2])
    assert np.array_equal(touched_rows(dense), simulated.touched[2])
    for (rows, delta), (same, values) in zip(uploads_by_rows(sparse), uploads_by_rows(dense), strict=True):
        assert np.array_equal(rows, same) and np.array_equal(delta, values)


def test_sum_touches_what_any_of_its_clients_touches(simulated):
    assert np.array_equal(touched_rows(simulated.opened(2, [3, 8]))[0], simulated.touched[2][[3, 8]].any(axis=0))
