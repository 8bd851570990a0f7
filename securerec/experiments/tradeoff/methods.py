"""The methods that a sweep compares: a name, the settings that make it, and a sentence. One more is one more line."""

from dataclasses import dataclass, field
from typing import Any

from securerec.experiments.sweeps.cells import Kind

KINDS: dict[Kind, str] = {
    "central": "secure sum",
    "local": "no secure sum, local noise",
    "nothing": "nothing uploaded",
    "none": "no privacy",
}

WITH_EPSILON: tuple[Kind, ...] = ("central", "local")


@dataclass(frozen=True, slots=True)
class Method:
    """settings: nested as in a configuration file, on top of the defaults. head: whether it has a private head, which
    works with nothing uploaded; without one, devices by themselves do what the reference `local-only` does.
    """

    name: str
    sentence: str
    settings: dict[str, Any] = field(default_factory=dict)
    head: bool = False


NO_ROUNDS: dict[str, Any] = {"training": {"rounds": 0}}
WITHOUT_UPLOADS: dict[str, Any] = {"start": {"segments": ()}} | NO_ROUNDS
"""What is left of a method where nothing is uploaded."""
HEAD_ALONE: dict[str, Any] = {"start": {"head": True, "segments": ()}} | NO_ROUNDS
UNIFORM: dict[str, Any] = {"start": {"head": True, "segments": (), "recency": 0.0}} | NO_ROUNDS

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "auto", "what an epsilon alone chooses: PFedRec, warmly started", {"training": {"model": "auto"}}, head=True
        ),
        Method("start", "the warm start alone, no rounds", {"start": {"head": True}} | NO_ROUNDS, head=True),
        Method("head", "popularity and a private head, no item table", HEAD_ALONE, head=True),
        Method("uniform", "the same head, all interactions weighing alike", UNIFORM, head=True),
        Method("pfedrec", "PFedRec's rounds without item features", {"training": {"model": "pfedrec"}}),
    )
}
