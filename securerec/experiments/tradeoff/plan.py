"""Which cells a sweep has: data sets, methods, kinds of trust, epsilons and seeds, each with its configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from securerec.config import Config, make_config
from securerec.data.dataset import Dataset
from securerec.errors import ConfigError
from securerec.experiments.sweeps.cells import Cell, Kind
from securerec.experiments.sweeps.layers import layered
from securerec.experiments.sweeps.references import REFERENCES
from securerec.experiments.tradeoff.methods import KINDS, METHODS, WITH_EPSILON, WITHOUT_UPLOADS

ATTACKS = ("rank-1 sign", "common axis", "sum less popularity", "touched-set intersection")
"""On the items of each device: the strongest known ones on each view that need no shadow training."""

_SET_BY_THE_SWEEP = {
    "": ("seed",),
    "data": ("dataset",),
    "training": ("model",),
    "privacy": ("privacy", "epsilon", "local_epsilon", "noise_multiplier"),
    "protocol": ("protocol",),
    "evaluation": ("published",),
    "views": ("record_views",),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is swept. seeds: that many, from 0. protocol: of the sums; the integers, and so all figures, are the same
    under each. attacks: whether runs are attacked too. settings: of every run, nested as in a configuration file; a
    method's own go before them.
    """

    methods: Sequence[str] = ("auto", "pfedrec")
    kinds: Sequence[Kind] = tuple(KINDS)
    epsilons: Sequence[float] = (8.0, 4.0, 2.0, 1.0)
    seeds: int = 3
    protocol: str = "plain"
    attacks: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)

    def cells(self, dataset: Dataset) -> list[Cell]:
        """All cells on a data set, references last. Raises ConfigError naming what cannot be swept."""
        self._check()
        places: list[tuple[str, Kind, float | None]] = []
        for method in dict.fromkeys(self.methods):
            for kind in (kind for kind in KINDS if kind in self.kinds):
                if kind in WITH_EPSILON:
                    places += [(method, kind, epsilon) for epsilon in dict.fromkeys(self.epsilons)]
                elif kind == "none" or METHODS[method].head:
                    places.append((method, kind, None))
        # Seed after seed, so that a sweep that is stopped has whole curves first.
        cells = [
            self._cell(dataset, method, kind, epsilon, seed)
            for seed in range(self.seeds)
            for method, kind, epsilon in places
            # With nothing uploaded nothing is drawn, and every seed is the same.
            if kind != "nothing" or seed == 0
        ]
        return cells + self._references(dataset)

    def _check(self) -> None:
        for what, given, known in (("method", self.methods, METHODS), ("kind", self.kinds, KINDS)):
            unknown = [name for name in given if name not in known]
            if unknown:
                raise ConfigError(f"there is no {what} {unknown[0]!r}: choose among {', '.join(known)}")
        if not self.methods or not self.kinds or (set(self.kinds) & set(WITH_EPSILON) and not self.epsilons):
            raise ConfigError("a sweep needs at least one method, one kind and one epsilon")
        if self.seeds < 1:
            raise ConfigError(f"a sweep needs at least one seed, not {self.seeds}")
        for section, keys in _SET_BY_THE_SWEEP.items():
            there = self.settings.get(section, {}) if section else self.settings
            for key in keys:
                if isinstance(there, Mapping) and key in there:
                    place = f"{section}.{key}" if section else key
                    raise ConfigError(f"the sweep sets {place} by itself: leave it out of the settings")

    def _cell(self, dataset: Dataset, method: str, kind: Kind, epsilon: float | None, seed: int) -> Cell:
        # With nothing uploaded there is nothing to warm up and no round.
        own = METHODS[method].settings
        if kind == "nothing":
            own = layered(own, WITHOUT_UPLOADS)
        # Nothing is recorded where no attack follows.
        attacks = ATTACKS if self.attacks and kind != "nothing" else ()
        swept = {
            "seed": seed,
            "data": {"dataset": dataset.name},
            "privacy": _privacy(kind, epsilon),
            "protocol": {"protocol": self.protocol},
            "evaluation": {"published": False},
            "views": {"record_views": bool(attacks)},
        }
        config = make_config(layered(layered(self.settings, own), swept)).resolved(
            dataset.interactions.n_users, dataset.interactions.n_items
        )
        return Cell(dataset.name, dataset.digest(), method, kind, epsilon, seed, config, attacks=attacks)

    def _references(self, dataset: Dataset) -> list[Cell]:
        base = make_config(dict(self.settings))
        cells = []
        for name, reference in REFERENCES.items():
            if reference.most_items is not None and dataset.interactions.n_items > reference.most_items:
                continue
            for seed in range(self.seeds) if reference.random else (None,):
                # Only what evaluation depends on, so that other settings do not make other references.
                data = base.data.model_copy(update={"dataset": dataset.name})
                evaluation = base.evaluation.model_copy(update={"published": False})
                config = Config(seed=seed, data=data, evaluation=evaluation)
                cells.append(Cell(dataset.name, dataset.digest(), name, "reference", None, seed, config))
        return cells


def _privacy(kind: Kind, epsilon: float | None) -> dict[str, Any]:
    if kind == "central":
        return {"epsilon": epsilon}
    if kind == "local":
        return {"local_epsilon": epsilon}
    return {"privacy": False}
