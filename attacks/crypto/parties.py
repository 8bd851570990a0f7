"""A small run of a protocol with all its parties, of which the attacker plays some."""

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from protocols import Address, ClientRound, OpenedSum, ProtocolError, ServerRound, SumSpec, enrol
from protocols.codec import Kind, read_frame

SPEC = SumSpec(length=256, max_clients=8, min_clients=2, value_bound=100)
TABLE, OTHER_TABLE = bytes([1]) * 32, bytes([2]) * 32
"""Digests of the tables that a server says it sends."""

Alter = Callable[[Address, bytes], bytes | None]
"""What a message to, or from, this party becomes on its way; None for lost."""


class Parties:
    """The genuine clients, decryptors and server of one run, driven message by message.

    values: each client's vector, (length,) int64. refusals: by party, the words of its last refusal.
    """

    def __init__(self, protocol: str, spec: SumSpec = SPEC, *, run_id: bytes = b"audit") -> None:
        self.protocol, self.spec = protocol, spec
        self.run = enrol(protocol, spec, run_id=run_id, client_ids=range(spec.max_clients))
        self.server = self.run.server()
        self.clients = {number: self.run.client(number) for number in self.run.client_identities}
        rng = np.random.default_rng(0)
        bound = spec.value_bound
        self.values: dict[int, NDArray[np.int64]] = {
            number: rng.integers(-bound, bound, spec.length, endpoint=True) for number in self.clients
        }
        self.joined: dict[int, ClientRound] = {}
        self.refusals: dict[Address, str] = {}

    def open(
        self, number: int = 1, *, table: bytes = TABLE, cohort: Collection[int] | None = None, min_survivors: int = 2
    ) -> ServerRound:
        """A round by the genuine server."""
        return self.server.open_round(number, context=table, min_survivors=min_survivors, cohort=cohort)

    def open_again(self, opened: ServerRound, *, table: bytes, cohort: Collection[int] | None = None) -> ServerRound:
        """Another round of the same number, as only a server that lies opens it."""
        number = opened.broadcast.round_number
        return self.run.server().open_round(number, context=table, min_survivors=2, cohort=cohort)

    def deliver(self, to: Address, message: bytes) -> bytes | None:
        """The party's answer; None where it refuses, and its words are in `refusals`."""
        try:
            if to.role == "decryptor":
                return self.run.decryptors[to.number].answer(message)
            if read_frame(message).header.kind is Kind.BROADCAST:
                self.joined[to.number] = self.clients[to.number].join(message)
            joined = self.joined[to.number]
            if joined.uploads_next:
                joined.provide(self.values[to.number])
            return joined.answer(message)
        except ProtocolError as refusal:
            self.refusals[to] = str(refusal)
            return None

    def receive(self, opened: ServerRound, message: bytes) -> bool:
        """Whether the genuine server takes the message."""
        try:
            opened.receive(message)
        except ProtocolError as refusal:
            self.refusals[opened.session.me] = str(refusal)
            return False
        return True

    def step(self, opened: ServerRound, *, sent: Alter | None = None, answered: Alter | None = None) -> None:
        """One phase, with whatever happens to messages on the way to a party (`sent`) and back (`answered`).

        Raises RoundAborted.
        """
        for to, message in opened.outbox().items():
            arriving = sent(to, message) if sent else message
            answer = self.deliver(to, arriving) if arriving is not None else None
            back = answered(to, answer) if answered and answer is not None else answer
            if back is not None:
                self.receive(opened, back)
        opened.close_phase()

    def until_uploads(self, opened: ServerRound) -> None:
        """Play honestly up to the phase whose answers are the uploads."""
        while not opened._phase.uploads:
            self.step(opened)

    def finish(self, opened: ServerRound) -> OpenedSum:
        """Play honestly to the end. Raises RoundAborted."""
        while not opened.done:
            self.step(opened)
        return opened.result

    def take_in(self, opened: ServerRound, message: bytes) -> None:
        """What a lying server does with an answer that a genuine one would refuse: use it."""
        frame = read_frame(message)
        if opened._phase.uploads:
            opened._accept_upload(frame.header.sender, frame)
        else:
            opened._accept(frame.header.sender, frame.body)

    def said(
        self, opened: ServerRound, kind: Kind, to: Address, body: bytes, *, broadcast: bytes | None = None
    ) -> bytes:
        """A message that the server makes as it likes, with its own keys. broadcast: the digest that it names."""
        named = opened.broadcast.digest if broadcast is None else broadcast
        return opened.session.write(kind, to, body, round_number=opened.broadcast.round_number, broadcast=named)

    def words(self, role: str) -> str:
        """The first refusal of a party of this role, by rising number."""
        return next((words for party, words in sorted(self.refusals.items()) if party.role == role), "Nobody refused.")

    def sum(self, clients: Collection[int]) -> NDArray[np.int64]:
        return np.sum([self.values[client] for client in clients], axis=0)
