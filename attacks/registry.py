"""The known attacks. A module in this package that registers a function is found without being named anywhere else."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.errors import AttackError
from attacks.views import Kind, UploadView


@dataclass(frozen=True, slots=True, eq=False)
class ItemScores:
    """An attack's guess, one row for each matrix of the view (one row for a sum, which stands for every client in it).

    scores: (n_matrices, n_items) float32, finite, higher for an item that the client more likely has. predicted: the
    same shape, bool, the attack's own yes or no.
    """

    scores: NDArray[np.float32]
    predicted: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Attack:
    """name: as in findings. kinds: the views it applies to. adversary, source, summary: sentences for `--list`."""

    name: str
    kinds: tuple[Kind, ...]
    adversary: str
    source: str
    summary: str
    run: Callable[[UploadView], ItemScores]


_attacks: dict[str, Attack] = {}


def register(
    *, name: str, kinds: tuple[Kind, ...], adversary: str, source: str, summary: str
) -> Callable[[Callable[[UploadView], ItemScores]], Callable[[UploadView], ItemScores]]:
    """Decorator that makes a function from a view to scores a known attack. Raises AttackError for a name in use."""

    def add(run: Callable[[UploadView], ItemScores]) -> Callable[[UploadView], ItemScores]:
        if name in _attacks:
            raise AttackError(f"two attacks are called {name}")
        _attacks[name] = Attack(name, kinds, adversary, source, summary, run)
        return run

    return add


def all_attacks() -> list[Attack]:
    """Every registered attack by name, after importing every module of this package."""
    package = importlib.import_module("attacks")
    for module in pkgutil.walk_packages(package.__path__, "attacks."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return [_attacks[name] for name in sorted(_attacks)]
