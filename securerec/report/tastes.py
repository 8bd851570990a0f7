"""A private head's taste in terms of features that have names.

A head is kept in whitened coordinates (`securerec.models.head.make_head`): with centred features C (n_items, f), prior
precisions P = diag(p) and the generalised eigenvectors T of C's curvature, T' P T = I, its directions are D = C T. So
T^-1 = T' P and C P^-1 = D T': row j of T, by which a taste becomes the coefficient of feature j, is the least-squares
solution of D x = c_j / p_j, which fits exactly if feature j is one of the head's. Directions that are zero belong to
tastes that are zero, and need not be known.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securerec.data.dataset import Dataset
from securerec.models.head import LATER_STEPS, POPULARITY_PRECISION, YEAR_STEPS, Head, public_features, softmax

Doubles = NDArray[np.float64]

_RELATIVE = 1e-5
"""Directions below this share of the largest are rounding, and a fit as good as this is exact in float32."""

GENRES, YEARS, POPULARITY, OTHERS = "genres", "years", "taste for what is popular", "other public features"


@dataclass(frozen=True, slots=True, eq=False)
class NamedFeatures:
    """A head's features that everybody knows.

    groups, names: (f,) what each is. values: (n_items, f) float64, less their mean weighted by the base's shares: an
    item that is as people's choices are on average has zeros. to_coefficients: (f, d) float64, times a taste along the
    d fitted directions gives the coefficient of each feature.
    """

    groups: tuple[str, ...]
    names: tuple[str, ...]
    values: Doubles
    to_coefficients: Doubles


def named_features(dataset: Dataset, head: Head) -> NamedFeatures:
    """Those of the public features that the head was made with; none for a head without directions.

    The outputs of an item-item model are no combination of features, and are left aside.
    """
    if not head.fitted:
        empty = np.zeros((len(head.base), 0))
        return NamedFeatures((), (), empty, np.zeros((0, 0)))
    public = public_features(dataset)
    base = head.base.astype(np.float64)
    values = np.concatenate([public.values.astype(np.float64), base[:, None]], axis=1)
    groups, names = _names(dataset, public.values)
    share = softmax(head.base[None].astype(np.float64))[0]
    centred = values - share @ values
    scaled = centred / np.append(public.precision, POPULARITY_PRECISION)
    directions = head.directions[:, : head.fitted].astype(np.float64)
    turned = np.linalg.lstsq(directions, scaled, rcond=_RELATIVE)[0]
    missed = np.linalg.norm(scaled - directions @ turned, axis=0)
    fits = missed <= _RELATIVE * np.linalg.norm(scaled, axis=0) * np.sqrt(directions.shape[1])
    kept = np.flatnonzero(fits)
    return NamedFeatures(
        tuple((*groups, POPULARITY)[column] for column in kept),
        tuple((*names, POPULARITY)[column] for column in kept),
        centred[:, kept], turned.T[kept],
    )  # fmt: skip


def _names(dataset: Dataset, values: NDArray[np.float32]) -> tuple[list[str], list[str]]:
    """Group and name of each public feature; a number where it is neither a genre nor a step of years."""
    years = np.where(dataset.years > 0, dataset.years, 0)
    steps = (*YEAR_STEPS, *LATER_STEPS)
    known = {GENRES: dataset.genres, YEARS: years[:, None] >= np.array(steps)}
    labels = {GENRES: list(dataset.genre_names), YEARS: [f"from {year} on" for year in steps]}
    dated = dataset.years > 0
    groups, names = [], []
    used: set[tuple[str, int]] = set()
    for number, column in enumerate(values.T):
        for group, columns in known.items():
            # Items without a year stand at one that the head chose: they decide nothing here.
            rows = dated if group == YEARS else np.ones_like(dated)
            same = [
                place
                for place in np.flatnonzero((columns[rows] == (column[rows, None] > 0)).all(axis=0)).tolist()
                if (group, place) not in used
            ]
            if same and np.isin(column, (0.0, 1.0)).all():
                used.add((group, same[0]))
                groups.append(group)
                names.append(labels[group][same[0]])
                break
        else:
            groups.append(OTHERS)
            names.append(f"feature {number + 1}")
    return groups, names
