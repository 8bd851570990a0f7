"""The known attacks. A module in this package that registers a function is found without being named anywhere else.

Every attack serves a goal: what is guessed at. The goal makes the evidence out of a case, so that an attack receives
what its adversary would have and nothing else; runs the attack; holds its answer to the goal's contract; and scores it
against the truth, beside controls.
"""

import importlib
import pkgutil
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np

from attacks.case import Case
from attacks.errors import AttackError
from attacks.findings import Finding
from attacks.views import Kind

Evidence = TypeVar("Evidence")
Answer = TypeVar("Answer")

Rounds = Literal["each", "all"]


@dataclass(frozen=True, slots=True)
class Attack(Generic[Evidence, Answer]):
    """name: as in findings. kinds: the views it applies to. rounds: whether it is run on each recorded round by itself
    or on all together. adversary, source, summary: sentences for `--list`.
    """

    name: str
    goal: "Goal[Evidence, Answer]"
    kinds: tuple[Kind, ...]
    rounds: Rounds
    adversary: str
    source: str
    summary: str
    run: Callable[[Evidence], Answer]


class Goal(ABC, Generic[Evidence, Answer]):
    """What attacks guess at. One instance a module of `attacks.goals`; its attacks name it when they register."""

    name: ClassVar[str]
    question: ClassVar[str]
    through_sums: ClassVar[bool] = False
    """Whether the goal makes sums over cohorts out of recorded uploads, and shows its attacks nothing else of them."""

    @abstractmethod
    def evaluate(self, attack: Attack[Evidence, Answer], case: Case, rng: np.random.Generator) -> list[Finding]:
        """Run the attack on all of the case that it applies to; no finding where the case has nothing for it.

        rng: draws what the auditor draws (folds, shuffles, bootstrap); attacks are deterministic. Raises AttackError
        for an answer that breaks the goal's contract, ViewError for a case that contradicts itself.
        """


_attacks: dict[str, Attack[Any, Any]] = {}


def register(
    goal: Goal[Evidence, Answer],
    *,
    name: str,
    kinds: tuple[Kind, ...],
    adversary: str,
    source: str,
    summary: str,
    rounds: Rounds = "each",
) -> Callable[[Callable[[Evidence], Answer]], Callable[[Evidence], Answer]]:
    """Decorator that makes a function from evidence to an answer a known attack.

    Raises AttackError for a name in use.
    """

    def add(run: Callable[[Evidence], Answer]) -> Callable[[Evidence], Answer]:
        if name in _attacks:
            raise AttackError(f"two attacks are called {name}")
        _attacks[name] = Attack(name, goal, kinds, rounds, adversary, source, summary, run)
        return run

    return add


def all_attacks() -> list[Attack[Any, Any]]:
    """Every registered attack by goal and name, after importing every module of this package."""
    package = importlib.import_module("attacks")
    for module in pkgutil.walk_packages(package.__path__, "attacks."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return sorted(_attacks.values(), key=lambda attack: (attack.goal.name, attack.name))


def run_attacks(
    case: Case,
    *,
    seed: int = 0,
    attacks: Sequence[Attack[Any, Any]] | None = None,
    before: Callable[[Attack[Any, Any]], None] = lambda attack: None,
) -> list[Finding]:
    """Run each attack on what it applies to. attacks: all known ones if None. before: told of each attack in turn.

    Each attack has a generator of its own, from the seed and its name, so that another attack changes none of its
    figures. Raises AttackError and ViewError, as `Goal.evaluate`.
    """
    findings = []
    for attack in all_attacks() if attacks is None else attacks:
        before(attack)
        rng = np.random.default_rng([seed, zlib.crc32(attack.name.encode())])
        findings += attack.goal.evaluate(attack, case, rng)
    return findings
