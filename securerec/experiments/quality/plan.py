"""Which cells a comparison has: data sets, learners and references, and seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from securerec.config import Config, DataSettings, EvaluationSettings, make_config
from securerec.data.dataset import Dataset
from securerec.errors import ConfigError
from securerec.experiments.quality.learners import LEARNERS
from securerec.experiments.sweeps.cells import Cell, Protocol
from securerec.experiments.sweeps.layers import layered
from securerec.experiments.sweeps.references import REFERENCES

_SET_BY_THE_COMPARISON = ("seed", "data.dataset", "privacy.privacy", "protocol.protocol", "evaluation.published")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is compared. seeds: that many, from 0. references: names. settings: of every run, nested as in a
    configuration file; a learner's own go before them.
    """

    learners: Sequence[str] = tuple(LEARNERS)
    references: Sequence[str] = tuple(REFERENCES)
    seeds: int = 5
    settings: Mapping[str, Any] = field(default_factory=dict)

    def cells(self, dataset: Dataset) -> list[Cell]:
        """All cells on a data set, references last. Raises ConfigError naming what cannot be compared."""
        self._check()
        protocols = protocols_of(dataset)
        # Seed after seed, so that a comparison that is stopped has whole tables first.
        cells = [self._cell(dataset, name, seed, protocols) for seed in range(self.seeds) for name in self.learners]
        for name in self.references:
            reference = REFERENCES[name]
            if reference.most_items is not None and dataset.interactions.n_items > reference.most_items:
                continue
            for seed in range(self.seeds) if reference.random else (None,):
                config = Config(
                    seed=seed, data=DataSettings(dataset=dataset.name),
                    evaluation=EvaluationSettings(published="published" in protocols),
                )  # fmt: skip
                digest = dataset.digest()
                cells.append(Cell(dataset.name, digest, name, "reference", None, seed, config, protocols))
        return cells

    def _check(self) -> None:
        for what, given, known in (("learner", self.learners, LEARNERS), ("reference", self.references, REFERENCES)):
            unknown = [name for name in given if name not in known]
            if unknown:
                raise ConfigError(f"there is no {what} {unknown[0]!r}: choose among {', '.join(known)}")
        if not self.learners and not self.references:
            raise ConfigError("a comparison needs at least one learner or reference")
        if self.seeds < 1:
            raise ConfigError(f"a comparison needs at least one seed, not {self.seeds}")
        for place in _SET_BY_THE_COMPARISON:
            section, _, key = place.rpartition(".")
            there = self.settings.get(section, {}) if section else self.settings
            if isinstance(there, Mapping) and key in there:
                raise ConfigError(f"the comparison sets {place} by itself: leave it out of the settings")

    def _cell(self, dataset: Dataset, name: str, seed: int, protocols: tuple[Protocol, ...]) -> Cell:
        compared = {
            "seed": seed,
            "data": {"dataset": dataset.name},
            "privacy": {"privacy": False},
            "protocol": {"protocol": "plain"},
            "evaluation": {"published": "published" in protocols},
        }
        config = make_config(layered(layered(self.settings, LEARNERS[name].settings), compared)).resolved(
            dataset.interactions.n_users, dataset.interactions.n_items
        )
        return Cell(dataset.name, dataset.digest(), name, "none", None, seed, config, protocols)


def protocols_of(dataset: Dataset) -> tuple[Protocol, ...]:
    """Of evaluation. Where users have items twice, a held-out item may be in training too, as some papers had it: then
    only the published one means something.
    """
    return ("published",) if dataset.has_repeats else ("published", "clean", "full")
