"""Where an item stands for one user."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from securerec.data.splits import ABSENT, Split
from securerec.evaluation import ranking


def places(
    scores: NDArray[np.float32], split: Split, candidates: NDArray[np.int32], user: int, item: int,
    cutoffs: tuple[int, ...],
) -> dict[str, Any]:  # fmt: skip
    """Expected position (1 is first; ties share theirs) among all items, among those that the device did not train
    on, and, for the item held out for test, under each protocol with the hit rate that it gives at each cutoff.

    scores: (n_items,) the user's; candidates: (n_users, 1 + negatives) of the test items.
    """
    own = np.unique(split.train.of(user))
    outside = np.ones(len(scores), np.bool_)
    outside[own] = False
    held_out = {int(split.validation[user]): "validation", int(split.test[user]): "test"}.get(item)
    figures: dict[str, Any] = {
        "held_out": held_out,
        "trained_on": bool((own == item).any()),
        "catalogue": _place(scores, item, np.ones(len(scores), np.bool_)),
        "outside_training": None if (own == item).any() else _place(scores, item, outside),
        "clean": None,
        "full": None,
    }
    if held_out == "test":
        sampled = np.zeros(len(scores), np.bool_)
        sampled[candidates[user][candidates[user] != ABSENT]] = True
        if split.validation[user] != ABSENT:
            outside[split.validation[user]] = False
        for protocol, present in (("clean", sampled), ("full", outside)):
            better, tied = _counts(scores, item, present)
            hits = {
                f"hr@{k}": float(ranking.hit_rate_per_user(np.array([better]), np.array([tied]), k)[0]) for k in cutoffs
            }
            figures[protocol] = _place(scores, item, present) | hits
    return figures


def _place(scores: NDArray[np.float32], item: int, present: NDArray[np.bool_]) -> dict[str, Any]:
    better, tied = _counts(scores, item, present)
    return {"position": better + 1 + tied / 2, "of": int(present.sum())}


def _counts(scores: NDArray[np.float32], item: int, present: NDArray[np.bool_]) -> tuple[int, int]:
    better, tied = ranking.better_and_tied_at(scores[None], np.array([item]), present[None])
    return int(better[0]), int(tied[0])
