"""What every client trains on in a round: its positives, freshly drawn negatives, in random order.

Each client draws from a stream of its own, keyed by one 64-bit word, so that what a client draws does not depend on who
else is in the cohort. The streams are SplitMix64 (Steele, Lea, Flood 2014): good enough to train with, not for secrets.
"""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from securerec.data.interactions import Interactions
from securerec.errors import DataError


@dataclass(frozen=True, slots=True)
class Draws:
    """One round's training samples of a cohort.

    `codes` (n_samples,) int32 holds `2 * item + label`; client c's samples, in the order of its batches, are
    `codes[offsets[c]:offsets[c + 1]]`.
    """

    offsets: NDArray[np.int64]
    codes: NDArray[np.int32]

    def of(self, client: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Items and labels (0 or 1) of one client, each (n_samples of it,)."""
        codes = self.codes[self.offsets[client] : self.offsets[client + 1]]
        return codes >> 1, codes & 1


def client_keys(rng: np.random.Generator, n_clients: int) -> NDArray[np.uint64]:
    """One key a client, (n_clients,), for `draw`. Pass a generator made from the run's seed and the round."""
    return rng.integers(0, 2**64, size=n_clients, dtype=np.uint64)


class Sampler:
    """Draws a round's samples: every training positive, and `negatives` distinct items beside each.

    A negative of a user is any item outside the user's list in `never_negative`: the training list itself under the
    clean rule; training, validation and test together under the published one (see `securerec.evaluation`).
    """

    def __init__(self, train: Interactions, never_negative: Interactions, *, negatives: int) -> None:
        """Raise DataError when a user has fewer than `negatives` items left to draw from."""
        self._train, self._never, self._negatives = train, never_negative, negatives
        room = train.n_items - never_negative.counts()
        short = np.flatnonzero((room < negatives) & (train.counts() > 0))
        if short.size:
            raise DataError(
                f"user number {short[0]} has touched all but {room[short[0]]} of {train.n_items} items, so {negatives} "
                f"negatives cannot be drawn: set fewer negatives or leave such users out"
            )
        self.offsets = train.offsets * (1 + negatives)

    def draw(self, keys: NDArray[np.uint64], run: "BlockRunner") -> Draws:
        """Samples of all clients; `keys` (n_users,) as from `client_keys`."""
        codes = np.empty(self.offsets[-1], np.int32)

        def block(_: int, first: int, last: int) -> None:
            self.fill(first, last, keys, codes[self.offsets[first] : self.offsets[last]])

        run(block)
        return Draws(self.offsets, codes)

    def fill(self, first: int, last: int, keys: NDArray[np.uint64], codes: NDArray[np.int32]) -> None:
        """Write the samples of clients first..last-1, and of nobody else, into `codes`; `keys` are everybody's."""
        _draw_block(
            first, last, self._train.offsets, self._train.items, self._never.offsets, self._never.items,
            self._train.n_items, self._negatives, keys, codes,
        )  # fmt: skip


BlockRunner = Callable[[Callable[[int, int, int], None]], None]
"""Calls `block(worker, first client, last client)` once for each of some blocks that cover the cohort."""


def block_runner(work: NDArray[np.int64], executor: Executor | None, n_workers: int) -> BlockRunner:
    """Cut a cohort into one block of consecutive clients a worker, equal in `work` (n_clients,), and run them in
    threads.
    """
    total = np.concatenate(([0], np.cumsum(work)))
    cuts = np.searchsorted(total, np.linspace(0, total[-1], n_workers + 1))
    cuts[0], cuts[-1] = 0, len(work)

    def run(block: Callable[[int, int, int], None]) -> None:
        spans = [(worker, int(cuts[worker]), int(cuts[worker + 1])) for worker in range(n_workers)]
        if executor is None or n_workers == 1:
            for span in spans:
                block(*span)
        else:
            for future in [executor.submit(block, *span) for span in spans]:
                future.result()

    return run


@njit(cache=True, nogil=True, inline="always")
def _next(state: np.uint64) -> tuple[np.uint64, np.uint64]:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    z = state
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state, z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True, inline="always")
def _below(state: np.uint64, bound: int) -> tuple[np.uint64, np.int64]:
    """Uniform in [0, bound), bound < 2^32, without bias (Lemire 2019)."""
    limit = np.uint64(bound)
    while True:
        state, word = _next(state)
        product = (word >> np.uint64(32)) * limit
        low = product & np.uint64(0xFFFFFFFF)
        if low >= limit or low >= (np.uint64(0x100000000) - limit) % limit:
            return state, np.int64(product >> np.uint64(32))


@njit(cache=True, nogil=True)
def _draw_block(
    first: int, last: int, offsets: NDArray[np.int64], items: NDArray[np.int32], never_offsets: NDArray[np.int64],
    never_items: NDArray[np.int32], n_items: int, negatives: int, keys: NDArray[np.uint64], codes: NDArray[np.int32],
) -> None:  # fmt: skip
    barred = np.zeros(n_items, np.uint8)
    at = 0
    for client in range(first, last):
        never = never_items[never_offsets[client] : never_offsets[client + 1]]
        for item in never:
            barred[item] = 1
        state = keys[client]
        start = at
        for position in range(offsets[client], offsets[client + 1]):
            codes[at] = 2 * items[position] + 1
            for nth in range(negatives):
                while True:
                    state, item = _below(state, n_items)
                    if barred[item] == 0:
                        break
                barred[item] = 1
                codes[at + 1 + nth] = 2 * item
            for nth in range(negatives):
                barred[codes[at + 1 + nth] >> 1] = 0
            at += 1 + negatives
        for item in never:
            barred[item] = 0
        for position in range(at - start - 1, 0, -1):
            state, other = _below(state, position + 1)
            here = codes[start + position]
            codes[start + position] = codes[start + other]
            codes[start + other] = here
