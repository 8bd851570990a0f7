import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from attacks.measures import above, proportion, top_k


@given(st.integers(1, 200), st.data())
def test_proportion_has_the_exact_binomial_interval(n, data):
    k = data.draw(st.integers(0, n))
    found = proportion(np.arange(n) < k)
    expected = binomtest(k, n).proportion_ci(0.95, "exact")
    assert (
        found.mean == k / n and found.low == pytest.approx(expected.low) and found.high == pytest.approx(expected.high)
    )


def test_parts_of_hits_lie_between_the_whole_ones():
    low, half, high = (proportion(np.array([hit, 0.0, 1.0, 0.0])) for hit in (0.0, 0.5, 1.0))
    assert low.low < half.low < high.low and low.high < half.high < high.high and half.mean == 0.375


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_top_k_is_the_share_of_orders_in_which_the_right_one_is_among_them(seed, k):
    rng = np.random.default_rng(seed)
    scores, right = rng.integers(0, 3, (4, 5)).astype(float), rng.integers(0, 5, 4)
    drawn = np.argsort(-(scores[None] + rng.random((4000, 4, 5)) * 0.5), axis=2)[:, :, :k]
    assert np.allclose(top_k(scores, right, k), np.mean(np.any(drawn == right[:, None], axis=2), axis=0), atol=0.06)


def test_above_moves_all_three_figures():
    assert above(proportion(np.array([True, False])), 0.5).mean == 0
