"""IMIA: guess labels, train a shadow client on them, keep the guesses whose rows end up closest to the upload.

Yuan, Yang, Nguyen, Cui, He, Yin, "Interaction-level Membership Inference Attack Against Federated Recommender Systems",
WWW 2023: the published attack on federated recommenders with user embeddings, adapted to PFedRec, beside which the
attacks on the form of the update can be judged. As published: a fifth of the touched items (one in 1 + negatives) is
called positive at random; a shadow client starts from the broadcast table and trains as clients do; items are ordered
by the distance between their shadow and uploaded rows, and a fixed part of all, the closest, keeps its guessed labels
for good; the rest is guessed anew, until there are as many positives as expected.

What differs: the unknown user embedding is PFedRec's unknown score function, drawn as clients first draw theirs. The
part kept in a pass is a tenth, not the nine tenths of the authors' code, which fixes most of the first random guess and
so stays at a random guess's F1 here. As published, the adversary is given the touched set; where all rows are noised
nobody has it, and the attack takes all items as touched and the average client's share of them as positive.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from attacks.case import LocalTraining
from attacks.goals.items import ITEMS, ItemScores, Seen
from attacks.interactions.touched import uploads_by_rows
from attacks.registry import register

_KEPT = 0.1
"""Part of the touched items that keeps its labels in each pass, chosen in the attack's favour, by F1 against the truth
on MovieLens-100K, out of .9, .5, .2, .1 and .05: .2 and more were mostly worse, .05 better in some rounds only."""

_LOGIT_LIMIT = np.float32(60.0)


@register(
    ITEMS,
    name="IMIA",
    kinds=("unprotected_upload", "noised_upload"),
    adversary="a curious server that sees single uploads and which rows they touch; knows the broadcast table, how "
    "clients train and how many negatives they draw",
    source="Yuan et al., Interaction-level Membership Inference Attack Against Federated Recommender Systems, WWW 2023",
    summary="a shadow client trained on guessed labels; items that it moves as the upload does are guessed right",
)
def shadow_training(seen: Seen) -> ItemScores:
    """1 for items confirmed as positive, 0 for other touched ones, -1 for untouched ones. Without public training there
    is nothing to shadow, and the scores are all 0.
    """
    view, training = seen.view, seen.public.training
    scores = np.zeros((view.n_matrices, view.n_items), dtype=np.float32)
    if training is None:
        return ItemScores(scores, scores > 0)
    density = view.popularity.sum() / view.population / view.n_items
    # The attack's own guesses: fixed, so that it is a function of its evidence.
    rng = np.random.default_rng(0)
    for row, (items, delta) in zip(scores, uploads_by_rows(view), strict=True):
        share = density if len(items) == view.n_items else 1 / (1 + training.negatives)
        row[:] = -1
        row[items] = confirmed_positives(view.table[items], delta.astype(np.float32), training, share, rng)
    return ItemScores(scores, scores > 0)


def confirmed_positives(
    before: NDArray[np.float32],
    delta: NDArray[np.float32],
    training: LocalTraining,
    share: float,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """The attack on one client. before, delta: (t, dim) its touched rows as broadcast, and their changes; share: the
    part of them that is positive. Returns (t,).
    """
    n, dim = before.shape
    wanted, kept = max(1, round(share * n)), max(1, int(_KEPT * n))
    fixed, label = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    start = (rng.uniform(-1, 1, dim) / np.sqrt(dim)).astype(np.float32)
    while True:
        free = rng.permutation(np.flatnonzero(~fixed))
        missing = wanted - np.count_nonzero(label & fixed)
        label[free] = False
        if missing <= 0 or len(free) == 0:
            return label
        label[free[:missing]] = True
        order = np.stack([rng.permutation(n) for _ in range(training.epochs)])
        moved = shadow_change(before, start, label, order, training.batch_size, training.score_lr, training.item_lr)
        distance = np.sum((moved - delta) ** 2, axis=1)
        fixed[free[np.argsort(distance[free], kind="stable")[:kept]]] = True


@njit(cache=True, fastmath={"reassoc", "contract", "nsz", "arcp"})
def shadow_change(
    before: NDArray[np.float32], start: NDArray[np.float32], label: NDArray[np.bool_], order: NDArray[np.int64],
    batch_size: int, score_lr: float, item_lr: float,
) -> NDArray[np.float32]:  # fmt: skip
    """What a PFedRec client would change (t, dim), with one sample a row.

    before: (t, dim) rows as broadcast; start: (dim,) its score function, bias 0; label: (t,); order: (epochs, t), the
    rows in the order of each epoch's training. In each batch the score function steps first, then the rows (Zhang et
    al., IJCAI 2023, algorithm 1).
    """
    n, dim = before.shape
    rows, w, bias = before.copy(), start.copy(), np.float32(0.0)
    gradient, residual = np.empty(dim, np.float32), np.empty(batch_size, np.float32)
    for epoch in range(len(order)):
        for begin in range(0, n, batch_size):
            batch = order[epoch, begin : begin + batch_size]
            _residuals(rows, w, bias, label, batch, residual)
            step = np.float32(score_lr / len(batch))
            gradient[:] = np.float32(0.0)
            for k in range(len(batch)):
                for d in range(dim):
                    gradient[d] += residual[k] * rows[batch[k], d]
                bias -= step * residual[k]
            for d in range(dim):
                w[d] -= step * gradient[d]
            _residuals(rows, w, bias, label, batch, residual)
            step = np.float32(item_lr / len(batch))
            for k in range(len(batch)):
                for d in range(dim):
                    rows[batch[k], d] -= step * residual[k] * w[d]
    return rows - before


@njit(cache=True, inline="always")
def _residuals(
    rows: NDArray[np.float32], w: NDArray[np.float32], bias: np.float32, label: NDArray[np.bool_],
    batch: NDArray[np.int64], out: NDArray[np.float32],
) -> None:  # fmt: skip
    """out[k] = sigmoid(rows[batch[k]] . w + bias) - label[batch[k]]."""
    for k in range(len(batch)):
        logit = bias
        for d in range(len(w)):
            logit += rows[batch[k], d] * w[d]
        logit = min(max(logit, -_LOGIT_LIMIT), _LOGIT_LIMIT)
        out[k] = np.float32(1.0) / (np.float32(1.0) + np.exp(-logit)) - np.float32(label[batch[k]])
