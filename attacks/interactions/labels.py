"""Label reading: whether each row that a client touched is an item of its, from the residual that moved it.

In one step of its local training over a batch of B samples, a client with the private vector w and bias b moves the
row of each sample j by

    D_j = -item_lr / B * (sigmoid(e_j . w + b) - y_j) * w.

The residual has the sign of y_j, as a sigmoid lies in (0, 1): rows of one step are multiples of one vector, and those
on one side of it are the client's items. A client with many samples takes several steps, and w moves in between, so
rows are first sorted by step: rows of one step have the same ratio between their components on any two axes. Which side
is which cannot be read from residuals, since the loss is the same under (w, b, y) -> (-w, -b, 1 - y). It follows from
the odds of the rows on both: more negatives than items are drawn, and items are more popular.

Where the training is public, |w| and b follow too (`score_function`). They tell the label of a row that was touched but
did not visibly move: training was content with it, so its label is what the client's own score says.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from attacks.case import LocalTraining
from attacks.goals.items import ITEMS, ItemScores, Seen
from attacks.interactions.rank_one import popularity_log_odds
from attacks.interactions.touched import items_behind, uploads_by_rows
from attacks.registry import register

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_LOST = 2.0**-20
"""A change this small beside the row itself has lost its direction to the rounding of float32, 2^-24 of the row."""

_SAME_STEP = 2e-5
"""Ratios closer than this are of one step, if several are."""

_FEWEST = 4
"""Rows that make a step, or one in a hundred of all, if these are more; fewer may lie close by accident."""

_CLEAR = 5.0
"""Log-odds from which a step's own rows decide its side."""

_USUAL_SHARE = 0.2
"""Part of touched rows that are items where the number of negatives is not public: 1 in 5, as papers have it."""


@register(
    ITEMS,
    name="residual signs",
    kinds=("unprotected_upload",),
    adversary="a curious server that sees single uploads; knows the broadcast table, item popularity and, for rows "
    "that did not move, how clients train",
    source="one SGD step of PFedRec's post-tuning (Zhang et al., IJCAI 2023, algorithm 1); compare Chai et al., "
    "IEEE Intelligent Systems 2020, for explicit ratings",
    summary="the sign of a row's residual is its label, read step by step up to one choice of side for each",
)
def residual_signs(seen: Seen) -> ItemScores:
    """Yes or no for each item; the score is 1 or 0."""
    view, training = seen.view, seen.public.training
    table, prior = view.table.astype(np.float64), popularity_log_odds(view)
    has = np.zeros((view.n_matrices, view.n_items), dtype=np.bool_)
    for row, (items, delta) in zip(has, uploads_by_rows(view), strict=True):
        share = _USUAL_SHARE
        if training is not None and len(items):
            share = float(items_behind(np.array(len(items)), view.n_items, training.negatives)) / len(items)
        row[items] = labels(delta, table[items], prior[items], share, training)
    return ItemScores(has.astype(np.float32), has)


def labels(delta: Floats, before: Floats, prior: Floats, share: float, training: LocalTraining | None) -> Flags:
    """Which of a client's touched rows are its items.

    delta: (t, dim) change of each row; before: (t, dim) the rows as they were broadcast; prior: (t,) their log-odds by
    popularity; share: the part of touched rows that are items, roughly. Returns (t,).
    """
    has = np.zeros(len(delta), dtype=np.bool_)
    sizes = np.sqrt(np.sum(delta**2, axis=1))
    moved = sizes > _LOST * np.sqrt(np.sum(before**2, axis=1))
    if not moved.any():
        return has
    step, side = _sides(delta[moved], prior[moved], share)
    has[moved] = side
    own = side & (step == np.bincount(step + 1)[1:].argmax())
    if training is not None and training.epochs == 1 and not moved.all() and np.count_nonzero(own) >= 3:
        n_samples = (1 + training.negatives) * int(np.count_nonzero(has))
        w, b = score_function(delta[moved][own], before[moved][own], training, n_samples)
        has[~moved] = before[~moved] @ w + b > 0
    return has


def _sides(delta: Floats, prior: Floats, share: float) -> tuple[NDArray[np.int64], Flags]:
    """The step that each row was moved in, -1 where none is clear, and whether it is an item; (t,) each."""
    axes = np.linalg.eigh(delta.T @ delta)[1][:, ::-1]
    first = delta @ axes[:, 0]
    step = _steps(first, delta @ axes[:, 1]) if delta.shape[1] > 1 else np.zeros(len(delta), dtype=np.int64)
    n_steps = int(step.max()) + 1
    placed = step >= 0
    if n_steps == 0:
        step, placed, n_steps = np.zeros(len(delta), dtype=np.int64), np.ones(len(delta), dtype=np.bool_), 1

    # Rows of no step are negatives drawn in several, so the items are among the others.
    share = min(max(share * len(delta) / np.count_nonzero(placed), 0.01), 0.99)
    odds = prior - _shift(prior[placed], share)
    up = np.where(first > 0, 1.0, -1.0)
    votes = np.bincount(step[placed], (up * odds)[placed], n_steps)
    sums = np.zeros((n_steps, delta.shape[1]))
    np.add.at(sums, step[placed], (up[:, None] * delta)[placed])
    sign = np.where(votes < 0, -1.0, 1.0)
    clear = np.abs(votes) >= min(_CLEAR, np.abs(votes).max())
    known = np.sum((sign[:, None] * sums)[clear], axis=0)
    sign = np.where(clear, sign, np.where(sums @ known < 0, -1.0, 1.0))

    axis = sign[:, None] * sums / np.sqrt(np.sum(sums**2, axis=1, keepdims=True))
    cosines = delta @ axis.T
    nearest = np.where(placed, step, np.abs(cosines).argmax(axis=1))
    return np.where(placed, step, -1), cosines[np.arange(len(delta)), nearest] > 0


def _shift(prior: Floats, share: float) -> float:
    """What to take off log-odds so that their probabilities have the mean `share`."""
    low, high = float(prior.min()) - 20, float(prior.max()) + 20
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if np.mean(1 / (1 + np.exp(middle - prior))) > share else (low, middle)
    return low


def _steps(first: Floats, second: Floats) -> NDArray[np.int64]:
    """Number of the step of each row by its ratio of components (t,), -1 for rows of no step, such as a negative drawn
    in two steps.
    """
    ratio = second / np.where(first == 0, 1e-300, first)
    order = np.argsort(ratio, kind="stable")
    group = np.concatenate([[0], np.cumsum(np.diff(ratio[order]) > _SAME_STEP)])
    enough = np.bincount(group) >= max(_FEWEST, len(ratio) / 100)
    number = np.where(enough, np.cumsum(enough) - 1, -1)
    step = np.empty(len(ratio), dtype=np.int64)
    step[order] = number[group]
    return step


def score_function(delta: Floats, before: Floats, training: LocalTraining, n_samples: int) -> tuple[Floats, float]:
    """A client's private vector w (dim,) and bias b, from three or more of its items moved in one step.

    delta, before: (m, dim) those rows' changes and broadcast values. n_samples: the client's in one epoch, which leaves
    two sizes for the step's batch, a full one and the last; the better fit is taken. With a = |w|, each row's residual
    is r_j = |D_j| B / (item_lr a), and its logit log(1 / r_j - 1) = e_j . w + b: two rows leave one or a few pairs of
    a and b, a third decides, and more are fitted by least squares.
    """
    total = delta.sum(axis=0)
    axis = total / np.sqrt(np.sum(total**2))
    moved, placed = delta @ axis, before @ axis
    full = min(training.batch_size, n_samples)
    fits = [
        _length_and_bias(moved * batch / training.item_lr, placed)
        for batch in {full, n_samples % training.batch_size or full}
    ]
    _, length, bias = min(fits)
    return length * axis, bias


def _length_and_bias(moved: Floats, placed: Floats) -> tuple[float, float, float]:
    """Least squares for a and b in log(a / moved - 1) = a placed + b; returns the misfit, a, b."""

    def fit(excess: float) -> tuple[float, float, float]:
        length = moved.max() * (1 + np.exp(excess))
        residual = moved / length
        # The error of a logit that comes from rounding goes with 1 / (r (1 - r)).
        weight = (residual * (1 - residual)) ** 2
        gap = np.log1p(-residual) - np.log(residual) - length * placed
        bias = float(np.sum(weight * gap) / np.sum(weight))
        return float(np.sum(weight * (gap - bias) ** 2) / np.sum(weight)), float(length), bias

    grid = np.linspace(-14, 10, 97)
    best = grid[np.argmin([fit(each)[0] for each in grid])]
    found = minimize_scalar(lambda each: fit(each)[0], bounds=(best - 0.25, best + 0.25), options={"xatol": 1e-12})
    return min(fit(best), fit(float(found.x)))
