"""Figures about a data set."""

from collections import Counter

import numpy as np

from securerec.data.dataset import Dataset

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
