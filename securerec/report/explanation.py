"""Why a device gives an item the score it gives: parts that add up, where the score is a sum.

With a score function that is linear in the item row the score is

    base_i + taste . d_i + (1 - s) w . e_i + s w . (e'_i + change_i) + bias

with the private head's taste, the score function w, the server's row e_i, the row e'_i that the last round began with,
and the device's share s of its own view. Each term is split further by what it is made of. Other score functions are
explained by occlusion: the score less what it is without a part, which need not add up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from securerec.data.dataset import Dataset
from securerec.evaluation.scoring import TrainedDevices
from securerec.federation.warm_start import segments_name
from securerec.models.head import Heads
from securerec.report.tastes import GENRES, POPULARITY, YEARS, NamedFeatures, named_features

EVERYBODY = "everybody"
TASTE = "public features, a taste that only this device knows"
LEARNT = "what sums released of the items, a taste that only this device knows"
NEAR = "which items stand near each other in lists, from a sum; the device's own list"
TABLE = "the server's item table, a score function that only this device knows"
DEVICE = "only this device"
_AGREES = 1e-3


@dataclass(frozen=True, slots=True)
class Term:
    """One addend of a part: its name and what it adds to the score."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Part:
    """What one source adds to a score; `terms` add up to `value`, or there are none. known_to: who knows what it is
    made of; the product is always the device's alone, but for what everybody knows."""

    name: str
    value: float
    known_to: str
    terms: tuple[Term, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """adds_up: the parts add up to the score (to rounding); otherwise each is the score less what it is without that
    part."""

    score: float
    parts: tuple[Part, ...]
    adds_up: bool


def explained(
    dataset: Dataset, devices: TrainedDevices, own_share: float, user: int, item: int, *,
    segments: Sequence[int] | None = None,
) -> Explanation:  # fmt: skip
    """The score of one item for one user, by the share of its own view that the device uses.

    segments: the run's setting, by which the item table's columns are named; numbers where there is none. Raises
    RunError when a score is not finite.
    """
    scores = _scores(devices, user, own_share)
    if is_linear(devices):
        parts = _linear_parts(dataset, devices, own_share, user, item, column_names(segments, devices.learner.dim))
        total, score = sum(part.value for part in parts), float(scores[item])
        if abs(total - score) <= _AGREES * (1 + sum(abs(part.value) for part in parts)):
            return Explanation(score, parts, adds_up=True)
    return Explanation(float(scores[item]), _occluded(devices, own_share, user, item), adds_up=False)


def is_linear(devices: TrainedDevices) -> bool:
    """Whether score functions are weights of an item row's numbers, and nothing else is shared than item rows."""
    return devices.functions.weights.shape[1:] == devices.table.shape[1:] and len(devices.table) == len(
        devices.heads.head.base
    )


def own_rows(devices: TrainedDevices, user: int) -> NDArray[np.float32]:
    """The shared matrix as this device sees it after its own training, like `table` in shape."""
    rows, change = devices.changes.of(user)
    view = devices.broadcast.copy()
    view[rows] += change
    return view


def _linear_parts(
    dataset: Dataset, devices: TrainedDevices, own_share: float, user: int, item: int, columns: Sequence[str]
) -> tuple[Part, ...]:
    head, parts = devices.heads.head, []
    if head.directions.shape[1]:
        parts.append(Part("popularity of the item", float(head.base[item]), EVERYBODY))
        parts += _taste_parts(dataset, named_features(dataset, head), devices.heads, user, item)
    weights = devices.functions.weights[user].astype(np.float64)
    by_server = weights * devices.table[item]
    parts.append(Part("server's item table", float(by_server.sum()), TABLE, _terms(columns, by_server)))
    if own_share:
        moved = own_share * weights * (own_rows(devices, user)[item].astype(np.float64) - devices.table[item])
        parts.append(
            Part("own view of the item, against the server's", float(moved.sum()), DEVICE, _terms(columns, moved))
        )
    if devices.functions.biases.any():
        parts.append(Part("bias, the same for every item", float(devices.functions.biases[user]), DEVICE))
    return tuple(parts)


def _taste_parts(dataset: Dataset, named: NamedFeatures, heads: Heads, user: int, item: int) -> list[Part]:
    """The head's, by group of features; what is left of its fitted directions is the taste for what devices learnt
    together, and what lies along the others is the item-item model's.
    """
    head, whole = heads.head, heads.tastes[user].astype(np.float64)
    taste, directions = whole[: head.fitted], head.directions[item].astype(np.float64)
    added = named.values[item] * (named.to_coefficients @ taste)
    parts = []
    for group in dict.fromkeys(named.groups):
        columns = [place for place, each in enumerate(named.groups) if each == group]
        terms = tuple(Term(_said(dataset, group, named.names[place], item), float(added[place])) for place in columns)
        value = float(added[columns].sum())
        parts.append(Part(group, value, TASTE, terms if group != POPULARITY else ()))
    if len(named.names) < head.fitted:
        left = float(directions[: head.fitted] @ taste) - float(added.sum())
        parts.append(Part("taste for what devices learnt together of the items", left, LEARNT))
    if head.fitted < len(directions):
        near = float(directions[head.fitted :] @ whole[head.fitted :])
        parts.append(Part("items that stand near its own in people's lists", near, NEAR))
    return parts


def _said(dataset: Dataset, group: str, name: str, item: int) -> str:
    """Whether the item has the feature."""
    if group == GENRES:
        return name if dataset.genres[item, dataset.genre_names.index(name)] else f"not {name}"
    if group == YEARS and dataset.years[item] > 0:
        return name if dataset.years[item] >= int(name.split()[1]) else f"not {name}"
    return name


def column_names(segments: Sequence[int] | None, dim: int) -> tuple[str, ...]:
    """What each of the `dim` columns of the item table began as: of a release of segments, what follows for everybody
    alike, then what follows one direction of taste after the other. Rounds have moved them since.
    """
    names = [
        f"{segments_name(number)}, {'everybody alike' if place == 0 else f'direction {place}'}"
        for number, width in enumerate(segments or ())
        for place in range(1 + width)
    ]
    return tuple(names) if len(names) == dim else tuple(f"column {number + 1}" for number in range(dim))


def _terms(names: Sequence[str], values: NDArray[np.float64]) -> tuple[Term, ...]:
    return tuple(Term(name, float(value)) for name, value in zip(names, values, strict=True))


def _occluded(devices: TrainedDevices, own_share: float, user: int, item: int) -> tuple[Part, ...]:
    """The score less what it is without each part: the item's row replaced by the mean of all items' rows, numbers of
    the device or of a shared network by zeros."""
    n_items = len(devices.heads.head.base)
    score = float(_scores(devices, user, own_share)[item])

    def part(name: str, known_to: str, without: TrainedDevices, share: float = own_share) -> Part:
        return Part(name, score - float(_scores(without, user, share)[item]), known_to)

    table, broadcast = devices.table.copy(), devices.broadcast.copy()
    table[item] = mean = devices.table[:n_items].mean(axis=0)
    # such that the device's own change of the row brings it to the same mean
    broadcast[item] = mean - (own_rows(devices, user)[item] - devices.broadcast[item])
    average = replace(devices, table=table, broadcast=broadcast)
    functions = devices.functions
    parts = [
        part("the item's row, against the mean item's", TABLE, average),
        part(
            "score function of the device", DEVICE,
            replace(devices, functions=replace(functions, weights=np.zeros_like(functions.weights))),
        ),
    ]  # fmt: skip
    if len(devices.table) > n_items:
        nothing = [table.copy() for table in (devices.table, devices.broadcast)]
        for table in nothing:
            table[n_items:] = 0
        parts.append(part("shared network", EVERYBODY, replace(devices, table=nothing[0], broadcast=nothing[1])))
    if own_share:
        parts.append(part("own view, against the server's table", DEVICE, devices, share=0.0))
    if devices.heads.head.directions.shape[1]:
        none = Heads.none(len(devices.heads.tastes), n_items)
        parts.append(part("private head", TASTE, replace(devices, heads=none)))
    return tuple(parts)


def _scores(devices: TrainedDevices, user: int, own_share: float) -> NDArray[np.float32]:
    return devices.scores(np.array([user]), np.array([own_share], np.float32))[0]
