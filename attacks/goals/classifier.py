"""One classifier for every kind of features, so that what an upload tells is compared with what a history tells.

The auditor's, not the attack's: principal components of all clients' features, then a logistic regression that is
learnt on four fifths of the clients and read on the last, five times over. Whoever holds the uploads holds everybody's,
so the components are taken over all clients; labels are only ever those of the clients learnt from. One thread of
linear algebra: matrices this small take several times as long when threads wait for one another.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from attacks.goals.resampling import weighted_auc

FOLDS = 5
FEWEST = 10
"""Members below which a class is left out: fewer than two a fold teach nothing."""

_COMPONENTS = 64
_PENALTY = 0.03
"""scikit-learn's C, on components of mean square 1. Of .003, .03 and .3, the one under which true histories of
MovieLens-100K tell most."""


def components(features: NDArray[np.generic], rng: np.random.Generator) -> NDArray[np.float64]:
    """(n, at most 64) principal components of features (n, p), in one unit: their mean square is 1 together.

    Columns are centred and not scaled: what varies more counts more. Features that do not vary give zeros.
    """
    values = features.astype(np.float64)
    values -= values.mean(axis=0)
    largest = np.abs(values).max()
    if largest == 0:
        return np.zeros((len(values), 1))
    count = min(_COMPONENTS, len(values) - 1, values.shape[1])
    pca = PCA(count, svd_solver="randomized", random_state=int(rng.integers(2**31)))
    with threadpool_limits(1):
        found = pca.fit_transform(values / largest)
    return np.asarray(found / (found.std() + 1e-300))


def folds(codes: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.int64]:
    """(n,) the fold in which each client is read, each class spread evenly."""
    split = StratifiedKFold(FOLDS, shuffle=True, random_state=int(rng.integers(2**31)))
    numbers = np.zeros(len(codes), dtype=np.int64)
    for number, (_, read) in enumerate(split.split(codes, codes)):
        numbers[read] = number
    return numbers


def out_of_fold(parts: NDArray[np.float64], codes: NDArray[np.integer], fold: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, n_classes) scores, each from a model that did not see the client's label.

    parts: (n, p) components; codes: (n,) classes 0 .. n_classes - 1, each in every fold.
    """
    scores = np.zeros((len(codes), int(codes.max()) + 1))
    with threadpool_limits(1):
        for number in range(FOLDS):
            learnt, read = fold != number, fold == number
            model = LogisticRegression(C=_PENALTY, class_weight="balanced", max_iter=100, tol=1e-3)
            found = model.fit(parts[learnt], codes[learnt]).decision_function(parts[read])
            scores[read] = np.stack([-found, found], axis=1) if found.ndim == 1 else found
    return scores


def macro_auc(
    scores: NDArray[np.float64], codes: NDArray[np.integer], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(b,) AUC of the second class of two, else the mean over classes of one against the rest.

    scores: (n, n_classes); weights: (b, n), as `resamples` draws them. A class that a resample lacks does not count.
    """
    classes = [1] if scores.shape[1] == 2 else range(scores.shape[1])
    return np.asarray(np.nanmean([weighted_auc(scores[:, each], codes == each, weights) for each in classes], axis=0))


def macro_f1(
    scores: NDArray[np.float64], codes: NDArray[np.integer], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(b,) mean over classes of the F1 of calling each client what scores highest. Shapes as in `macro_auc`."""
    classes = np.arange(scores.shape[1])
    member, called = codes[:, None] == classes, scores.argmax(axis=1)[:, None] == classes
    hit, counted = weights @ (member & called), weights @ called + weights @ member
    present = weights @ member > 0
    f1 = np.divide(2 * hit, counted, out=np.zeros_like(hit), where=present)
    return np.asarray(f1.sum(axis=1) / present.sum(axis=1))
