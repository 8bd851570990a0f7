"""What tests of noise share: a stream that says what it is told, exact distribution functions, a test of fit."""

import math
from collections.abc import Callable, Iterable
from decimal import Decimal, getcontext
from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from securerec.privacy.discrete_gaussian import DiscreteGaussian
from securerec.privacy.discrete_laplace import DiscreteLaplace
from securerec.privacy.exact_sampler import ExactSampler
from securerec.privacy.randomness import KeyStream
from securerec.privacy.skellam import Skellam

getcontext().prec = 110


class Words(KeyStream):
    """A stream that says what it is told, and counts."""

    def __init__(self, words: Iterable[int]) -> None:
        self.words, self.taken = list(words), 0

    def uint64(self, n: int) -> NDArray[np.uint64]:
        taken, self.taken = self.words[self.taken : self.taken + n], self.taken + n
        assert len(taken) == n, "more words were asked for than should be needed"
        return np.array(taken, dtype=np.uint64)


@pytest.fixture(scope="session")
def told() -> type[Words]:
    return Words


def _gaussian_weights(sigma: float, terms: int) -> list[Decimal]:
    return [(-Decimal(m * m) / (2 * Decimal(sigma) ** 2)).exp() for m in range(terms)]


def _laplace_weights(scale: float, terms: int) -> list[Decimal]:
    return [(-Decimal(m) / Decimal(scale)).exp() for m in range(terms)]


def _skellam_weights(variance: float, terms: int) -> list[Decimal]:
    """Bessel's I_m(v) by its power series, sum over j of (v/2)^(2j+m) / (j! (j+m)!), all terms being positive."""
    half, weights = Decimal(variance) / 2, []
    first = Decimal(1)
    for m in range(terms):
        total = term = first
        j = 0
        while j < half or term > total * Decimal(10) ** -115:
            j += 1
            term = term * half * half / (j * (j + m))
            total += term
        weights.append(total)
        first = first * half / (m + 1)
    return weights


@lru_cache
def magnitudes(law: ExactSampler, terms: int | None = None) -> list[Decimal]:
    """P(|X| <= m) for m = 0, 1, ... to about 100 decimal digits, by adding up and dividing; slow and independent."""
    if isinstance(law, DiscreteGaussian):
        weights = _gaussian_weights(law.sigma, terms or math.ceil(21 * law.sigma) + 20)
    elif isinstance(law, DiscreteLaplace):
        weights = _laplace_weights(law.scale, terms or math.ceil(240 * law.scale) + 20)
    else:
        assert isinstance(law, Skellam)
        weights = _skellam_weights(law.variance, terms or math.ceil(30 * math.sqrt(law.variance)) + 60)
    sums, total = [], Decimal(0)
    for m, weight in enumerate(weights):
        total += weight if m == 0 else 2 * weight
        sums.append(total)
    return [part / total for part in sums]


@pytest.fixture(scope="session")
def exact_magnitudes() -> Callable[..., list[Decimal]]:
    return magnitudes


def p_of_fit(samples: NDArray[np.int64], values: NDArray[np.int64], p: NDArray[np.float64]) -> float:
    """p-value of a chi-square test against probabilities p of values (consecutive), cells of few counts joined."""
    step = max(1, len(values) // 4000)  # cells of several integers where there are many
    cells = np.clip(samples - values[0], 0, len(values) - 1) // step
    observed = np.bincount(cells, minlength=math.ceil(len(values) / step)).astype(float)
    expected = np.add.reduceat(p, np.arange(0, len(values), step)) * samples.size
    full = expected >= 10
    observed = np.append(observed[full], observed[~full].sum())
    expected = np.append(expected[full], expected[~full].sum())
    if expected[-1] < 5:  # a tail too thin for a cell of its own
        observed, expected = observed[:-1], expected[:-1]
    return float(stats.chisquare(observed, expected * (observed.sum() / expected.sum())).pvalue)


@pytest.fixture(scope="session")
def fit() -> Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]], float]:
    return p_of_fit
