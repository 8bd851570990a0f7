"""What only a device knows is in no repr: it would end in a log or a traceback's locals."""

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator

import numpy as np

import securerec
from securerec.federation.devices import Enrolment, LocalUpdates
from securerec.models.head import Head, Heads
from securerec.models.scorers import ScoreFunctions
from securerec.training.updates import RowUpdates

PACKAGES = ("federation", "models", "training", "evaluation")
PRIVATE = {"tastes", "weights", "biases", "rows", "delta", "recorded", "noise_secret", "identities"}
"""Fields by whose names private arrays and keys go."""
HELD = {"heads", "functions", "updates"}
"""What holds such arrays, of what is sent to the processes that play devices."""


def dataclasses_of_the_packages() -> Iterator[type]:
    for module in pkgutil.walk_packages(securerec.__path__, "securerec."):
        if module.name.split(".")[1] in PACKAGES:
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module.name:
                    yield value


def test_fields_of_private_arrays_are_in_no_repr() -> None:
    shown, seen = [], set()
    for kind in dataclasses_of_the_packages():
        for field in dataclasses.fields(kind):
            array = any(word in str(field.type) for word in ("ndarray", "bytes", "Floats", "Table"))
            private = field.name in PRIVATE and array or kind in (Enrolment, LocalUpdates) and field.name in HELD
            if private and kind.__repr__ is not object.__repr__:
                seen.add(kind.__name__)
                shown += [f"{kind.__module__}.{kind.__name__}.{field.name}"] if field.repr else []
    assert {"Heads", "ScoreFunctions", "RowUpdates", "CohortUpdate", "Enrolment", "LocalUpdates"} <= seen
    assert shown == []


def test_what_holds_private_arrays_shows_none_of_them() -> None:
    secret, public = np.full((1, 3), 0.123456, np.float32), np.full((2, 3), 0.75, np.float32)
    heads = Heads(Head(np.zeros(2, np.float32), public), secret)
    functions = ScoreFunctions(secret, secret[:, 0])
    updates = RowUpdates(np.arange(1), np.array([0, 1]), np.array([123456], np.int32), secret)
    work = LocalUpdates(1, public, np.arange(1), updates, functions, "round")
    for each in (heads, functions, updates, work):
        assert "123456" not in repr(each)
    assert "0.75" in repr(work)
