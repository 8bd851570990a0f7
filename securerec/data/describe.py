"""Figures about a data set."""

from collections import Counter

import numpy as np

from securerec.data.dataset import Dataset
from securerec.data.splits import ABSENT, leave_one_out

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
Figures = dict[str, object]


def describe(dataset: Dataset, *, most: int = 10) -> Figures:
    """Counts, density, quantiles, ties, the `most` popular items, genres and attributes, ready for JSON.

    Shares and density lie between 0 and 1; `per_user` gives interactions a user at each quantile; what the data set
    cannot say is None.
    """
    interactions = dataset.interactions
    counts = interactions.counts()
    popularity = interactions.popularity()
    best = np.lexsort((np.arange(popularity.size), -popularity))[:most]
    cells = interactions.n_users * interactions.n_items
    return {
        "name": dataset.name,
        "users": interactions.n_users,
        "items": interactions.n_items,
        "interactions": interactions.n_interactions,
        "density": interactions.pairs().size / cells if cells else None,
        "per_user": {f"{q:g}": float(np.quantile(counts, q)) for q in QUANTILES} if counts.size else None,
        "users_without_held_out_item": int(np.count_nonzero(counts < 3)),
        "repeats": repeats(dataset),
        "order": dataset.tie_rule,
        "held_out_by_tie_rule": tie_shares(dataset),
        "popular": [
            {
                "item": dataset.item_ids[item],
                "title": dataset.titles[item],
                "year": int(dataset.years[item]) or None,
                "users": int(popularity[item]),
            }
            for item in best
        ],
        "genres": {
            name: int(number) for name, number in zip(dataset.genre_names, dataset.genres.sum(axis=0), strict=True)
        },
        "user_attributes": {
            name: {"distinct": len(found), "common": dict(found.most_common(5))}
            for name, found in ((name, Counter(values)) for name, values in dataset.user_attributes.items())
        },
        "licence": dataset.licence,
        "source": dataset.source,
        "digest": dataset.digest(),
    }


def repeats(dataset: Dataset) -> dict[str, object] | None:
    """What repeats of the same user and item mean, with a `warning` sentence; None when there are none.

    `test_in_training` counts the users, among those `with_held_out_item`, whose held-out item is among their training
    items too.
    """
    if not dataset.has_repeats:
        return None
    split = leave_one_out(dataset.interactions)
    evaluated = np.flatnonzero(split.test != ABSENT)
    known = sum(int(split.test[user]) in split.train.of(user) for user in evaluated.tolist())
    pairs = dataset.interactions.pairs().size
    warning = (
        f"Repeats: {dataset.interactions.n_interactions:,} interactions are {pairs:,} distinct pairs of user and item, "
        f"and the held-out pair of {known:,} of {evaluated.size:,} users is in training too. Figures on it are "
        "only for comparison with others under the protocol published."
    )
    return {
        "distinct_pairs": pairs,
        "with_held_out_item": int(evaluated.size),
        "test_in_training": known,
        "warning": warning,
    }


def tie_shares(dataset: Dataset) -> dict[str, float] | None:
    """The share of users with held-out items whose `test` (or `validation`) item had the same timestamp as a neighbour
    that the tie rule put on the other side of the cut. None without timestamps, or without such users.
    """
    counts = dataset.interactions.counts()
    ends = dataset.interactions.offsets[1:][counts >= 3]
    if dataset.timestamps is None or ends.size == 0:
        return None
    newest, second, third = (dataset.timestamps[ends - back] for back in (1, 2, 3))
    test = newest == second
    return {"test": float(test.mean()), "validation": float((test | (second == third)).mean())}
