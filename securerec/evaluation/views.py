"""Whose view of the items a device scores with: its own, the server's, or a stranger's.

After "Dual Personalization on Federated Recommendation" (IJCAI 2023), which compares inference with a user's own item
embeddings, the global ones and those of a random other user, each with the user's own score function.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from securerec.data.splits import Candidates, Split
from securerec.evaluation.intervals import Interval, mean_interval
from securerec.evaluation.protocols import Ranks, Scorer, full_ranks, sampled_ranks
from securerec.evaluation.scoring import TrainedDevices
from securerec.training.updates import RowUpdates, Updates

Figures = dict[str, Interval]
"""Metrics such as "hr@10", each a mean over users with its 95% interval."""


def strangers(n_users: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Another user for each, (n_users,) int64: a random cycle through all, so that nobody is their own stranger and
    everybody is one once. Raises ValueError for fewer than two users."""
    if n_users < 2:
        raise ValueError(f"a stranger needs at least two users, not {n_users}")
    order = rng.permutation(n_users)
    others = np.empty(n_users, np.int64)
    others[order] = np.roll(order, -1)
    return others


def stranger_scorer(devices: TrainedDevices, others: NDArray[np.int64]) -> Scorer:
    """Scores of each user's own score function on the view of the items that device `others[user]` has; others
    (n_users,).
    """

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        lent = _lent(devices.changes, others, np.unique(users))
        return replace(devices, changes=lent).scores(users, np.ones(len(users), np.float32))

    return score


def _lent(changes: Updates, others: NDArray[np.int64], users: NDArray[np.int64]) -> RowUpdates:
    """The changes that users (rising) would have, were each one's those of `others[user]`."""
    parts = [changes.of(int(other)) for other in others[users]]
    cuts = np.cumsum([0, *(len(rows) for rows, _ in parts)]).astype(np.int64)
    return RowUpdates(
        users, cuts, np.concatenate([rows for rows, _ in parts]), np.concatenate([delta for _, delta in parts])
    )


def figures_by_view(
    devices: TrainedDevices, split: Split, candidates: Candidates, cutoffs: tuple[int, ...], *, draws: int,
    rng: np.random.Generator,
) -> dict[str, dict[str, Figures]]:  # fmt: skip
    """Test figures under `clean` and `full`, by view: "own", "server", "stranger"; and "head", the private head
    without any item table, where there is one.

    A user's figure under strangers' views is the mean over `draws` strangers.
    """
    scorers: dict[str, list[Scorer]] = {"own": [devices.scorer(1.0)], "server": [devices.scorer(0.0)]}
    n_users = split.train.n_users
    scorers["stranger"] = [stranger_scorer(devices, strangers(n_users, rng)) for _ in range(draws)]
    if devices.heads.head.directions.shape[1]:
        scorers["head"] = [devices.heads.logits]

    def figures(protocol: str, alike: list[Scorer]) -> Figures:
        ranks: list[Ranks] = [
            full_ranks(scorer, split) if protocol == "full" else sampled_ranks(scorer, candidates.test)
            for scorer in alike
        ]
        per_user = [each.per_user(cutoffs) for each in ranks]
        return {name: mean_interval(np.mean([each[name] for each in per_user], axis=0)) for name in per_user[0]}

    return {
        protocol: {view: figures(protocol, alike) for view, alike in scorers.items()} for protocol in ("clean", "full")
    }
