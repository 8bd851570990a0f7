import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securerec.evaluation.intervals import mean_interval


def test_interval_covers_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(3)
    for probability in (0.02, 0.4, 0.66):
        draws = (rng.random((2000, 200)) < probability).astype(float)
        covered = [low <= probability <= high for _, low, high in map(mean_interval, draws)]
        assert 0.93 <= np.mean(covered) <= 0.995


def test_interval_of_fractional_values_covers_the_true_mean():
    rng = np.random.default_rng(4)
    draws = rng.beta(0.5, 1.5, (2000, 150))
    covered = [low <= 0.25 <= high for _, low, high in map(mean_interval, draws)]
    assert 0.93 <= np.mean(covered) <= 0.97


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_interval_holds_the_mean_stays_in_bounds_and_is_never_a_point(values):
    mean, low, high = mean_interval(np.array(values))
    assert 0 <= low <= mean + 1e-12 and mean - 1e-12 <= high <= 1
    assert low < high


def test_higher_level_is_wider():
    values = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    narrow, wide = mean_interval(values, level=0.5), mean_interval(values, level=0.99)
    assert wide.low < narrow.low and narrow.high < wide.high


@pytest.mark.parametrize("values", [[], [1.5], [-0.1], [np.nan]])
def test_values_that_are_no_metric_are_refused(values):
    with pytest.raises(ValueError):
        mean_interval(np.array(values))
