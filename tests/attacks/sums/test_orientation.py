import numpy as np

from attacks.sums.orientation import points_down


def test_more_rows_move_down_than_up():
    nothing, flat = np.zeros((5, 2)), np.zeros(5)
    assert not points_down(np.array([3.0, -1, -1, -1]), np.array([1.0, 0]), nothing, flat)
    assert points_down(np.array([-3.0, 1, 1, 1]), np.array([1.0, 0]), nothing, flat)


def test_popular_items_score_higher_along_the_axis():
    prior = np.arange(5.0)
    table = np.stack([prior, np.ones(5)], axis=1)
    assert not points_down(np.zeros(0), np.array([1.0, 0]), table, prior)
    assert points_down(np.zeros(0), np.array([-1.0, 0]), table, prior)
