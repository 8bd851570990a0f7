"""A round of pairwise masks with every party at hand, and a server that can say anything it likes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols import Address, ClientRound, OpenedSum, ServerRound, Setup, SumSpec, enrol
from protocols.codec import Kind, read_frame
from protocols.pairwise.graph import Tolerance

PHASE_NAMES = ("advertise", "share", "upload", "confirm", "unmask")


@dataclass
class World:
    """One round. ids rise; values (n, length) are theirs in that order."""

    spec: SumSpec
    ids: list[int]
    values: NDArray[np.int64]
    tolerance: Tolerance = Tolerance(0.3, 0.01)
    min_survivors: int = 2
    round_number: int = 5
    server: ServerRound = field(init=False)
    clients: dict[int, ClientRound] = field(init=False, default_factory=dict)
    answers: dict[str, dict[int, bytes]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        run = enrol("pairwise", self.spec, run_id=b"run", client_ids=self.ids)
        setup = replace(Setup.from_bytes(run.setup), public_keys=self.tolerance.encode())
        self.run = replace(run, setup=setup.signed(run.enrolment).to_bytes())
        self.makers = {i: self.run.client(i) for i in self.ids}
        self.server_role = self.run.server()
        self.open()

    def open(self, round_number: int | None = None) -> None:
        """Open a (further) round with the same parties."""
        self.round_number = self.round_number if round_number is None else round_number
        self.server = self.server_role.open_round(
            self.round_number, context=bytes(32), min_survivors=self.min_survivors
        )
        self.clients, self.answers = {}, {}

    def step(self, gone: Collection[int] = (), order: Sequence[int] | None = None) -> None:
        """One phase: everybody asked answers, but for those gone; in this order, if given."""
        name = self.server.phase
        heard = self.answers.setdefault(name, {})
        outbox = self.server.outbox()
        for client in self.ids if order is None else order:
            message = outbox.get(Address("client", client))
            if message is None or client in gone:
                continue
            heard[client] = self.say(client, message)
            self.server.receive(heard[client])
        self.server.close_phase()

    def say(self, client: int, message: bytes) -> bytes:
        """The client's answer; it is given its values before it uploads."""
        if client not in self.clients:
            self.clients[client] = self.makers[client].join(message)
            self.clients[client].provide(self.values[self.ids.index(client)])
        return self.clients[client].answer(message)

    def until(self, phase: str, gone: Mapping[str, Collection[int]] | None = None) -> None:
        while self.server.phase != phase:
            self.step((gone or {}).get(self.server.phase, ()))

    def finish(self, gone: Mapping[str, Collection[int]] | None = None) -> OpenedSum:
        self.until("done", gone)
        return self.server.result

    def expected(self, survivors: Collection[int]) -> NDArray[np.int64]:
        return self.values[[self.ids.index(i) for i in sorted(survivors)]].sum(0)

    def honest(self, client: int) -> bytes:
        """Body of the message that the honest server has for this client now."""
        return bytes(read_frame(self.server.outbox()[Address("client", client)]).body)

    def forged(self, client: int, kind: Kind, body: bytes) -> bytes:
        """The same message with another body, properly signed by the lying server."""
        return self.server.session.write(
            kind,
            Address("client", client),
            body,
            round_number=self.round_number,
            broadcast=self.server.broadcast.digest,
        )

    def resigned(self, client: int, kind: Kind, body: bytes) -> bytes:
        """A lying client's answer, properly signed."""
        return self.clients[client].session.write(
            kind,
            self.clients[client].session.server,
            body,
            round_number=self.round_number,
            broadcast=self.server.broadcast.digest,
        )


def make(n: int = 8, length: int = 40, bound: int = 100, **options: object) -> World:
    rng = np.random.default_rng(n)
    spec = SumSpec(length, n, 2, bound)
    return World(
        spec, list(range(10, 10 + 3 * n, 3)), rng.integers(-bound, bound, (n, length), endpoint=True), **options
    )  # type: ignore[arg-type]


@pytest.fixture
def world() -> World:
    """Eight clients, each the neighbour of all others; five neighbours are needed."""
    return make()


@pytest.fixture(scope="session")
def new_world():  # type: ignore[no-untyped-def]
    return make
