"""Who shares a mask with whom, and how many neighbours it takes to open a client's secrets.

The clients stand on a ring in a random order; the neighbours of each are the k/2 before it and the k/2 behind it (a
Harary graph over a random permutation, as in Bell et al. 2020, section 3). In a small cohort everybody is everybody's
neighbour.

What the threshold t is for. Let every honest client have L corrupt neighbours on one side and R on the other, with
2 t > k + L + 2 R whichever side is which. Then, whatever a server says to whom:

1. No client's two secrets are both opened: an honest neighbour gives one kind of share, so both kinds together need
   2 t <= k + L + R.
2. A client that helps to unmask is not opened as one that left. It helps only if t neighbours confirmed a survivor set
   with itself in it; an honest one of them gives no share of its mask key, so that too would need 2 t <= k + L + R.
3. Whoever is opened as a survivor has an honest helper before it and one behind it, for one side and all corrupt ones
   are too few: k/2 + R < t. By 2 no helper is opened as gone; each was shown a proof that the two are masked with each
   other; so whoever learns a sum with one in it has the other in it. Suppose two such sums, apart. Both go round the
   ring in steps of at most k/2, so somewhere u of the one is followed by v of the other, at a distance d <= k/2 with
   members of neither between. The k + d + 1 places within k/2 of either hold u, its at least t - X_u honest helpers,
   v, and its t - X_v; and no member on d - 1 places between, nor on corrupt ones. Counting gives
   2 t <= k + (corrupt near both) + (corrupt between) <= k + L + 2 R. So the server opens one sum, over all honest
   helpers and more, or none.

Not proved: that two far parts of the ring saw the same survivor set. A server can tell them different ones, of which
each is large enough, and so open fewer survivors in all than each part was told; each of them still has t - L - R
honest ones beside it.
"""

import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from numpy.typing import NDArray

from protocols.errors import SetupError, SpecError

PRIVACY_BITS = 40
"""The inequality above fails for some client of a round with probability below 2**-PRIVACY_BITS."""

GRINDING_BITS = 40
"""How many graphs, as a power of two, a server may try before it settles on one. The graph's seed covers every client's
fresh key, so it has the time between the clients' advertisements and its own answer, and no more, to try in."""

FAILURE_BITS = 10
"""At the tolerated fraction of dropouts a round is given up with probability below 2**-FAILURE_BITS."""

MAX_NEIGHBOURS = 255
"""As many as Shamir's scheme over GF(256) has holders."""

COMPLETE_UP_TO = 40
"""In cohorts up to this size everybody is everybody's neighbour: it costs little and stands more."""

MIN_CORRUPT = 0.01
"""Every client's own floor: it takes part in no round laid out for fewer corrupt clients."""

_TOLERANCE = struct.Struct("<HH")


@dataclass(frozen=True)
class Tolerance:
    """What a round withstands, in fractions of the cohort, whole thousandths.

    dropout: clients that vanish after they advertised, whenever, independently of the graph. corrupt: clients that work
    with the server. Raises SetupError.
    """

    dropout: float = 0.1
    corrupt: float = 0.01

    def __post_init__(self) -> None:
        for name, low, high in (("dropout", 0.0, 0.45), ("corrupt", MIN_CORRUPT, 0.3)):
            value = getattr(self, name)
            if not low <= value <= high or abs(1000 * value - round(1000 * value)) > 1e-9:
                raise SetupError(
                    f"The tolerated fraction {name} goes from {low} to {high} in thousandths, not {value!r}."
                )

    def encode(self) -> bytes:
        """The public keys of a setup: 4 bytes, thousandths, u16 each."""
        return _TOLERANCE.pack(round(1000 * self.dropout), round(1000 * self.corrupt))

    @classmethod
    def decode(cls, data: bytes) -> "Tolerance":
        """Inverse of `encode`; no bytes stand for the default. Raises SetupError."""
        if not data:
            return cls()
        if len(data) != _TOLERANCE.size:
            raise SetupError(f"A setup of pairwise masks has 0 or {_TOLERANCE.size} bytes of keys, not {len(data)}.")
        dropout, corrupt = _TOLERANCE.unpack(data)
        return cls(dropout / 1000, corrupt / 1000)


@dataclass(frozen=True)
class Design:
    """degree: k, the neighbours of each client. threshold: t, how many of them it takes."""

    degree: int
    threshold: int


@lru_cache(maxsize=256)
def design(n_clients: int, tolerance: Tolerance) -> Design:
    """The sparsest graph for a cohort of this size, 2 or more.

    Of a client's n - 1 others, ceil(corrupt n) are corrupt and ceil(dropout n) gone, and it has k/2 random ones on each
    side: corrupt ones and gone ones among them are hypergeometric. q is the smallest number with 2 n P(L + 2 R > q) <=
    2**-(PRIVACY_BITS + GRINDING_BITS), t = (k + q) // 2 + 1, and k the smallest even number with n P(fewer than t of k
    left) <= 2**-FAILURE_BITS (for the plan of the argument compare Bell et al. 2020, section 3).

    In a cohort of COMPLETE_UP_TO, and where that would not be less than everybody: the complete graph, k = n - 1,
    with t = (k + X) // 2 + 1 for X = ceil(corrupt n), at most k. All are adjacent, so points 1 and 2 are as above,
    and two sums apart would need 2 (t - X + 1) <= n - X. It withstands k - t dropouts, in the smallest cohorts fewer
    than the tolerated fraction. Raises SpecError where more than MAX_NEIGHBOURS would be needed.
    """
    others = n_clients - 1
    bad = min(others, math.ceil(tolerance.corrupt * n_clients - 1e-9))
    gone = min(others, math.ceil(tolerance.dropout * n_clients - 1e-9))
    private = 2.0 ** -(PRIVACY_BITS + GRINDING_BITS) / (2 * n_clients)
    failing = 2.0**-FAILURE_BITS / n_clients
    degrees = range(2, min(others, MAX_NEIGHBOURS + 1), 2) if n_clients > COMPLETE_UP_TO else range(0)
    for degree in degrees:
        weight = int(np.argmax(weighted_tail(others, bad, degree // 2)[1:] <= private))
        threshold = (degree + weight) // 2 + 1
        # Fewer than t left is more than k - t gone.
        if threshold <= degree and tail(others, gone, degree)[degree - threshold + 1] <= failing:
            return Design(degree, threshold)
    if others > MAX_NEIGHBOURS:
        raise SpecError(
            f"In a cohort of {n_clients}, {tolerance.dropout:.1%} dropouts beside {tolerance.corrupt:.1%} corrupt "
            f"clients would take more than {MAX_NEIGHBOURS} neighbours each: tolerate less, or sum smaller cohorts."
        )
    return Design(others, min(others, (others + bad) // 2 + 1))


def tail(population: int, marked: int, drawn: int) -> NDArray[np.float64]:
    """P(at least x marked among `drawn` of the population), for x from 0 to drawn + 1; (drawn + 2,) float64."""
    x = np.arange(drawn + 1)
    return _reversed_sums(
        np.exp(_choose(marked, x) + _choose(population - marked, drawn - x) - _choose(population, np.array(drawn)))
    )


def weighted_tail(population: int, marked: int, side: int) -> NDArray[np.float64]:
    """P(L + 2 R >= x) for the marked among two disjoint draws of `side` each; x from 0 to 3 side + 1."""
    left, right = np.meshgrid(np.arange(side + 1), np.arange(side + 1))
    logs = _choose(side, left) + _choose(side, right) + _choose(population - 2 * side, marked - left - right)
    joint = np.exp(logs - _choose(population, np.array(marked)))
    return _reversed_sums(np.bincount((left + 2 * right).ravel(), joint.ravel()))


def _reversed_sums(probability: NDArray[Any]) -> NDArray[np.float64]:
    return np.append(np.cumsum(probability[::-1])[::-1], 0.0)


def _choose(n: int, x: NDArray[np.int64]) -> NDArray[np.float64]:
    """The logarithm of n choose x; of nothing outside 0 to n."""
    logs = _log_factorials(n)
    inside = (x >= 0) & (x <= n)
    x = np.where(inside, x, 0)
    return np.where(inside, logs[n] - logs[x] - logs[n - x], -np.inf)


@lru_cache(maxsize=16)
def _log_factorials(n: int) -> NDArray[np.float64]:
    return np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, n + 1)))))


class Graph:
    """The neighbours of everybody. Clients are numbered from 0 in the order of their ids.

    ring: the clients (n,) as they stand on it. A client's neighbours have places 0 to k - 1. Where v has place j with
    u, u has place mirror[j] with v.
    """

    def __init__(self, n_clients: int, degree: int, seed: bytes) -> None:
        """seed: 32 bytes that nobody could choose."""
        self.n_clients = n_clients
        stream = Cipher(ChaCha20(seed, bytes(16)), None).encryptor().update(bytes(8 * n_clients))
        self.ring: NDArray[np.int64] = np.argsort(np.frombuffer(stream, "<u8"), kind="stable")
        self._rank = np.empty(n_clients, np.int64)
        self._rank[self.ring] = np.arange(n_clients)
        if degree == n_clients - 1:
            self._steps = np.arange(1, n_clients)
            self.mirror = np.arange(degree)[::-1].copy()
        else:
            half = np.arange(1, degree // 2 + 1)
            self._steps = np.concatenate((half, -half))
            self.mirror = (np.arange(degree) + degree // 2) % degree

    def neighbours(self, client: int | NDArray[np.int64]) -> NDArray[np.int64]:
        """The client's neighbours by place, (k,) int64; of several clients (m,), a row for each."""
        found: NDArray[np.int64] = self.ring[np.add.outer(self._rank[client], self._steps) % self.n_clients]
        return found
