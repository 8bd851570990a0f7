"""How shares are checked client by client: members return a blinded projection of each, and those lie on a polynomial.

With a key's share y at a member, the share b of a random number that the client shared along with it, and weights w
that nobody but the server could know when the client shared, the member returns p = sum_i w_i y_i + b, for each prime.
Shares on polynomials of degree below the threshold give projections on one; others do with a probability of 1 / q,
and where q is small there are several such checks. Of a key, the projections of all members tell nothing: b makes them
values of a uniform polynomial. docs/committee.md has the argument, and what the weights have to be bound to.
"""

import os

import numpy as np
from numpy.typing import NDArray

from protocols.committee.expansion import projection_weights, share_from_seed
from protocols.committee.parameters import Parameters
from protocols.key_stream import SEED_BYTES
from protocols.ring import Weights
from protocols.transcript import digest


def with_blind(parameters: Parameters, key: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """What a client shares, in the layout `Parameters.share`: the key, (primes, degree), and fresh uniform numbers.

    Those come from the operating system's randomness.
    """
    return np.hstack((key, share_from_seed(os.urandom(SEED_BYTES), parameters.primes, parameters.checks)))


class Projection:
    """The projection of one round: the same for all members and clients, as they know one round digest and secret."""

    def __init__(self, parameters: Parameters, round_digest: bytes, secret: bytes) -> None:
        """round_digest: see `wire`. secret: the server's, that the round's broadcast commits to."""
        challenge = digest("committee challenge", round_digest, secret)
        primes, self._degree = parameters.primes, parameters.degree
        weights = projection_weights(challenge, primes, parameters.checks, self._degree)
        self._weights = [[Weights(row, q) for row in rows] for rows, q in zip(weights, primes, strict=True)]

    def of(self, shares: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """The blinded projections, in the layout `Parameters.projections`.

        shares: (primes, clients, count) uint64, each client's in the layout `Parameters.share`.
        """
        out = np.empty((len(shares), shares.shape[1], len(self._weights[0])), np.uint64)
        for projections, rows, checks in zip(out, shares, self._weights, strict=True):
            for check, weights in enumerate(checks):
                blinds = rows[:, self._degree + check]
                projections[:, check] = (weights.dot(rows) + blinds) % np.uint64(weights.q)
        return out.reshape(len(shares), -1)
