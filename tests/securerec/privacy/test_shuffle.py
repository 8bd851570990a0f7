import math

import numpy as np
import pytest
from scipy import stats

from securerec.privacy.accounting.shuffle import Clones, shuffled_epsilon


def shuffled_bits(local_epsilon: float, n: int, ones: int) -> np.ndarray:
    """Law of how many of n randomised responses say 1, `ones` of whose owners have a 1: all that a shuffle shows."""
    keep = math.exp(local_epsilon) / (1 + math.exp(local_epsilon))
    return np.convolve(
        stats.binom.pmf(np.arange(ones + 1), ones, keep), stats.binom.pmf(np.arange(n - ones + 1), n - ones, 1 - keep)
    )


@pytest.mark.parametrize(("local", "n"), [(0.5, 30), (1.0, 100), (2.0, 400), (4.0, 400)])
@pytest.mark.parametrize("delta", [1e-2, 1e-5])
def test_shuffled_randomised_responses_lose_no_more_than_stated(local: float, n: int, delta: float) -> None:
    epsilon, used = shuffled_epsilon(local, 0.0, n, delta=delta)
    assert used <= delta
    for ones in (0, n // 2, n - 1):
        p, q = shuffled_bits(local, n, ones + 1), shuffled_bits(local, n, ones)
        for first, second in ((p, q), (q, p)):
            assert np.maximum(first - math.exp(epsilon) * second, 0).sum() <= delta


def test_the_sum_over_clones_agrees_with_the_pair_written_out() -> None:
    """The two-dimensional laws, all of them, for 12 reports."""
    local, n = 1.2, 12
    clones = Clones(local, n)
    keep, chance = math.exp(local) / (1 + math.exp(local)), math.exp(-local)
    p, q = np.zeros((n + 1, n + 1)), np.zeros((n + 1, n + 1))
    for c in range(n):
        for a in range(c + 1):
            weight = stats.binom.pmf(c, n - 1, chance) * stats.binom.pmf(a, c, 0.5)
            p[a + 1, c - a] += weight * keep
            p[a, c - a + 1] += weight * (1 - keep)
            q[a, c - a + 1] += weight * keep
            q[a + 1, c - a] += weight * (1 - keep)
    for epsilon in (0.0, 0.1, 0.5, 1.0, 1.19, 1.2, 2.0):
        exact = np.maximum(p - math.exp(epsilon) * q, 0).sum()
        assert clones.delta(epsilon) == pytest.approx(exact, abs=1e-14)
        assert clones.delta(epsilon) == pytest.approx(np.maximum(q - math.exp(epsilon) * p, 0).sum(), abs=1e-14)


def test_more_reports_hide_better_and_one_report_hides_nothing() -> None:
    figures = [shuffled_epsilon(1.0, 0.0, n, delta=1e-6)[0] for n in (1, 100, 10_000, 100_000)]
    assert figures == sorted(figures, reverse=True)
    assert figures[0] == pytest.approx(1.0, abs=1e-4) and figures[-1] < 0.02


def test_it_is_below_the_closed_form_where_that_holds() -> None:
    """Theorem 3.1, in the form whose condition is local_epsilon <= log(n / (16 log(2 / delta)))."""
    local, n, delta = 2.0, 100_000, 1e-6
    assert local <= math.log(n / (16 * math.log(2 / delta)))
    grown = math.exp(local)
    closed = math.log1p(
        (grown - 1) / (grown + 1) * (8 * math.sqrt(grown * math.log(4 / delta) / n) + 8 * grown / n)
    )  # fmt: skip
    assert shuffled_epsilon(local, 0.0, n, delta=delta)[0] < closed


def test_reports_that_are_not_pure_take_their_share_of_delta_or_count_as_not_shuffled() -> None:
    pure, _ = shuffled_epsilon(1.0, 0.0, 10_000, delta=1e-6)
    some, used = shuffled_epsilon(1.0, 1e-12, 10_000, delta=1e-6)
    assert pure < some < 1.0 and used == 1e-6
    assert shuffled_epsilon(1.0, 1e-9, 10_000, delta=1e-6) == (1.0, 1e-9)  # 10,000 of them would take too much
    assert shuffled_epsilon(60.0, 0.0, 10_000, delta=1e-6) == (60.0, 0.0)
