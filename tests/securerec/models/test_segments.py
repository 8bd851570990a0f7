import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from securerec.models.head import MASS, RECENCY, Head
from securerec.models.segments import CONSTANT, NEWER_FIRST, Segments, shrunk
from securerec.models.shrinkage import wiener

N_ITEMS, D = 30, 5


def a_head(seed: int) -> Head:
    rng = np.random.default_rng(seed)
    return Head(rng.normal(size=N_ITEMS).astype(np.float32), rng.normal(size=(N_ITEMS, D)).astype(np.float32) / 2)


def a_list(seed: int, most: int = 12) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.permutation(N_ITEMS)[: rng.integers(1, most)].astype(np.int32)


def loadings_by_definition(segments: Segments, older: np.ndarray) -> np.ndarray:
    """The loadings after a list, one item at a time."""
    if len(older) == 0:
        return np.zeros(1 + segments.width)
    weights = [(1.0 + distance) ** -RECENCY for distance in range(len(older))][::-1]
    mean = sum(w * segments.directions[i].astype(float) for w, i in zip(weights, older, strict=True)) / sum(weights)
    mass = MASS * np.sqrt(len(older))
    taste = mass / (1 + mass * segments.curvature) * mean
    taste *= np.sqrt(1 - CONSTANT**2) / max(float(np.linalg.norm(taste)), CONSTANT)
    return np.append([CONSTANT], taste)


@given(seed=st.integers(0, 2**16), width=st.integers(0, D + 3))
def test_loadings_say_where_the_taste_stood_before_each_item(seed: int, width: int) -> None:
    segments, items = Segments.of(a_head(seed), width), a_list(seed)
    walked = segments.walk(items)
    assert walked.shape == (len(items) + 1, 1 + width)
    for place in range(len(items) + 1):
        np.testing.assert_allclose(walked[place], loadings_by_definition(segments, items[:place]), atol=1e-5)
    assert (np.linalg.norm(walked, axis=1) <= 1 + 1e-5).all()


@given(seed=st.integers(0, 2**16))
def test_the_gradient_is_that_of_the_likelihood_of_each_next_item(seed: int) -> None:
    segments, items = Segments.of(a_head(seed), 3), a_list(seed)
    scores = torch.tensor(np.random.default_rng(seed).normal(size=N_ITEMS))
    expected = torch.softmax(scores, 0)
    table = torch.zeros((N_ITEMS, 4), dtype=torch.float64, requires_grad=True)
    likelihood = torch.zeros((), dtype=torch.float64)
    for place, item in enumerate(items):
        loadings = torch.tensor(loadings_by_definition(segments, items[:place]))
        weight = (1.0 + len(items) - 1 - place) ** -NEWER_FIRST
        likelihood = likelihood + weight * torch.log_softmax(scores + table @ loadings, 0)[int(item)]
    likelihood.backward()
    assert table.grad is not None
    want = table.grad.numpy()
    got = segments.gradient(items, expected.numpy().astype(np.float32))
    if len(items) == 1:
        assert not got.any()
        return
    np.testing.assert_allclose(got, want / np.linalg.norm(want), atol=1e-4)
    assert np.linalg.norm(got) == pytest.approx(1, abs=1e-5)


def test_an_empty_list_sends_zero() -> None:
    nothing = Segments.of(a_head(0), 3).gradient(np.empty(0, np.int32), np.full(N_ITEMS, 1 / N_ITEMS, np.float32))
    assert nothing.shape == (N_ITEMS, 4) and not nothing.any()


def test_of_noise_alone_hardly_anything_is_left_and_a_signal_stays() -> None:
    rng = np.random.default_rng(0)
    noise, popularity = 5.0 * rng.normal(size=(1200, 8)), rng.gamma(1.0, 20.0, 1200)
    assert np.square(wiener(noise, 5.0, popularity, doubt=2.0)).mean() < 0.01 * 25
    signal = 50.0 * rng.normal(size=(1200, 8))
    estimate = wiener(signal + noise, 5.0, popularity, doubt=2.0)
    assert np.square(estimate - signal).mean() < 1.02 * 25
    weak = 2.0 * rng.normal(size=(1200, 8))
    assert np.square(wiener(weak + noise, 5.0, popularity, doubt=0.0) - weak).mean() < 0.3 * np.square(noise).mean()


@given(seed=st.integers(0, 2**16), n=st.integers(1, 40), doubt=st.sampled_from([0.0, 1.0, 2.0]))
def test_shrinking_never_turns_or_lengthens_a_value(seed: int, n: int, doubt: float) -> None:
    rng = np.random.default_rng(seed)
    values, popularity = rng.normal(size=(n, 3)), rng.normal(size=n)
    less = wiener(values, 0.5, popularity, doubt=doubt)
    assert (np.abs(less) <= np.abs(values)).all() and (less * values >= 0).all()
    np.testing.assert_array_equal(wiener(values, 0.0, popularity, doubt=doubt), values)


def test_rows_of_items_that_were_met_more_often_are_scaled_down() -> None:
    total = np.ones((4, 2))
    table = shrunk(total, np.array([0.0, 10.0, 100.0, -5.0]), 0.0)
    assert table.dtype == np.float32 and table[0, 0] == table[3, 0] > table[1, 0] > table[2, 0] > 0
