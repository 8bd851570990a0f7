"""What a lying server knows and may do in one round, and the shape of its attacks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.goals.items import ItemScores

Table = NDArray[np.float32]


class Refused(Exception):
    """The round did not open: the message is what whoever refused it said."""


@dataclass(frozen=True, slots=True, eq=False)
class Situation:
    """A round about to begin, as its server sees it.

    table: (n_items, dim), what an honest server would broadcast. clients: (n,) int64, the cohort. popularity:
    (n_items,) int64, how many of `population` users have each item, public. initial_weights: (dim,), the private vector
    that every device started from. untouched: no device has trained since. step: the table's units to one unit of the
    opened integers.
    """

    round_number: int
    table: Table
    clients: NDArray[np.int64]
    popularity: NDArray[np.int64]
    population: int
    initial_weights: NDArray[np.float32]
    untouched: bool
    step: float


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """What the server has of a round that opened. total: (n_items, dim), the sum of the survivors' changes, in the
    table's units. refusals: by client, the words of those who took no part.
    """

    total: NDArray[np.float64]
    refusals: Mapping[int, str]


Play = Callable[[Mapping[int, Table]], Played]
"""Plays a whole round in which each client is sent the table named for it, (n_items, dim). Raises Refused."""


@dataclass(frozen=True, slots=True)
class TableAttack:
    """name, adversary, source, summary: sentences for tables and lists.

    targets: how many clients one round shows, 0 where none. tables: what each client of the cohort is sent, for these
    targets. read: from the opened total, a guess at the targets' items, (len(targets), n_items).
    """

    name: str
    adversary: str
    source: str
    summary: str
    targets: Callable[[Situation], int]
    tables: Callable[[Situation, Sequence[int]], Mapping[int, Table]]
    read: Callable[[Situation, Sequence[int], NDArray[np.float64]], ItemScores]
