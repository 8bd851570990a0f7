"""From measured cells to figures: means over users and seeds with intervals, epsilons from the ledgers, attacks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from securerec.data.dataset import Dataset
from securerec.evaluation.gaps import gaps_before_test
from securerec.evaluation.intervals import Interval
from securerec.evaluation.seeds import interval_of
from securerec.experiments.sweeps.cells import Cell, Measured, metric_names
from securerec.experiments.sweeps.references import REFERENCES
from securerec.experiments.tradeoff.methods import KINDS, WITH_EPSILON
from securerec.experiments.tradeoff.tuning import tuned_epsilon
from securerec.privacy.accounting import central_epsilon, local_epsilon

ONE_DAY = 86_400.0
"""In the unit of timestamps, seconds."""

NOT_CHARGED = (
    "settings under privacy, and those of the references, were chosen on validation data (the defaults on that of "
    "ML-100K and ML-1M): "
    "no epsilon here is charged for that"
)
AS_IF = "summed in the clear, as if summed securely: every secure sum opens the same integers"
SIMULATED = "noise from seeds: epsilons hold in simulation only"


@dataclass(frozen=True, slots=True)
class Leak:
    """How well the items of each device are recovered: mean AUC over devices, the strongest of all attacks, releases
    and rounds, and popularity's beside it. Bounds are over devices, each the mean of the seeds'; None where not known.
    """

    auc: float
    low: float | None
    high: float | None
    popularity: float
    attack: str
    view: str
    release: str


@dataclass(frozen=True, slots=True)
class Point:
    """A method (or reference) at one kind of trust and one epsilon.

    figures: by "clean.hr@10" and the like, over all users. returned: the same over users whose test item came more than
    a day after their newest training item; None without such users or without times. beyond_popularity: of the first
    metric, paired by user. spent: epsilons from the ledgers, the largest of the seeds; None for a reference. tuned:
    what they would be had the settings been the best of several trials; None where not asked for. as_if: sums were
    taken in the clear where a secure sum is spoken of. seconds: of a run, the mean.
    """

    dataset: str
    label: str
    kind: str
    epsilon: float | None
    seeds: tuple[int | None, ...]
    users: int
    figures: dict[str, Interval]
    returned_users: int
    returned: dict[str, Interval] | None
    beyond_popularity: Interval | None
    spent: dict[str, Any] | None
    tuned: dict[str, Any] | None
    leak: Leak | None
    as_if: bool
    seconds: float

    @property
    def name(self) -> str:
        """For people."""
        return REFERENCES[self.label].label if self.kind == "reference" else self.label

    def to_json(self) -> dict[str, Any]:
        """Plain data under the names of the fields; intervals as [mean, low, high]."""
        return {
            "dataset": self.dataset, "method": self.label, "kind": self.kind, "epsilon": self.epsilon,
            "seeds": list(self.seeds), "users": self.users, "figures": _plain(self.figures),
            "returned_users": self.returned_users,
            "returned_after_a_day": None if self.returned is None else _plain(self.returned),
            "beyond_popularity": None if self.beyond_popularity is None else list(self.beyond_popularity),
            "privacy": self.spent, "tuned": self.tuned,
            "attack": None if self.leak is None else {
                "auc": [self.leak.auc, self.leak.low, self.leak.high], "popularity": self.leak.popularity,
                "attack": self.leak.attack, "view": self.leak.view, "release": self.leak.release,
            },
            "seconds_a_run": self.seconds,
        }  # fmt: skip


def points(
    dataset: Dataset, cells: Sequence[Cell], measured: Mapping[str, Measured], *, mean_trials: float | None = None
) -> list[Point]:
    """One point for each place of a data set's cells, in their order, over the seeds that were measured.

    mean_trials: also state epsilons as if the settings had been the best of so many trials.
    """
    places: dict[tuple[str, str, float | None], list[tuple[Cell, Measured]]] = {}
    for cell in cells:
        found = measured.get(cell.digest())
        if found is not None:
            places.setdefault((cell.label, cell.kind, cell.epsilon), []).append((cell, found))
    late = returned_users(dataset)
    popular = next((each[0][1] for (label, *_), each in places.items() if label == "popularity"), None)
    return [_point(each, late, popular, mean_trials) for each in places.values()]


def returned_users(dataset: Dataset) -> NDArray[np.int64]:
    """Users whose test item came more than a day after their newest training item, rising; none without times."""
    gaps = gaps_before_test(dataset)
    # Not a number for a user without a held-out item, who is not among them.
    return np.zeros(0, np.int64) if gaps is None else np.flatnonzero(gaps > ONE_DAY)


def _point(
    found: list[tuple[Cell, Measured]], late: NDArray[np.int64], popular: Measured | None, mean_trials: float | None
) -> Point:
    cell, first = found[0]
    names = metric_names(cell)
    stacked = {name: np.stack([measured.values[name] for _, measured in found]) for name in names}
    among = np.isin(first.users, late)
    beyond = None
    if popular is not None and cell.label != "popularity" and np.array_equal(popular.users, first.users):
        beyond = interval_of(stacked[names[0]] - popular.values[names[0]], low=-1.0, high=1.0)
    return Point(
        dataset=cell.dataset, label=cell.label, kind=cell.kind, epsilon=cell.epsilon,
        seeds=tuple(each.seed for each, _ in found), users=len(first.users),
        figures={name: interval_of(values) for name, values in stacked.items()},
        returned_users=int(among.sum()),
        returned={name: interval_of(values[:, among]) for name, values in stacked.items()}
        if among.any() else None,
        beyond_popularity=beyond, spent=_spent(found), tuned=_tuned(found, mean_trials), leak=_leak(found),
        as_if=cell.kind == "central" and cell.config.protocol.protocol == "plain",
        seconds=float(np.mean([measured.seconds for _, measured in found])),
    )  # fmt: skip


def spent(cell: Cell, measured: Measured) -> dict[str, Any] | None:
    """What a run's ledger adds up to, with all that the figures mean; infinite epsilons are None."""
    if measured.events is None:
        return None
    delta = cell.config.privacy.delta
    central, local = central_epsilon(measured.events, delta=delta), local_epsilon(measured.events, delta=delta)
    return {
        "central_epsilon": _finite(central.epsilon),
        "local_epsilon": _finite(local.epsilon),
        "unit": central.unit,
        "delta": delta,
        "relation": central.relation,
        "local_relation": local.relation,
        "accountant": central.accountant,
        "reproducible_noise": central.reproducible_noise,
    }


def _spent(found: list[tuple[Cell, Measured]]) -> dict[str, Any] | None:
    each = [figures for cell, measured in found if (figures := spent(cell, measured)) is not None]
    if not each:
        return None
    return each[0] | {name: _largest([one[name] for one in each]) for name in ("central_epsilon", "local_epsilon")}


def _tuned(found: list[tuple[Cell, Measured]], mean_trials: float | None) -> dict[str, Any] | None:
    cell = found[0][0]
    if mean_trials is None or cell.kind not in WITH_EPSILON:
        return None
    against: Literal["central", "local"] = "central" if cell.kind == "central" else "local"
    each = [
        tuned_epsilon(measured.events or (), mean_trials=mean_trials, delta=cell.config.privacy.delta, against=against)
        for cell, measured in found
    ]
    worst = max(each, key=lambda one: one.epsilon)
    return {
        "epsilon": worst.epsilon, "by_law": worst.epsilons, "against": against, "mean_trials": mean_trials,
        "one_trial": worst.one_trial, "accountant": "rdp",
    }  # fmt: skip


def _leak(found: list[tuple[Cell, Measured]]) -> Leak | None:
    strongest = [max(each.findings, key=lambda one: one["result"][0]) for _, each in found if each.findings]
    if not strongest:
        return None
    results = [finding["result"] for finding in strongest]
    sides = [[result[side] for result in results] for side in (1, 2)]
    bounds = [None if None in side else float(np.mean(side)) for side in sides]
    best = max(strongest, key=lambda finding: finding["result"][0])
    popularity = float(np.mean([finding["controls"]["popularity"][0] for finding in strongest]))
    auc = float(np.mean([result[0] for result in results]))
    return Leak(auc, bounds[0], bounds[1], popularity, best["attack"], best["view"], best["release"])


def kind_label(kind: str) -> str:
    """For people."""
    return next((label for name, label in KINDS.items() if name == kind), kind)


def _plain(figures: Mapping[str, Interval]) -> dict[str, list[float]]:
    return {name: list(interval) for name, interval in figures.items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _largest(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else None
