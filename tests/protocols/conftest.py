"""A small run with all its parties, and the means of whoever wants to break it."""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols import Client, ClientRound, Decryptor, Identity, ServerRound, SumSpec, enrol
from protocols.codec import read_frame
from protocols.fuzzing.mutate import written

SPEC = SumSpec(length=40, max_clients=5, min_clients=2, value_bound=100)
CONTEXT = bytes(range(32))


class World:
    """Everybody of one run. Each test takes rounds that no other test has used."""

    def __init__(self, protocol: str, spec: SumSpec = SPEC, run_id: bytes = b"run", clients: int = 6) -> None:
        self.run = enrol(protocol, spec, run_id=run_id, client_ids=range(clients))
        self.spec = spec
        self.server = self.run.server()
        self.rng = np.random.default_rng(7)
        self.values: dict[int, NDArray[np.int64]] = {
            client: self.rng.integers(-spec.value_bound, spec.value_bound, spec.length, endpoint=True)
            for client in range(clients)
        }
        self._rounds = 100

    def open(self, *cohort: int, min_survivors: int = 2, round_number: int | None = None) -> ServerRound:
        """A new round; clients 0 to 4 if nobody is named."""
        self._rounds += 1
        number = self._rounds if round_number is None else round_number
        asked = cohort or range(5)
        return self.server.open_round(number, context=CONTEXT, min_survivors=min_survivors, cohort=asked)

    def second_broadcast(self, opened: ServerRound, context: bytes = bytes(32), min_survivors: int = 2) -> ServerRound:
        """Another round of the same number, as only a lying server opens it."""
        number = opened.broadcast.round_number
        return self.run.server().open_round(number, context=context, min_survivors=min_survivors, cohort=range(5))

    def client(self, number: int, **options: Any) -> Client:
        return self.run.client(number, **options)

    def joined(self, opened: ServerRound, number: int) -> ClientRound:
        """A client that has joined and given its vector."""
        joined = self.client(number).join(opened.broadcast.data)
        joined.provide(self.values[number])
        return joined

    def upload(self, opened: ServerRound, number: int) -> bytes:
        return self.joined(opened, number).answer(opened.broadcast.data)

    def decryptor(self, number: int = 0) -> Decryptor[Any]:
        return self.run.decryptors[number]

    def identity(self, role: str, number: int = 0) -> Identity:
        if role == "server":
            return self.run.server_identity
        if role == "client":
            return self.run.client_identities[number]
        return self.run.decryptors[number].session.identity

    def sum(self, *clients: int) -> NDArray[np.int64]:
        return np.sum([self.values[client] for client in clients], axis=0)

    def finish(self, opened: ServerRound) -> NDArray[np.int64]:
        """Close the phases that are left, with every decryptor at hand."""
        while not opened.done:
            for to, message in opened.outbox().items():
                if to.role == "decryptor":
                    opened.receive(self.decryptor(to.number).answer(message))
            opened.close_phase()
        return opened.result.values

    def forge(self, message: bytes, signer: Identity, body: bytes | None = None, **header: Any) -> bytes:
        """The message with other header fields or another body, signed or sealed by `signer` for who reads it."""
        frame = read_frame(message)
        new_body = bytes(frame.body) if body is None else body
        reader = frame.header.recipient if signer is self.run.server_identity else None
        peer = self.identity(*reader) if reader and reader.role == "client" else self.run.server_identity
        return written(replace(frame.header, body_bytes=len(new_body), **header), new_body, signer, peer.public)


@lru_cache
def _shared(protocol: str) -> World:
    return World(protocol)


@pytest.fixture(params=["plain", "ckks"])
def world(request: pytest.FixtureRequest) -> World:
    """A world of each protocol whose clients speak once; made once, since its rounds are not used twice."""
    return _shared(request.param)


@pytest.fixture
def ckks() -> World:
    return _shared("ckks")


@pytest.fixture(scope="session")
def make_world() -> type[World]:
    return World
