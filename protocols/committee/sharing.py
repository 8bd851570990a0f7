"""Shamir's sharing over a ring: each transformed residue of a key by a polynomial of degree threshold - 1.

Member j, counted from 0, holds the value at j + 1; the key is the value at 0. The first threshold - 1 shares are the
expansions of seeds, uniform by themselves; they and the key fix the polynomial, and so the other shares. Any
threshold - 1 shares are uniform whatever the key is, as far as AES-256 in counter mode is a pseudorandom generator
(Shamir 1979).

Shares add: the members' sums over a set of clients are shares of the sum of the keys. The values that such a
polynomial takes form a Reed-Solomon code, so answers beyond the threshold check one another.
"""

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from protocols.committee.expansion import share_from_seed
from protocols.key_stream import SEED_BYTES
from protocols.ring import add_multiple

Residues = NDArray[np.uint64]
"""(primes, count) uint64, each row below its prime."""


@lru_cache(maxsize=256)
def lagrange(points: tuple[int, ...], at: int, q: int) -> tuple[int, ...]:
    """Weights modulo q with which the values at `points` of a polynomial of degree < len(points) give that at `at`."""
    weights = []
    for x in points:
        numerator = denominator = 1
        for other in points:
            if other != x:
                numerator = numerator * (at - other) % q
                denominator = denominator * (x - other) % q
        weights.append(numerator * pow(denominator, -1, q) % q)
    return tuple(weights)


def split(
    secret: Residues, *, members: int, threshold: int, primes: tuple[int, ...]
) -> tuple[list[bytes], list[Residues]]:
    """(the seeds of the first threshold - 1 members, the shares of the others), fresh from the operating system."""
    count = secret.shape[1]
    seeds = [os.urandom(SEED_BYTES) for _ in range(threshold - 1)]
    known = [secret, *(share_from_seed(seed, primes, count) for seed in seeds)]
    points = tuple(range(threshold))
    shares = [_interpolate(known, points, at + 1, primes) for at in range(threshold - 1, members)]
    for row in known[1:]:
        row.fill(0)
    return seeds, shares


def combine(shares: Mapping[int, Residues], *, threshold: int, primes: tuple[int, ...]) -> Residues:
    """The secret, from the shares of at least `threshold` members, by member; the lowest of them are used."""
    used = sorted(shares)[:threshold]
    if len(used) < threshold:
        raise ValueError(f"{len(used)} shares do not determine a secret that {threshold} hold.")
    return _interpolate([shares[j] for j in used], tuple(j + 1 for j in used), 0, primes)


def consistent(shares: Mapping[int, Residues], *, threshold: int, primes: tuple[int, ...]) -> bool:
    """Whether all shares lie on polynomials of degree below the threshold. Always so for `threshold` of them."""
    return not inconsistent(shares, threshold=threshold, primes=primes).any()


def inconsistent(shares: Mapping[int, Residues], *, threshold: int, primes: tuple[int, ...]) -> NDArray[np.bool_]:
    """(count,) bool: in which columns the shares lie on no polynomial of degree below the threshold, for some prime.

    By the dual code: with v_j = 1 / prod_(i != j) (x_j - x_i), sum_j v_j x_j^k y_j = 0 for all k < r - threshold, r the
    number of shares, if and only if the y_j are such values (MacWilliams, Sloane, chapter 10, theorem 4).
    """
    points = [j + 1 for j in sorted(shares)]
    rows = [shares[j] for j in sorted(shares)]
    found = np.zeros(rows[0].shape[1], bool)
    for index, q in enumerate(primes):
        for k in range(len(points) - threshold):
            parity = np.zeros(len(found), np.uint64)
            for x, row in zip(points, rows, strict=True):
                spread = 1
                for other in points:
                    spread = spread * (x - other if other != x else 1) % q
                add_multiple(parity, row[index].view(np.int64), pow(x, k, q) * pow(spread, -1, q), q)
            found |= parity != 0
    return found


def wrong_shares(shares: Mapping[int, Residues], *, threshold: int, primes: tuple[int, ...]) -> frozenset[int] | None:
    """The members whose shares do not fit the others', or None where the shares cannot tell.

    Of r shares, e wrong ones are found if 2 e <= r - threshold: no other set as small explains them, since the rest
    and any rest left by another such set have `threshold` members in common (unique decoding).
    """
    members = sorted(shares)
    for n_wrong in range((len(members) - threshold) // 2 + 1):
        for wrong in combinations(members, n_wrong):
            rest = {j: shares[j] for j in members if j not in wrong}
            if consistent(rest, threshold=threshold, primes=primes):
                return frozenset(wrong)
    return None


def wrong_columns(
    shares: Mapping[int, Residues], *, threshold: int, primes: tuple[int, ...]
) -> dict[int, frozenset[int] | None]:
    """For each column that is inconsistent, what `wrong_shares` would say of it alone."""
    members = sorted(shares)
    left = np.flatnonzero(inconsistent(shares, threshold=threshold, primes=primes))
    found: dict[int, frozenset[int] | None] = dict.fromkeys(left.tolist())
    for n_wrong in range(1, (len(members) - threshold) // 2 + 1):
        for wrong in combinations(members, n_wrong):
            rest = {j: np.ascontiguousarray(shares[j][:, left]) for j in members if j not in wrong}
            bad = inconsistent(rest, threshold=threshold, primes=primes)
            found |= dict.fromkeys(left[~bad].tolist(), frozenset(wrong))
            left = left[bad]
    return found


def _interpolate(rows: Sequence[Residues], points: tuple[int, ...], at: int, primes: tuple[int, ...]) -> Residues:
    out = np.zeros_like(rows[0])
    for index, q in enumerate(primes):
        for row, weight in zip(rows, lagrange(points, at, q), strict=True):
            add_multiple(out[index], row[index].view(np.int64), weight, q)
    return out
