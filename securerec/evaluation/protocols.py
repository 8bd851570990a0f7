"""What the held-out item is ranked against: a fixed sample, or the whole catalogue.

`published` and `clean` are both `sampled_ranks` on the same candidates; they differ only in which items the model
was allowed to train on as negatives. `full` is `full_ranks`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from securerec.data.interactions import Interactions
from securerec.data.splits import Split
from securerec.evaluation import ranking
from securerec.evaluation.intervals import Interval, mean_interval

Scorer = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""Users (m,) int64 -> logits (m, n_items) float32."""

_SCORES_AT_ONCE = 1 << 22
"""Cells scored at a time, 16 MiB of float32: what bounds the memory of an evaluation."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranks:
    """Where the held-out item of each evaluated user stands among the candidates.

    users, better, tied: (n,) int64; users without a held-out item are absent.
    """

    users: NDArray[np.int64]
    better: NDArray[np.int64]
    tied: NDArray[np.int64]

    def per_user(self, ks: Sequence[int]) -> dict[str, NDArray[np.float64]]:
        """Each user's metrics, {"hr@10": (n,), "ndcg@10": (n,), ...}, in the order of `users`."""
        values = {}
        for k in ks:
            values[f"hr@{k}"] = ranking.hit_rate_per_user(self.better, self.tied, k)
            values[f"ndcg@{k}"] = ranking.ndcg_per_user(self.better, self.tied, k)
        return values

    def metrics(self, ks: Sequence[int]) -> dict[str, float]:
        """Means over users, {"hr@10":, "ndcg@10":, ...}. Raises ValueError without users."""
        return {name: interval.mean for name, interval in self.intervals(ks).items()}

    def intervals(self, ks: Sequence[int], *, level: float = 0.95) -> dict[str, Interval]:
        """Means over users with confidence intervals. Raises ValueError without users."""
        return {name: mean_interval(values, level=level) for name, values in self.per_user(ks).items()}


def sampled_ranks(score: Scorer, candidates: NDArray[np.int32]) -> Ranks:
    """Rank each user's held-out item against that user's sampled candidates.

    candidates: (n_users, 1 + negatives) int32, the held-out item in column 0, -1 there for a user without one; -1
    further right is an absent candidate (a user who has touched nearly the whole catalogue).
    Raises ValueError when a score is not finite or a candidate is not in the catalogue.
    """
    if candidates.ndim != 2 or candidates.shape[1] < 1:
        raise ValueError(f"candidates must have the shape (users, 1 + negatives), not {candidates.shape}")
    users = np.flatnonzero(candidates[:, 0] >= 0).astype(np.int64)
    parts = []
    for chunk, scores in _scored(score, users):
        wanted = candidates[chunk]
        if int(wanted.max()) >= scores.shape[1]:
            raise ValueError(f"a candidate is item {wanted.max()}, the scorer knows items 0 to {scores.shape[1] - 1}")
        present = wanted >= 0
        picked = np.take_along_axis(scores, np.where(present, wanted, wanted[:, :1]).astype(np.int64), axis=1)
        parts.append(ranking.better_and_tied(picked, present))
    return _joined(users, parts)


def full_ranks(score: Scorer, split: Split, *, held_out: Literal["test", "validation"] = "test") -> Ranks:
    """Rank each user's held-out item against every item outside that user's training set.

    At test the validation item is set aside too; at validation the test item stays in, as nobody would know it yet. The
    held-out item itself is always ranked. Raises ValueError when a score is not finite.
    """
    if held_out not in ("test", "validation"):
        raise ValueError(f'held_out must be "test" or "validation", not {held_out!r}')
    targets = split.test if held_out == "test" else split.validation
    users = np.flatnonzero(targets >= 0).astype(np.int64)
    parts = []
    for chunk, scores in _scored(score, users):
        if scores.shape[1] != split.train.n_items:
            raise ValueError(f"the scorer knows {scores.shape[1]} items, the split has {split.train.n_items}")
        present = np.ones(scores.shape, dtype=np.bool_)
        present[_cells(split.train, chunk)] = False
        if held_out == "test":
            known = np.flatnonzero(split.validation[chunk] >= 0)
            present[known, split.validation[chunk[known]]] = False
        parts.append(ranking.better_and_tied_at(scores, targets[chunk], present))
    return _joined(users, parts)


def _scored(score: Scorer, users: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Score users in chunks whose size follows from the first user's row, so memory does not grow with the users."""
    start, size = 0, 1
    while start < len(users):
        chunk = users[start : start + size]
        scores = score(chunk)
        if scores.ndim != 2 or len(scores) != len(chunk):
            raise ValueError(f"the scorer returned the shape {scores.shape} for {len(chunk)} users")
        ranking.require_finite(scores)
        yield chunk, scores
        start += size
        size = max(1, _SCORES_AT_ONCE // scores.shape[1])


def _cells(train: Interactions, users: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Row (position in `users`) and column (item) of every training interaction of these users."""
    lengths = train.offsets[users + 1] - train.offsets[users]
    rows = np.repeat(np.arange(len(users)), lengths)
    columns = np.concatenate([train.of(int(user)) for user in users])
    return rows, columns


def _joined(users: NDArray[np.int64], parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> Ranks:
    if not parts:
        return Ranks(users, users.copy(), users.copy())
    return Ranks(users, np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))
