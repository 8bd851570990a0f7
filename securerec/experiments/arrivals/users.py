"""New users: a fifth of them, whom no round has seen, each with the newest few items of its list.

Each one's newest item is ranked against 99 that it never touched (protocol `clean`); the second newest is set aside, as
for users that a run knows. The same users are ranked by a run that had them.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from securerec.config import Config
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.data.splits import draw_candidates, leave_one_out
from securerec.evaluation.baselines import popularity_scorer
from securerec.evaluation.protocols import Scorer, sampled_ranks
from securerec.experiments.arrivals.playing import CUTOFF, Figures, Table, figures, part_of, train

SHARE = 0.2
HISTORIES = (0, 1, 3, 5, 10, 20)


def measure_users(config: Config, dataset: Dataset, seed: int, folder: Path) -> Table:
    """Figures of the held-out users by what scores; see the rows' names. Runs are played in the folder."""
    rng = np.random.default_rng([seed, 1])
    interactions, data = dataset.interactions, config.data
    split = leave_one_out(interactions)
    candidates = draw_candidates(
        interactions, split, np.random.default_rng(data.candidates_seed), data.sampled_negatives
    ).test
    eligible = np.flatnonzero(split.test >= 0)
    new = np.sort(rng.permutation(eligible)[: max(1, round(SHARE * len(eligible)))])
    old = np.setdiff1d(np.arange(interactions.n_users), new)

    def lists(users: NDArray[np.int64], of: Interactions, newest: int | None = None) -> Interactions:
        chosen = [of.of(user) for user in users]
        newest_first = [each if newest is None else each[len(each) - min(newest, len(each)) :] for each in chosen]
        return Interactions.from_lists([each.tolist() for each in newest_first], of.n_items)

    def row(scorer: Scorer, places: NDArray[np.int64]) -> Figures:
        """scorer: of users by their place in its own data set; places: of `new` there."""
        wanted = np.full((int(places.max()) + 1, candidates.shape[1]), -1, np.int32)
        wanted[places] = candidates[new]
        return figures(sampled_ranks(scorer, wanted).per_user((CUTOFF,)))

    without = train(config, part_of(dataset, lists(old, interactions), old), folder / "without")
    everybody = train(config, dataset, folder / "everybody")
    places = np.arange(len(new))
    table = {"popularity": row(popularity_scorer(without.train), places)}
    for newest in (*HISTORIES, None):
        known = lists(new, split.train, newest)
        scorer = without.released.devices(known, np.random.default_rng([seed, 3])).scorer(0.0)
        table[f"{newest} items" if newest is not None else "whole list"] = row(scorer, places)
    return table | {"whole list, in a run that had them": row(everybody.devices.scorer(0.0), new)}
