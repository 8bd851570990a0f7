"""Which masks are left in the sum, from the shares that clients gave."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from protocols.pairwise import keys, shamir
from protocols.pairwise.graph import Graph
from protocols.pairwise.masks import MaskSum
from protocols.pairwise.post import Post
from protocols.pairwise.wire import SHARE_BYTES
from protocols.roles.server import Spool


class ShareError(Exception):
    """A secret that the shares given do not open; the message is the end of a sentence."""


class Opening:
    """Collects shares and turns them into masks. Clients are numbered as in the graph, 0 to n - 1."""

    def __init__(self, graph: Graph, threshold: int, spool: Spool, first: int) -> None:
        """threshold: shares that open a secret. spool, first: see `Post`."""
        self._graph, self._threshold = graph, threshold
        # Each owner is either alive or gone, so one share of one kind is all that there is for each giver.
        self._post = Post(graph, SHARE_BYTES, spool, first)
        self._gave = np.zeros(graph.n_clients, bool)

    def __repr__(self) -> str:
        return f"Opening({int(np.count_nonzero(self._gave))} clients)"

    def take(self, giver: int, boxes: NDArray[np.bool_], shares: memoryview) -> None:
        """A client's shares, 32 each, of the neighbours whose boxes it had: boxes (k,) bool by place."""
        self._post.put(giver, boxes, shares)
        self._gave[giver] = True

    def masks(
        self,
        ids: NDArray[np.int64],
        *,
        shared: NDArray[np.bool_],
        alive: NDArray[np.bool_],
        mask_keys: Mapping[int, bytes],
        commitments: Mapping[int, bytes],
        about: bytes,
        width: int,
        length: int,
    ) -> NDArray[np.uint64]:
        """The sum of all masks in the uploads of those alive, (length,) uint64 below 2^width. To be called once.

        ids (n,), shared, alive (n,): who they are, shared their secrets, uploaded. mask_keys: by id. commitments: by
        number. about: the round's digest. Raises ShareError.
        """
        self._post.sort()
        total = MaskSum(width, length)
        for i in range(self._graph.n_clients):
            client = int(ids[i])
            if alive[i]:
                image = partial(keys.commitment, about, client)
                secret = self._open(i, image, commitments[i], f"own mask of client {client}")
                total.add(keys.self_seed(about, client, secret))
            elif shared[i]:
                raw = self._open(i, _public, mask_keys[client], f"mask key of client {client}")
                private = X25519PrivateKey.from_private_bytes(raw)
                neighbours = self._graph.neighbours(i)
                for other in ids[neighbours[alive[neighbours]]].tolist():
                    seed = keys.mask_seed(about, other, client, keys.exchange(private, mask_keys[other], other))
                    # As `other` put it into its upload.
                    (total.add if other < client else total.subtract)(seed)
        return total.values()

    def _open(self, owner: int, image: Callable[[bytes], bytes], expected: bytes, what: str) -> bytes:
        """The owner's secret, whose image is what it announced."""
        # By the place that the giver has with the owner.
        xs_given = np.flatnonzero(self._gave[self._graph.neighbours(owner)]) + 1
        if len(xs_given) < self._threshold:
            raise ShareError(f"{len(xs_given)} shares came that open the {what}, and it takes {self._threshold}.")
        shares = self._post.delivered(owner)
        for xs in self._choices(xs_given):
            secret = shamir.join(xs, shares[xs - 1])
            if image(secret) == expected:
                return secret
        raise ShareError(
            f"the shares of the {what} do not fit what was announced before: that client lied, or those who gave them."
        )

    def _choices(self, xs: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Sets of t holders, going round those who gave a share: some set leaves out any one wrong share, if there are
        more than t. Without wrong shares the first will do.
        """
        starts = len(xs) if len(xs) > self._threshold else 1
        for start in range(starts):
            yield np.roll(xs, -start)[: self._threshold]


def _public(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
