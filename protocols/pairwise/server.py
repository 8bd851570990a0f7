"""The server: passes keys, boxes and tags between neighbours, adds masked vectors as they arrive, takes the masks off.

What it keeps of each client in memory is two keys and a few bytes for each neighbour; boxes, tags and shares wait in
the spool, and vectors go into one sum at once. It checks lengths, seals and that no mask key is weak; boxes and tags
are for the clients to judge.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from protocols.accumulator import Accumulator
from protocols.codec import Kind
from protocols.errors import SpecError
from protocols.identity import Address, Identity
from protocols.packing import Streams
from protocols.pairwise import keys, merkle
from protocols.pairwise.graph import Design, Graph, Tolerance, design
from protocols.pairwise.masks import width_of
from protocols.pairwise.opening import Opening, ShareError
from protocols.pairwise.phases import PHASES, graph_seed, round_digest
from protocols.pairwise.post import Post
from protocols.pairwise.wire import BOX_BYTES, KEY_BYTES, SHARE_BYTES, write_bits
from protocols.roles.phase import Phase
from protocols.roles.server import Server, ServerRound
from protocols.spec import SumSpec
from protocols.transcript import DIGEST_BYTES


class PairwiseServerRound(ServerRound):
    phases = PHASES

    def _prepare(self) -> None:
        self._keys: dict[int, bytes] = {}
        self._tolerance = Tolerance.decode(self.session.setup.public_keys)
        self._width = width_of(self.spec)
        self._stream = Streams((1 << self._width,), self.spec.length)
        self._sum = Accumulator(self._stream, self._stream)

    # The phases, one after the other.

    def _close(self) -> Phase | None:
        following = PHASES[PHASES.index(self._phase) + 1 :]
        getattr(self, f"_close_{self._phase.name}")()
        return following[0] if following else None

    def _close_advertise(self) -> None:
        """Fix the graph. From here on clients are numbered by their place in the rising ids of those who advertised."""
        n = len(self._keys)
        self._need(n, "clients advertised")
        if n < 2:
            raise self.abort("one client alone has nobody to share a mask with.")
        self._ids = np.array(sorted(self._keys))
        self._index = {int(client): i for i, client in enumerate(self._ids)}
        roster = np.array([party.number for party in self.session.roster.clients])
        advertised = np.isin(roster, self._ids)
        self._advertised_bits = write_bits(advertised)
        mask_keys = [self._keys[client] for client in self._ids.tolist()]
        self._key_rows = np.frombuffer(b"".join(mask_keys), np.uint8).reshape(n, KEY_BYTES)
        self._tree = merkle.tree(mask_keys)
        self._round_digest = round_digest(self.broadcast, advertised, self._tree[-1][0])
        try:
            self._design: Design = design(n, self._tolerance)
        except SpecError as too_many:
            raise self.abort(str(too_many)) from None
        self._graph = Graph(n, self._design.degree, graph_seed(self._round_digest))
        self._places = self._graph.neighbours(np.arange(n)).astype(np.int32)
        self._commitments: dict[int, bytes] = {}
        self._shared, self._alive, self._confirmed = (np.zeros(n, bool) for _ in range(3))
        self._everybody = np.ones(self._design.degree, bool)
        self._boxes = Post(self._graph, BOX_BYTES, self.spool, 0)
        self._masked, self._tags = (Post(self._graph, keys.TAG_BYTES, self.spool, first) for first in (2 * n, 4 * n))
        self._opening = Opening(self._graph, self._design.threshold, self.spool, 6 * n)

    def _close_share(self) -> None:
        self._need(int(np.count_nonzero(self._shared)), "clients shared their secrets")
        self._check_neighbours(self._shared, self._shared, "shared their secrets")
        self._boxes.sort()

    def _close_upload(self) -> None:
        self._boxes.clear()
        self._check_neighbours(self._shared, self._alive, "uploaded")
        self._survivor_bits = write_bits(self._alive)
        self._masked.sort()

    def _close_confirm(self) -> None:
        self._masked.clear()
        self._need(int(np.count_nonzero(self._confirmed)), "clients confirmed the survivors")
        self._check_neighbours(self._shared, self._confirmed, "confirmed the survivors")
        self._tags.sort()

    def _close_unmask(self) -> None:
        self._tags.clear()

    def _check_neighbours(self, needing: NDArray[np.bool_], there: NDArray[np.bool_], did: str) -> None:
        """Raise RoundAborted if somebody has fewer than t neighbours left."""
        left = np.count_nonzero(there[self._places], axis=1)
        short = np.flatnonzero(needing & (left < self._design.threshold))
        if len(short):
            raise self.abort(
                f"{left[short[0]]} of the {self._design.degree} neighbours of client {self._ids[short[0]]} {did}, and "
                f"it takes {self._design.threshold} to open its masks ({len(short)} clients lack neighbours)."
            )

    # What is sent.

    def _bodies(self) -> Mapping[Address, Callable[[], bytes]]:
        write = {
            Kind.NEIGHBOURS: (self._neighbours_of, np.ones(len(self._ids), bool)),
            Kind.MAILBOX: (self._mailbox_of, self._shared),
            Kind.SURVIVORS: (self._survivors_for, self._alive),
            Kind.CONFIRMED: (self._confirmed_for, self._confirmed),
        }
        make, to = write[self._phase.sends]
        return {Address("client", int(self._ids[i])): partial(make, i) for i in np.flatnonzero(to).tolist()}

    def _neighbours_of(self, i: int) -> bytes:
        return self._advertised_bits + merkle.proof(self._tree, i) + self._key_rows[self._places[i]].tobytes()

    def _mailbox_of(self, i: int) -> bytes:
        boxed = self._boxed_near(i)
        return write_bits(boxed) + _chosen(self._boxes.delivered(i), boxed)

    def _survivors_for(self, i: int) -> bytes:
        return self._survivor_bits + _chosen(self._masked.delivered(i), self._left_near(i))

    def _confirmed_for(self, i: int) -> bytes:
        left, spoke = self._left_near(i), self._confirmed[self._places[i]]
        return write_bits(spoke[left]) + _chosen(self._tags.delivered(i), spoke)

    def _boxed_near(self, i: int) -> NDArray[np.bool_]:
        """(k,) bool by place: the neighbours whose boxes client i is sent."""
        return self._shared[self._places[i]]

    def _left_near(self, i: int) -> NDArray[np.bool_]:
        """(k,) bool by place: the neighbours of client i that uploaded."""
        return self._alive[self._places[i]]

    # What comes back.

    def _body_bytes(self, sender: Address) -> int:
        if self._phase.answers is Kind.ADVERTISE:
            return KEY_BYTES
        if self._phase.answers is Kind.SHARE:
            return DIGEST_BYTES + BOX_BYTES * self._design.degree
        i = self._index[sender.number]
        if self._phase.answers is Kind.CONFIRM:
            return keys.TAG_BYTES * int(np.count_nonzero(self._left_near(i)))
        boxes = int(np.count_nonzero(self._boxed_near(i)))
        if self._phase.answers is Kind.VECTOR:
            return keys.TAG_BYTES * boxes + self._stream.n_bytes
        return SHARE_BYTES * boxes

    def _accept(self, sender: Address, body: memoryview) -> None:
        client = sender.number
        if self._phase.answers is Kind.ADVERTISE:
            key = bytes(body)
            keys.check_public(key, client)
            self._keys[client] = key
            return
        i = self._index[client]
        if self._phase.answers is Kind.SHARE:
            self._commitments[i] = bytes(body[:DIGEST_BYTES])
            self._boxes.put(i, self._everybody, body[DIGEST_BYTES:])
            self._shared[i] = True
        elif self._phase.answers is Kind.VECTOR:
            tags = len(body) - self._stream.n_bytes
            self._sum.add(body[tags:], what=f"The upload of {sender}")
            self._masked.put(i, self._boxed_near(i), body[:tags])
            self._alive[i] = True
        elif self._phase.answers is Kind.CONFIRM:
            self._tags.put(i, self._left_near(i), body)
            self._confirmed[i] = True
        else:
            self._opening.take(i, self._boxed_near(i), body)

    # The end.

    def _values(self) -> NDArray[np.int64]:
        try:
            masks = self._opening.masks(
                self._ids,
                shared=self._shared,
                alive=self._alive,
                mask_keys=self._keys,
                commitments=self._commitments,
                about=self._round_digest,
                width=self._width,
                length=self.spec.length,
            )
        except ShareError as lacking:
            raise self.abort(str(lacking)) from None
        total = self._sum.total[0] - masks
        # The low W bits, as a signed number: shifted up to the sign of 64 bits and back.
        up = np.uint64(64 - self._width)
        values = (total << up).view(np.int64) >> np.int64(64 - self._width)
        bound = self.spec.sum_bound_of(len(self.uploaded))
        if int(values.max()) > bound or int(values.min()) < -bound:
            raise self.abort(f"a sum beyond {bound} came out, so somebody's upload was not what it should have been.")
        return values


def _chosen(entries: NDArray[np.uint8], places: NDArray[np.bool_]) -> bytes:
    """The entries (k, size) at some places, nearly always all."""
    return (entries if places.all() else entries[places]).tobytes()


class PairwiseServer(Server):
    """Raises SetupError where the setup's tolerance is none."""

    round_class = PairwiseServerRound

    @classmethod
    def parameters_for(cls, spec: SumSpec, *, members: int, threshold: int) -> str:
        """Neighbours, threshold and bits of a value at the default tolerance and a full cohort: "k58-t40-18 bits".

        Raises SpecError where a cohort of that size cannot be served.
        """
        chosen = design(max(2, spec.max_clients), Tolerance())
        return f"k{chosen.degree}-t{chosen.threshold}-{width_of(spec)} bits"

    def __init__(self, setup: bytes, identity: Identity, enrolment_public: bytes) -> None:
        super().__init__(setup, identity, enrolment_public)
        Tolerance.decode(self.session.setup.public_keys)
