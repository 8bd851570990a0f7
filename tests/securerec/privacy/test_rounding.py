"""Bounds on the norm of a rounded vector, against exact arithmetic and against enumeration."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securerec.privacy.randomness import NoiseKey
from securerec.privacy.rounding import (
    l1_of_l2,
    round_to_norm,
    rounded_norm_l1,
    rounded_norm_squared,
    rounded_sensitivity,
)


def test_the_l2_sensitivity_is_the_papers_bound_in_whole_squared_units() -> None:
    # beta = exp(-1/2) makes sqrt(2 ln(1/beta)) = 1; c = 1000, d = 1682 * 8: c^2 + 3364 + 1000 + 58
    assert rounded_norm_squared(1000, 1682 * 8) == 1_004_422
    assert 1002.2085 < rounded_sensitivity(1000, 1682 * 8) < 1002.2086
    assert rounded_norm_squared(100, 1) == 100**2 + 100  # c^2 + d/4 + c + sqrt(d)/2 = 10100.75
    assert rounded_norm_squared(1, 4) == 4  # here the other bound would be (1 + 2)^2 = 9
    assert rounded_sensitivity(1000, 10) ** 2 >= rounded_norm_squared(1000, 10)


def test_the_l1_sensitivity_grows_by_the_deviation_that_rounding_can_have() -> None:
    assert rounded_norm_l1(1000, 53_824) == 1031  # v = c = 1000, its root 31.6
    assert rounded_norm_l1(1000, 400) == 1010  # v = d / 4 = 100
    assert rounded_norm_l1(1000, 1) == 1000


@pytest.mark.parametrize("dimension", [1, 2, 3, 4])
@pytest.mark.parametrize("norm_squared", [0, 1, 2, 5, 9, 14, 30])
def test_no_integers_of_an_l2_norm_have_a_larger_l1_norm(dimension: int, norm_squared: int) -> None:
    most = math.isqrt(norm_squared)
    largest = max(
        sum(map(abs, vector))
        for vector in itertools.product(range(-most, most + 1), repeat=dimension)
        if sum(x * x for x in vector) <= norm_squared
    )
    assert largest <= l1_of_l2(norm_squared, dimension)
    if dimension >= norm_squared:
        assert largest == l1_of_l2(norm_squared, dimension)


@given(st.integers(1, 50), st.integers(2, 60), st.integers(0, 2**32))
def test_an_l1_rounding_passes_every_second_time_at_least(units: int, dimension: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.dirichlet(np.full(dimension, rng.choice([0.1, 1.0, 100.0]))) * units
    tries = 400
    rounded = np.floor(x) + (rng.random((tries, dimension)) < x - np.floor(x))
    passed = int((rounded.sum(axis=1) <= rounded_norm_l1(units, dimension)).sum())
    assert passed > tries / 2 - 4.5 * math.sqrt(tries / 4)


@pytest.mark.parametrize("order", [1, 2])
def test_a_rounding_beyond_the_limit_is_drawn_again(order: int) -> None:
    scaled, limit = np.full((6, 1), 0.9 if order == 1 else 1.63), 5 if order == 1 else 22
    scaled[::2] *= -1
    redrawn = 0
    for client in range(200):
        tries = NoiseKey.from_seed(1).stream("again", 0, client)
        while True:
            up = (tries.uint64(6) >> np.uint64(11)).astype(float) / 2**53 < scaled[:, 0] - np.floor(scaled[:, 0])
            whole = np.floor(scaled[:, 0]) + up
            if (np.abs(whole) ** order).sum() <= limit:
                break
            redrawn += 1
        stream = NoiseKey.from_seed(1).stream("again", 0, client)
        assert round_to_norm(scaled, order=order, limit=limit, stream=stream)[:, 0].tolist() == whole.tolist()
    assert redrawn > 5
