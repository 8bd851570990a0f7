"""Which faults a federation meets: drawn from one seed, so that a plan can be played again."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from securerec.federation.parties.exchange import FAULT_KINDS, Fault

Lie = Literal[
    "two tables", "signed for two", "old letters", "other survivors", "survivors asked twice", "second broadcast"
]
LIES: tuple[Lie, ...] = get_args(Lie)
"""What a lying server does.

two tables: half of the nodes get a table that the broadcast is not signed for. signed for two: two nodes get
another table and a broadcast that is signed for it. old letters: half of the nodes get a letter of an earlier attempt
in place of the present one. other survivors: some decryptors are asked to open a set without one of the survivors.
survivors asked twice: all of them are, after they have opened the whole set. second broadcast: all nodes are asked for
the same attempt again, under another broadcast.
"""

_SINGLE = 0.06
"""Chance that a letter meets a fault of its own."""
_LIES, _KILLS, _DROPOUTS, _MEMBERS_GONE = 0.25, 0.12, 0.4, 0.3
"""Chances: that the server lies in an attempt; that it dies in a delivery; that a large part of the devices is gone in
an attempt; that decryptors are."""
_GONE_KINDS = ("kill before", "kill after", "cut", "delay", "pause")


@dataclass(slots=True)
class Weather:
    """Of one attempt. gone: parties that do not answer, from their letter of this phase on."""

    lie: Lie | None = None
    gone: dict[str, int] = field(default_factory=dict)


class Plan:
    """Draws as the federation goes on: the same seed and the same federation give the same plan."""

    def __init__(
        self, seed: int, *, nodes: list[str], decryptors: list[str], dropouts: float, members_gone: int,
        lies: tuple[Lie, ...] = LIES,
    ) -> None:  # fmt: skip
        """dropouts: share of the nodes that is gone in a bad attempt. members_gone: decryptors likewise. lies: that are
        told, in turn.
        """
        self._rng = np.random.default_rng(seed)
        self._nodes, self._decryptors = nodes, decryptors
        self._dropouts, self._members_gone = dropouts, members_gone
        self._weather, self._lies, self._told = Weather(), lies, 0
        self._phase: dict[str, int] = {}

    @property
    def weather(self) -> Weather:
        return self._weather

    @property
    def rng(self) -> np.random.Generator:
        return self._rng

    def begin(self) -> Weather:
        """An attempt begins, or goes on after the server has died."""
        rng, weather = self._rng, Weather()
        if rng.random() < _LIES:
            weather.lie = self._lies[self._told % len(self._lies)]
            self._told += 1
        if rng.random() < _DROPOUTS:
            count = int(rng.integers(1, round(self._dropouts * len(self._nodes)) + 1))
            chosen = rng.choice(self._nodes, count, replace=False)
            weather.gone |= {str(address): int(rng.integers(0, 5)) for address in chosen}
        if self._decryptors and rng.random() < _MEMBERS_GONE:
            chosen = rng.choice(self._decryptors, min(self._members_gone, len(self._decryptors)), replace=False)
            weather.gone |= {str(address): int(rng.integers(0, 2)) for address in chosen}
        self._weather, self._phase = weather, {}
        return weather

    def fault(self, address: str, letter: bytes) -> Fault | None:
        """What happens to a letter that is about to be delivered."""
        rng, phase = self._rng, self._phase.get(address, 0)
        self._phase[address] = phase + 1
        lasts, place = int(rng.integers(1, 4)), float(rng.random())
        from_phase = self._weather.gone.get(address)
        if from_phase is not None and phase >= from_phase:
            return Fault(_GONE_KINDS[int(rng.integers(len(_GONE_KINDS)))], lasts, place)  # type: ignore[arg-type]
        if rng.random() < _SINGLE:
            return Fault(FAULT_KINDS[int(rng.integers(len(FAULT_KINDS)))], lasts, place)
        return None

    def kill_after(self) -> int | None:
        """After how many answers of a delivery the server dies; None if it lives."""
        if self._rng.random() >= _KILLS:
            return None
        return int(self._rng.integers(0, len(self._nodes)))
