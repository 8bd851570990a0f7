"""What the base classes promise a protocol of several phases: shown on a toy whose clients speak twice, and whose
decryptors are asked again, without the last client, where too few answered.
"""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols import Address, Decryptor, Server, ServerRound, SumSpec, enrol, errors
from protocols.codec import Kind, read_frame
from protocols.registry import PROTOCOLS, Protocol
from protocols.roles.client import Client, ClientRound
from protocols.roles.decryptor import Request
from protocols.roles.phase import Phase

SPEC = SumSpec(length=3, max_clients=4, min_clients=2, value_bound=100)
HELLO, GIVE, OPEN = PHASES = (
    Phase("hello", "client", Kind.BROADCAST, Kind.ADVERTISE),
    Phase("give", "client", Kind.NEIGHBOURS, Kind.UPLOAD),
    Phase("open", "decryptor", Kind.REQUEST, Kind.OPENING),
)


class ToyClientRound(ClientRound):
    phases = PHASES

    def _answer(self, kind: Kind, body: memoryview) -> bytes:
        if kind is Kind.BROADCAST:
            assert not body
            return b"hello"
        if body != b"give":
            raise errors.FrameError(f"{self._who} was asked for something illegal.")
        return self.values.tobytes()


class ToyClient(Client):
    round_class = ToyClientRound


class ToyServerRound(ServerRound):
    phases = PHASES

    def _prepare(self) -> None:
        self.greeted: set[Address] = set()
        self.vectors: dict[int, NDArray[np.int64]] = {}
        self.left_out: set[int] = set()
        self.opened: set[Address] = set()

    def _bodies(self) -> dict[Address, Callable[[], bytes]]:
        if self._phase is GIVE:
            return dict.fromkeys(self.greeted, lambda: b"give")
        manifest = self.manifest(self._survivors()).to_bytes()
        return {party.address: lambda: manifest for party in self.session.roster.decryptors}

    def _body_bytes(self, sender: Address) -> int:
        return {"hello": 5, "give": 24, "open": 2}[self.phase]

    def _accept(self, sender: Address, body: memoryview) -> None:
        if self._phase is HELLO:
            self.greeted.add(sender)
        elif self._phase is GIVE:
            self.vectors[sender.number] = np.frombuffer(body, np.int64)
        else:
            self.opened.add(sender)

    def _survivors(self) -> frozenset[int]:
        return frozenset(self.uploads) - self.left_out

    def _close(self) -> Phase | None:
        if self._phase is HELLO:
            return GIVE
        if self._phase is GIVE:
            return OPEN
        if len(self.opened) >= self.session.roster.threshold:
            return None
        self.left_out.add(max(self._survivors()))
        self._need(len(self._survivors()), "clients are left")
        self.opened.clear()
        return OPEN

    def _values(self) -> NDArray[np.int64]:
        return np.sum([self.vectors[client] for client in self._survivors()], axis=0)


class ToyServer(Server):
    round_class = ToyServerRound


class ToyMember(Decryptor[None]):
    disliked = -1

    def _upload_bytes(self) -> int:
        return 24

    def _examine(self, request: Request) -> None:
        if self.disliked in request.survivors:
            raise errors.ResidueError(f"Client {self.disliked} sent something odd.")

    def _open(self, request: Request, examined: None) -> bytes:
        return b"ok"


class Toy:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(PROTOCOLS, "toy", Protocol(99, "", "", "member", committee=True))
        monkeypatch.setattr("protocols.enrolment.load", lambda place: ToyMember)
        self.run = enrol("toy", SPEC, run_id=b"run", client_ids=range(4), members=3, threshold=2, tolerated=0)
        pinned = self.run.enrolment.public
        self.round = ToyServer(self.run.setup, self.run.server_identity, pinned).open_round(
            5, context=bytes(32), min_survivors=2
        )
        self.other_round = ToyServer(self.run.setup, self.run.server_identity, pinned).open_round(
            5, context=bytes(32), min_survivors=2
        )
        self.parts: dict[int, ClientRound] = {}
        for client in range(4):
            made = ToyClient(self.run.setup, self.run.client_identities[client], pinned, min_survivors=2)
            self.parts[client] = made.join(self.round.broadcast.data)
            self.parts[client].provide(np.full(3, client))

    def server_says(self, body: bytes, to: int, kind: Kind = Kind.NEIGHBOURS, broadcast: bytes | None = None) -> bytes:
        return self.round.session.write(
            kind, Address("client", to), body, round_number=5, broadcast=broadcast or self.round.broadcast.digest
        )

    def greet(self, *clients: int) -> None:
        for client in clients:
            self.round.receive(self.parts[client].answer(self.round.outbox()[Address("client", client)]))
        self.round.close_phase()

    def give(self, *clients: int) -> None:
        for client in clients:
            self.round.receive(self.parts[client].answer(self.round.outbox()[Address("client", client)]))
        self.round.close_phase()

    def ask(self, number: int) -> bytes:
        return self.run.decryptors[number].answer(self.round.outbox()[Address("decryptor", number)])


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    return Toy(monkeypatch)


def test_a_client_answers_each_message_once_and_in_order(toy: Toy) -> None:
    part, broadcast = toy.parts[1], toy.round.broadcast.data
    second = toy.server_says(b"give", 1)
    with pytest.raises(errors.PhaseError, match="answers the broadcast it joined first"):
        part.answer(second)
    part.answer(broadcast)
    with pytest.raises(errors.PhaseError, match="no place here"):
        part.answer(broadcast)
    assert read_frame(part.answer(second)).header.kind is Kind.UPLOAD
    for again in (second, broadcast):
        with pytest.raises(errors.PhaseError, match="takes no further part"):
            part.answer(again)


def test_a_client_ignores_what_the_server_did_not_say_to_it_in_this_round(toy: Toy) -> None:
    part = toy.parts[1]
    part.answer(toy.round.broadcast.data)
    second = toy.server_says(b"give", 1)
    for message, error in (
        (toy.server_says(b"give", 2), errors.WrongRecipientError),
        (toy.server_says(b"give", 1, broadcast=toy.other_round.broadcast.digest), errors.WrongBroadcastError),
        (toy.server_says(b"give", 1, kind=Kind.MAILBOX), errors.PhaseError),
        (second[:-16] + bytes(16), errors.SignatureError),
        (second + b"\0", errors.LeftoverError),
        (second[:-1], errors.TruncatedError),
    ):
        with pytest.raises(error):
            part.answer(message)
    assert part.answer(second)


def test_a_client_that_was_asked_for_something_illegal_answers_nothing_more(toy: Toy) -> None:
    part = toy.parts[1]
    part.answer(toy.round.broadcast.data)
    with pytest.raises(errors.FrameError, match="Client 1 in round 5 was asked for something illegal"):
        part.answer(toy.server_says(b"everything", 1))
    with pytest.raises(errors.PhaseError, match="takes no further part"):
        part.answer(toy.server_says(b"give", 1))


def test_a_client_needs_its_values_only_when_it_uploads(toy: Toy) -> None:
    made = ToyClient(toy.run.setup, toy.run.client_identities[0], toy.run.enrolment.public, min_survivors=2)
    part = made.join(toy.round.broadcast.data)
    part.answer(toy.round.broadcast.data)
    message = toy.server_says(b"give", 0)
    with pytest.raises(errors.PhaseError, match="no values"):
        part.answer(message)
    part.provide(np.zeros(3, np.int64))
    part.answer(message)


def test_a_client_that_was_silent_in_an_earlier_phase_is_not_asked_again(toy: Toy) -> None:
    toy.greet(0, 1)
    assert set(toy.round.outbox()) == {("client", 0), ("client", 1)}
    late = toy.parts[2].answer(toy.round.broadcast.data)
    with pytest.raises(errors.PhaseError, match="advertise of client 2 .* no place here"):
        toy.round.receive(late)
    upload = toy.parts[2].answer(toy.server_says(b"give", 2))
    with pytest.raises(errors.UnknownSenderError, match="client 2 takes no part in this phase"):
        toy.round.receive(upload)


def test_an_answer_repeated_in_a_later_phase_is_refused(toy: Toy) -> None:
    greeting = toy.parts[0].answer(toy.round.broadcast.data)
    toy.round.receive(greeting)
    toy.greet(1)
    with pytest.raises(errors.PhaseError, match="no place here"):
        toy.round.receive(greeting)


def test_a_phase_comes_again_with_a_smaller_set(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.greet(0, 1, 2, 3)
    toy.give(0, 1, 2, 3)
    monkeypatch.setattr(ToyMember, "disliked", 3)
    for member in (0, 1, 2):
        with pytest.raises(errors.ResidueError, match="Client 3"):
            toy.ask(member)
    toy.round.close_phase()
    assert toy.round.phase == "open"
    # What a member refused while it examined the request has not spent its round.
    for member in (0, 1):
        toy.round.receive(toy.ask(member))
    toy.round.close_phase()
    assert toy.round.result.survivors == {0, 1, 2} and toy.round.result.values.tolist() == [3, 3, 3]


def test_a_late_answer_to_an_earlier_request_does_not_mix_with_the_new_ones(toy: Toy) -> None:
    toy.greet(0, 1, 2, 3)
    toy.give(0, 1, 2, 3)
    late = toy.ask(1)
    toy.round.close_phase()
    assert toy.round._survivors() == {0, 1, 2}
    with pytest.raises(errors.PhaseError, match="opening of decryptor 1 .* answers another request"):
        toy.round.receive(late)
    # And it has answered for this round: no second set is opened by it.
    with pytest.raises(errors.SpentRoundError, match="decryptor 1 has answered another"):
        toy.ask(1)


def test_too_few_may_be_left_in_the_end(toy: Toy) -> None:
    toy.greet(0, 1, 3)
    toy.give(0, 3)
    with pytest.raises(errors.RoundAborted, match="1 clients are left, and at least 2 are needed"):
        toy.round.close_phase()
    assert toy.round.phase == "aborted"


def test_a_client_says_when_it_needs_its_values(toy: Toy) -> None:
    part = toy.parts[1]
    assert not part.uploads_next
    part.answer(toy.round.broadcast.data)
    assert part.uploads_next
    part.answer(toy.server_says(b"give", 1))
    assert not part.uploads_next
