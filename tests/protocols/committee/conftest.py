"""A committee with its clients and server, and the steps that a story may take one by one."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols import OpenedSum, RoundAborted, ServerRound, SumSpec, enrol
from protocols.codec import Kind, read_frame
from protocols.committee.member import Member
from protocols.committee.wire import SALT_BYTES, Batch, box_slices, parameters_of
from protocols.errors import ProtocolError
from protocols.fuzzing.mutate import written
from protocols.identity import SIGNATURE_BYTES, Address

SPEC = SumSpec(length=300, max_clients=8, min_clients=2, value_bound=127, noise_sigma=2.0)
CONTEXT = bytes(range(32))


class Committee:
    """One run. `server` is whoever plays the server, honest or not; members and clients are the real ones."""

    def __init__(
        self, spec: SumSpec = SPEC, *, clients: int = 6, members: int = 7, threshold: int = 5, tolerated: int = 2
    ) -> None:
        self.run = enrol(
            "ckks-committee",
            spec,
            run_id=b"run",
            client_ids=[10 * i for i in range(clients)],
            members=members,
            threshold=threshold,
            tolerated=tolerated,
        )
        self.spec = spec
        self.server = self.run.server()
        self.parameters = parameters_of(self.server.session)
        rng = np.random.default_rng(1)
        self.values: dict[int, NDArray[np.int64]] = {
            number: rng.integers(-spec.value_bound, spec.value_bound, spec.length, endpoint=True)
            for number in self.run.client_identities
        }
        self.members: dict[int, Member] = dict(self.run.decryptors)  # type: ignore[arg-type]

    def sum(self, clients: Collection[int]) -> NDArray[np.int64]:
        return np.sum([self.values[client] for client in clients], axis=0)

    def open(self, number: int = 0, *, cohort: Collection[int] | None = None, min_survivors: int = 2) -> ServerRound:
        asked = list(self.values) if cohort is None else cohort
        return self.server.open_round(number, context=CONTEXT, min_survivors=min_survivors, cohort=asked)

    def upload(self, opened: ServerRound, client: int) -> bytes:
        joined = self.run.client(client).join(opened.broadcast.data)
        joined.provide(self.values[client])
        return joined.answer(opened.broadcast.data)

    def collect(self, opened: ServerRound, changes: Mapping[int, Callable[[bytearray], None]] | None = None) -> None:
        """All clients upload; `changes` are made to a client's body, which it signs as its own."""
        for to, _ in opened.outbox().items():
            upload = self.upload(opened, to.number)
            if changes and to.number in changes:
                body = bytearray(read_frame(upload).body)
                changes[to.number](body)
                upload = self.signed(upload, self.run.client_identities[to.number], bytes(body))
            opened.receive(upload)
        opened.close_phase()

    def ask_members(
        self,
        opened: ServerRound,
        *,
        gone: Collection[int] = (),
        lies: Mapping[int, Callable[[bytearray], None]] | None = None,
    ) -> None:
        """All members but those gone answer the present phase; `lies` are made in a member's own answer."""
        for to, message in opened.outbox().items():
            if to.number in gone:
                continue
            try:
                answer = self.members[to.number].answer(message)
            except ProtocolError:
                continue
            if lies and to.number in lies:
                body = bytearray(read_frame(answer).body)
                lies[to.number](body)
                answer = self.signed(answer, self.members[to.number].session.identity, bytes(body))
            opened.receive(answer)
        opened.close_phase()

    def judge(self, opened: ServerRound, **options: Any) -> None:
        """Members answer all batches of boxes."""
        while opened.phase == "boxes":
            self.ask_members(opened, **options)

    def finish(self, opened: ServerRound, **options: Any) -> OpenedSum:
        self.judge(opened)
        self.ask_members(opened, **options)
        return opened.result

    def show_boxes(self, opened: ServerRound) -> None:
        """Every member is shown the present batch; the server keeps its phase."""
        for to, message in opened.outbox().items():
            self.members[to.number].answer(message)

    @staticmethod
    def flip(place: int) -> Callable[[bytearray], None]:
        """Change one bit of a body."""

        def change(body: bytearray) -> None:
            body[place] ^= 1

        return change

    def signed(self, message: bytes, identity: Any, body: bytes) -> bytes:
        """The frame with another body of any length, signed by its sender; sealed for the server if it is an upload."""
        header = replace(read_frame(message).header, body_bytes=len(body))
        return written(header, body, identity, self.run.server_identity.public)

    def request(self, opened: ServerRound, member: int, survivors: Collection[int], material: bytes = b"") -> bytes:
        """What a server that owns its key may send, whatever the round's state is: a request to open this set."""
        body = opened.manifest(survivors).to_bytes() + material
        return self.server.session.write(
            Kind.REQUEST,
            Address("decryptor", member),
            body,
            round_number=opened.broadcast.round_number,
            broadcast=opened.broadcast.digest,
        )

    def boxes(
        self,
        opened: ServerRound,
        member: int,
        clients: Collection[int],
        *,
        earlier: int = 0,
        count: int = 6,
        secret: bytes | None = None,
    ) -> bytes:
        """What a server that owns its key may send: a batch of boxes that claims to be this one."""
        box = box_slices(self.parameters)[member]
        uploads = [(client, memoryview(opened.spool[client])) for client in clients]
        body = Batch(opened.broadcast.data, secret or opened.secret, count, earlier).write(
            [(client, upload[:SALT_BYTES], upload[box]) for client, upload in uploads]
        )
        return self.server.session.write(
            Kind.BOXES,
            Address("decryptor", member),
            body,
            round_number=opened.broadcast.round_number,
            broadcast=opened.broadcast.digest,
        )

    def reborn(self, member: int) -> Member:
        """The member after a crash: its keys and its record of answered rounds are all that is left."""
        old = self.members[member]
        return Member(self.run.setup, old.session.identity, self.run.enrolment.public, answered=old._answered)

    def share_in(self, answer: bytes) -> NDArray[np.uint64]:
        """The share that a member's opening holds."""
        share = self.parameters.opening.zeros()
        self.parameters.opening.unpack(read_frame(answer).body[SIGNATURE_BYTES:], share, what="It")
        return share


@pytest.fixture
def committee() -> Committee:
    return Committee()


@pytest.fixture(scope="session")
def make_committee() -> type[Committee]:
    return Committee


def aborted(opened: ServerRound, step: Callable[[], object], message: str) -> None:
    with pytest.raises(RoundAborted, match=message):
        step()
    assert opened.phase == "aborted"
    assert opened.outbox() == {}
