"""Which masks are left in the sum, from the shares that clients gave."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from protocols.pairwise import keys, shamir
from protocols.pairwise.graph import Design
from protocols.pairwise.masks import MaskSum
from protocols.pairwise.post import Post
from protocols.pairwise.wire import SHARE_BYTES


class ShareError(Exception):
    """A secret that the shares given do not open; the message is the end of a sentence."""


class Opening:
    """Collects shares and turns them into masks. Clients are numbered as in the graph, 0 to n - 1."""

    def __init__(self, layout: Design, places: NDArray[np.int64], mirror: NDArray[np.int64]) -> None:
        """places (n, k): neighbours of each client by place; mirror (k,): see `Graph`."""
        self._threshold = layout.threshold
        self._places, self._mirror = places, mirror
        # Each owner is either alive or gone, so one share of one kind is all that there is for each giver.
        self._post = Post(places, mirror, SHARE_BYTES)
        self._gave = np.zeros(places.shape, bool)

    def __repr__(self) -> str:
        return f"Opening({int(np.count_nonzero(self._gave))} shares)"

    def take(self, giver: int, boxes: NDArray[np.bool_], shares: memoryview) -> None:
        """A client's shares, 32 each, of the neighbours whose boxes it had: boxes (k,) bool by place."""
        self._post.put(giver, boxes, shares)
        self._gave[giver] = boxes

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
        # By owner and the place that the giver has with the owner.
        self._shares = self._post.delivered()
        self._given = self._gave[self._places, self._mirror]
        total = MaskSum(width, length)
        for i in np.flatnonzero(alive).tolist():
            client = int(ids[i])
            secret = self._open(
                i, partial(keys.commitment, about, client), commitments[i], f"own mask of client {client}"
            )
            total.add(keys.self_seed(about, client, secret))
        for i in np.flatnonzero(shared & ~alive).tolist():
            gone = int(ids[i])
            raw = self._open(i, _public, mask_keys[gone], f"mask key of client {gone}")
            private = X25519PrivateKey.from_private_bytes(raw)
            neighbours = self._places[i]
            for other in ids[neighbours[alive[neighbours]]].tolist():
                seed = keys.mask_seed(about, other, gone, keys.exchange(private, mask_keys[other], other))
                # As `other` put it into its upload.
                (total.add if other < gone else total.subtract)(seed)
        return total.values()

    def _open(self, owner: int, image: Callable[[bytes], bytes], expected: bytes, what: str) -> bytes:
        """The owner's secret, whose image is what it announced."""
        given = int(np.count_nonzero(self._given[owner]))
        if given < self._threshold:
            raise ShareError(f"{given} shares came that open the {what}, and it takes {self._threshold}.")
        for xs in self._choices(owner):
            secret = shamir.join(xs, self._shares[owner][xs - 1])
            if image(secret) == expected:
                return secret
        raise ShareError(
            f"the shares of the {what} do not fit what was announced before: that client lied, or those who gave them."
        )

    def _choices(self, owner: int) -> Iterator[NDArray[np.int64]]:
        """Sets of t holders, going round those who gave a share: some set leaves out any one wrong share, if there are
        more than t. Without wrong shares the first will do.
        """
        xs = np.flatnonzero(self._given[owner]) + 1
        starts = len(xs) if len(xs) > self._threshold else 1
        for start in range(starts):
            yield np.roll(xs, -start)[: self._threshold]


def _public(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
