"""One honest round of a protocol, message by message, with every party's state as it was before each.

Fuzzing needs the same state again and again. A server's is replayed: opened with the same secret and given the same
answers, it is the same. A client's or decryptor's holds fresh secrets, so it is copied.
"""

import copy
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from protocols.broadcast import Broadcast
from protocols.ckks.decryption import SecretKey
from protocols.ckks.encryption import Encryptor
from protocols.codec import Kind
from protocols.committee.parameters import Parameters
from protocols.enrolment import Enrolled, enrol
from protocols.errors import ProtocolError, RoundAborted
from protocols.identity import Address, Identity
from protocols.roles.client import ClientRound
from protocols.roles.decryptor import Decryptor
from protocols.roles.phase import Phase
from protocols.roles.server import OpenedSum, ServerRound
from protocols.session import Session
from protocols.spec import SumSpec

SPEC = SumSpec(length=20, max_clients=8, min_clients=2, value_bound=100)
CLIENTS = (0, 3, 4, 7)
"""Ids with holes, so that a place is not mistaken for an id."""

ROUND = 5
CONTEXT = bytes(range(32))
SECRET = bytes(32)
"""The same in each replay."""

_SHARED = (Session, Broadcast, Encryptor, SecretKey, Parameters, X25519PrivateKey)
"""What copies of a role share: it never changes, or cannot be copied."""

Role = ClientRound | Decryptor[Any]


@dataclass(frozen=True)
class Exchange:
    """One message of the server, and the answer. before: the party as it was; None for one not in the round yet."""

    to: Address
    message: bytes
    answer: bytes
    before: Role | None


@dataclass(frozen=True)
class Step:
    """A phase; after: all parties as they were at its end."""

    phase: Phase
    exchanges: tuple[Exchange, ...]
    after: Mapping[Address, Role]


class Recorded:
    """run: the enrolment. values: by client. steps: the round's phases, in order."""

    def __init__(self, protocol: str) -> None:
        self.run: Enrolled = enrol(
            protocol, SPEC, run_id=b"run", client_ids=CLIENTS, members=3, threshold=2, tolerated=0
        )
        rng = np.random.default_rng(0)
        bound = SPEC.value_bound
        self.values: dict[int, NDArray[np.int64]] = {
            client: rng.integers(-bound, bound, SPEC.length, endpoint=True) for client in CLIENTS
        }
        self.steps: list[Step] = []
        opened = self.open()
        self.broadcast = opened.broadcast.data
        parties: dict[Address, Role] = {
            Address("decryptor", number): decryptor for number, decryptor in self.run.decryptors.items()
        }
        while not opened.done:
            phase, exchanges = opened._phase, []
            for to, message in opened.outbox().items():
                before = fork(parties[to]) if to in parties else None
                if phase.sends is Kind.BROADCAST:
                    parties[to] = self.joined(to.number)
                answer = parties[to].answer(message)
                opened.receive(answer)
                exchanges.append(Exchange(to, message, answer, before))
            opened.close_phase()
            after = {address: fork(party) for address, party in parties.items()}
            self.steps.append(Step(phase, tuple(exchanges), after))
        expected = np.sum(list(self.values.values()), axis=0)
        assert (opened.result.values == expected).all()

    def open(self) -> ServerRound:
        """The round's beginning at the server, always the same bytes."""
        return self.run.server().open_round(ROUND, context=CONTEXT, min_survivors=2, secret=SECRET)

    def joined(self, client: int) -> ClientRound:
        """A client that has joined the round and given its values."""
        part = self.run.client(client).join(self.broadcast)
        part.provide(self.values[client])
        return part

    def identity(self, address: Address) -> Identity:
        if address.role == "client":
            return self.run.client_identities[address.number]
        if address.role == "server":
            return self.run.server_identity
        return self.run.decryptors[address.number].session.identity

    def server_before(self, step: int, sender: Address) -> ServerRound:
        """The server in this phase, when everybody but the sender has answered."""
        opened = self.open()
        for number, recorded in enumerate(self.steps[: step + 1]):
            for exchange in recorded.exchanges:
                if number < step or exchange.to != sender:
                    opened.receive(exchange.answer)
            if number < step:
                opened.close_phase()
        return opened

    def finish(self, opened: ServerRound, step: int) -> OpenedSum | None:
        """Play a round from the end of this step, all others honest; None if it is given up."""
        parties = {address: fork(party) for address, party in self.steps[step].after.items()}
        with suppress(RoundAborted):
            opened.close_phase()
            while not opened.done:
                for to, message in opened.outbox().items():
                    with suppress(ProtocolError):
                        opened.receive(parties[to].answer(message))
                opened.close_phase()
            return opened.result
        return None


def fork(role: Role) -> Role:
    """A copy that goes its own way. Keys and what cannot change are shared."""
    return copy.deepcopy(role, {id(value): value for value in vars(role).values() if isinstance(value, _SHARED)})
