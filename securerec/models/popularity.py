"""How popular each item is, from a noisy sum and from what everybody knows of the items."""

import numpy as np
from numpy.typing import NDArray

SMOOTHING = 3.0
"""Added to a released popularity: little cannot be told from none."""
DOUBTFUL = 0.6
"""Where the noise is more than this of the mean popularity, an item's features say more than its own value."""
LEAST = 1.0
"""Added to an estimate from features."""
RATIOS = np.geomspace(0.05, 70.0, 50)
"""An item's popularity over what its features foretell."""
_PASSES, _FIT_STEPS = 100, 30
_RIDGE = 3.0


def estimated_popularity(
    noisy: NDArray[np.float64], noise: float, features: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Positive popularity (n_items,) from a noisy one (n_items,) whose noise has the deviation `noise`.

    With little noise max(noisy, 0) + SMOOTHING. With much, the posterior mean of m_i r under noisy_i = m_i r + noise: m
    (n_items,) is foretold from the features (n_items, d), and the prior of the ratio r over RATIOS is fitted to all
    items by expectation maximisation, smoothed in each pass (empirical Bayes, Robbins 1956). Reads nothing but what was
    released and what is public.
    """
    if noise <= DOUBTFUL * noisy.mean():
        return np.maximum(noisy, 0.0) + SMOOTHING
    foretold = _foretold(noisy, noise, features.astype(np.float64))
    likelihood = np.exp(-0.5 * ((noisy[:, None] - RATIOS * foretold[:, None]) / noise) ** 2) + 1e-300
    prior = np.full(len(RATIOS), 1 / len(RATIOS))
    for _ in range(_PASSES):
        share = likelihood * prior
        prior = (share / share.sum(axis=1, keepdims=True)).mean(axis=0)
        mirrored = np.concatenate([prior[1::-1], prior, prior[:-3:-1]])
        prior = np.convolve(mirrored, (0.1, 0.2, 0.4, 0.2, 0.1), "valid")
        prior /= prior.sum()
    share = likelihood * prior
    return np.asarray(foretold * (share @ RATIOS) / share.sum(axis=1) + LEAST, np.float64)


def _foretold(noisy: NDArray[np.float64], noise: float, features: NDArray[np.float64]) -> NDArray[np.float64]:
    """exp(a + features b) (n_items,), held to e^+-4: ridge regression by Gauss-Newton, an item's variance being the
    noise's and its foretold value's square.
    """
    columns = np.column_stack([np.ones(len(noisy)), features])
    weights = np.zeros(columns.shape[1])
    weights[0] = np.log(max(noisy.mean(), 0.5))
    ridge = np.full(columns.shape[1], _RIDGE)
    ridge[0] = 1e-6
    penalised = np.append([0.0], ridge[1:])
    for _ in range(_FIT_STEPS):
        value = np.exp(np.clip(columns @ weights, -4, 4))
        variance = noise**2 + value**2
        curvature = (columns * (value**2 / variance)[:, None]).T @ columns + np.diag(ridge)
        pull = columns.T @ (value * (noisy - value) / variance) - penalised * weights
        weights += 0.7 * np.linalg.solve(curvature, pull)
    return np.asarray(np.exp(np.clip(columns @ weights, -4, 4)), np.float64)
