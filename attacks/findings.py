"""What an attack reached, beside what is reached without it: one shape for every attack."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95% interval. A bound that is not known is infinite; one known exactly equals the figure."""

    mean: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> "Estimate":
        """A figure that follows from definitions, such as what chance gives."""
        return cls(value, value, value)

    def to_json(self) -> list[float | None]:
        """[mean, low, high]; None for a bound that is not known."""
        return [value if math.isfinite(value) else None for value in (self.mean, self.low, self.high)]


@dataclass(frozen=True, slots=True)
class Finding:
    """One attack's result on one view.

    attack, goal: as registered. target: what was guessed at, such as "items of each client" or "gender". view: what the
    adversary held. rounds: those it saw. n: how many clients, targets or trials the figures are taken over. measure:
    the name of `result`'s unit, such as "AUC". controls: the same measure for what needs no view ("popularity",
    "chance") and, where the attack cannot exceed it, "upper". beyond: `result` minus the control named `against`, with
    an interval of its own. others: further measures by name.
    """

    attack: str
    goal: str
    target: str
    view: str
    rounds: tuple[int, ...]
    n: int
    measure: str
    result: Estimate
    controls: Mapping[str, Estimate]
    against: str
    beyond: Estimate
    others: Mapping[str, Estimate] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data under the names of the fields; estimates as [mean, low, high]."""
        return {
            "attack": self.attack,
            "goal": self.goal,
            "target": self.target,
            "view": self.view,
            "rounds": list(self.rounds),
            "n": self.n,
            "measure": self.measure,
            "result": self.result.to_json(),
            "controls": {name: control.to_json() for name, control in self.controls.items()},
            "against": self.against,
            "beyond": self.beyond.to_json(),
            "others": {name: other.to_json() for name, other in self.others.items()},
        }
