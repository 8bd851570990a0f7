"""The client: makes its keys, shares its secrets, masks its values, and helps to unmask the one sum.

It works out itself, from the setup and who advertised, how many neighbours it has and how many it takes; no message can
lower either. What it refuses ends its part in the round, and its secrets are dropped: Python cannot promise that no
copy of them stays in memory, but nothing keeps a reference, and none is ever written or shown.
"""

import os
from bisect import bisect_left

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from protocols.broadcast import Broadcast
from protocols.codec import Kind
from protocols.errors import (
    PhaseError,
    ProtocolError,
    SurvivorsError,
    TooFewClientsError,
    TooManyClientsError,
    WrongKeyError,
    WrongLengthError,
)
from protocols.identity import Identity
from protocols.packing import Streams
from protocols.pairwise import keys, merkle, shamir
from protocols.pairwise.graph import Design, Graph, Tolerance, design
from protocols.pairwise.masks import MaskSum, width_of
from protocols.pairwise.phases import MASKED, PHASES, confirmation, graph_seed, round_digest
from protocols.pairwise.wire import BOX_BYTES, SHARE_BYTES, Neighbours, read_entries, read_survivors
from protocols.roles.client import Client, ClientRound
from protocols.session import Session


class PairwiseClientRound(ClientRound):
    phases = PHASES
    _mask_key: X25519PrivateKey | None
    _secret: bytes | None
    _pairs: list[keys.Pair]
    """By place, until the mailbox is read; then of those whose boxes came."""
    _shares: list[bytes]
    """Of those pairs: share of the mask key, then of the own secret."""

    def __init__(self, session: Session, broadcast: Broadcast) -> None:
        super().__init__(session, broadcast)
        self._tolerance = Tolerance.decode(session.setup.public_keys)
        self._erase()

    def _answer(self, kind: Kind, body: memoryview) -> bytes:
        try:
            match kind:
                case Kind.BROADCAST:
                    return self._advertise()
                case Kind.NEIGHBOURS:
                    return self._share(body)
                case Kind.MAILBOX:
                    return self._upload(body)
                case Kind.SURVIVORS:
                    return self._confirm(body)
                case _:
                    return self._unmask(body)
        except ProtocolError:
            self._erase()
            raise

    def _advertise(self) -> bytes:
        self._mask_key = X25519PrivateKey.generate()
        self._public = self._mask_key.public_key().public_bytes_raw()
        return self._public

    def _share(self, body: memoryview) -> bytes:
        mask_key = self._mask_key
        if mask_key is None:
            raise PhaseError(f"{self._who} holds no mask key any more.")
        clients = self.session.roster.clients
        listed = Neighbours.read(body, len(clients))
        self._ids = np.flatnonzero(listed.advertised)
        n = len(self._ids)
        mine = bisect_left(clients, self.session.me.number, key=lambda party: party.number)
        if not listed.advertised[mine]:
            raise WrongKeyError(f"{self._who} is not on the list of those who advertised, though it did.")
        self._me = int(np.searchsorted(self._ids, mine))
        self._check_cohort(n)
        self._design: Design = design(n, self._tolerance)
        if len(listed.keys) != self._design.degree:
            raise WrongLengthError(
                f"{self._who} has {self._design.degree} neighbours in a cohort of {n}; {len(listed.keys)} keys came."
            )
        # The root must cover this client's own fresh key, or a server could have chosen the graph long ago.
        root = merkle.root_of(self._public, self._me, listed.proof)
        self._round_digest = round_digest(self.broadcast, listed.advertised, root)
        graph = Graph(n, self._design.degree, graph_seed(self._round_digest))
        self._neighbours = self._places = graph.neighbours(self._me)
        identity: Identity = self.session.identity
        for client, key in zip(self._ids[self._places], listed.keys, strict=True):
            peer = clients[client]
            static = identity.shared_key(peer)
            pair = keys.agree(
                self._round_digest,
                me=self.session.me.number,
                peer=peer.number,
                static=static,
                private=mask_key,
                public=key,
            )
            self._pairs.append(pair)
        self._secret = os.urandom(SHARE_BYTES)
        secrets = mask_key.private_bytes_raw() + self._secret
        self._mask_key = None
        t = self._design.threshold
        shares = shamir.split(
            secrets, threshold=t, holders=len(self._pairs), randomness=os.urandom((t - 1) * len(secrets))
        )
        commitment = keys.commitment(self._round_digest, self.session.me.number, self._secret)
        boxes = (pair.outgoing.seal(share.tobytes()) for pair, share in zip(self._pairs, shares, strict=True))
        return b"".join((commitment, *boxes))

    def _upload(self, body: memoryview) -> bytes:
        if self._secret is None:
            raise PhaseError(f"{self._who} holds no secret any more.")
        came, boxes = read_entries(body, len(self._pairs), BOX_BYTES, what="The mailbox")
        self._need(len(boxes), "sent it their shares")
        # From here on, only those whose boxes came: with nobody else is anything masked.
        self._places = self._places[came]
        self._pairs = [pair for pair, there in zip(self._pairs, came, strict=True) if there]
        for pair, box in zip(self._pairs, boxes, strict=True):
            self._shares.append(pair.incoming.open(box, what=f"The shares of client {pair.number}"))
        width = width_of(self.spec)
        masks = MaskSum(width, self.spec.length)
        masks.add(keys.self_seed(self._round_digest, self.session.me.number, self._secret))
        for pair in self._pairs:
            (masks.add if pair.adds else masks.subtract)(pair.seed)
        masked = masks.values()
        masked += self.values.view(np.uint64)
        masked &= np.uint64((1 << width) - 1)
        masks.erase()
        self._values = None
        self._secret = None
        tags = (pair.outgoing.tag(MASKED) for pair in self._pairs)
        return b"".join((*tags, Streams((1 << width,), self.spec.length).pack(masked[None, :])))

    def _confirm(self, body: memoryview) -> bytes:
        survivors, tags = read_survivors(body, len(self._ids), self._neighbours)
        self._check_survivors(survivors)
        self._alive = survivors[self._places]
        alive = self._alive_pairs()
        for pair, tag in zip(alive, tags, strict=True):
            pair.incoming.check(MASKED, tag, what=f"The tag by which client {pair.number} says that it uploaded")
        self._statement = confirmation(self._round_digest, survivors)
        return b"".join(pair.outgoing.tag(self._statement) for pair in alive)

    def _unmask(self, body: memoryview) -> bytes:
        alive = self._alive_pairs()
        confirmed, tags = read_entries(body, len(alive), keys.TAG_BYTES, what="The list of confirmations")
        speakers = [pair for pair, there in zip(alive, confirmed, strict=True) if there]
        for pair, tag in zip(speakers, tags, strict=True):
            pair.incoming.check(
                self._statement, tag, what=f"The confirmation by client {pair.number} of the same survivors"
            )
        self._need(len(speakers), "confirmed the same survivors")
        # One kind of share for each neighbour, by the one set that this client confirmed.
        own, mask = slice(SHARE_BYTES, None), slice(SHARE_BYTES)
        answer = b"".join(share[own if alive else mask] for share, alive in zip(self._shares, self._alive, strict=True))
        self._erase()
        return answer

    def _check_cohort(self, n: int) -> None:
        if n < max(2, self.broadcast.min_survivors):
            raise TooFewClientsError(f"{self._who} will not be one of {n}: it takes part with at least "
                                     f"{max(2, self.broadcast.min_survivors)}.")  # fmt: skip
        if n > self.spec.max_clients:
            raise TooManyClientsError(f"{self._who} is one of {n}; the sum was sized for {self.spec.max_clients}.")

    def _check_survivors(self, survivors: NDArray[np.bool_]) -> None:
        if not survivors[self._me]:
            raise SurvivorsError(f"{self._who} is declared gone, though it uploaded: it helps nobody to open that.")
        left = int(np.count_nonzero(survivors))
        if left < self.broadcast.min_survivors:
            raise TooFewClientsError(
                f"{self._who} will not open a sum over {left} clients; {self.broadcast.min_survivors} were promised."
            )
        strangers = np.setdiff1d(self._neighbours[survivors[self._neighbours]], self._places)
        if len(strangers):
            number = self.session.roster.clients[self._ids[strangers[0]]].number
            raise SurvivorsError(f"{self._who} is told that client {number} survived, whose shares it was never sent.")
        self._need(int(np.count_nonzero(survivors[self._places])), "survived")

    def _need(self, found: int, did: str) -> None:
        t = self._design.threshold
        if found < t:
            raise TooFewClientsError(
                f"{self._who} goes on only if {t} of its {self._design.degree} neighbours {did}; {found} did."
            )

    def _alive_pairs(self) -> list[keys.Pair]:
        return [pair for pair, alive in zip(self._pairs, self._alive, strict=True) if alive]

    def _erase(self) -> None:
        self._mask_key = None
        self._secret = None
        self._values = None
        self._pairs = []
        self._shares = []


class PairwiseClient(Client):
    """Raises SetupError for a setup that tolerates fewer corrupt clients than every client's floor, MIN_CORRUPT."""

    round_class = PairwiseClientRound

    def _prepare(self) -> None:
        Tolerance.decode(self.session.setup.public_keys)
