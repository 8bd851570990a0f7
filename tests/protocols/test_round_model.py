"""A round against a model of it: clients answer, drop out, repeat themselves; messages are kept back, replayed,
damaged, swapped between rounds, in any order. Whatever happens, what is opened is the sum of who was accepted.
"""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from protocols import Address, Enrolled, ProtocolError, RoundAborted, SumSpec, enrol
from protocols.codec import read_frame
from protocols.errors import DuplicateError, PhaseError, SpentRoundError

SPEC = SumSpec(length=12, max_clients=5, min_clients=2, value_bound=50)
CLIENTS = st.integers(0, 4)
DECRYPTOR = Address("decryptor", 0)


class RoundMachine(RuleBasedStateMachine):
    run: Enrolled
    ends: Counter[str]
    next_round = 0

    @initialize(min_survivors=st.sampled_from([2, 2, 3, 5]))
    def open(self, min_survivors: int) -> None:
        cls = type(self)
        cls.next_round += 2
        self.needed = min_survivors
        server = self.run.server()
        self.round = server.open_round(cls.next_round, context=bytes(32), min_survivors=min_survivors, cohort=range(5))
        self.earlier = server.open_round(cls.next_round - 1, context=bytes(32), min_survivors=2, cohort=range(5))
        self.clients = {client: self.run.client(client) for client in range(5)}
        self.parts: dict[int, Any] = {}
        self.values: dict[int, np.ndarray] = {}
        self.in_flight: dict[int, bytes] = {}
        self.accepted: set[int] = set()
        self.phase = "upload"
        self.answer: bytes | None = None
        self.opened = False
        self.refusals = 0

    def offer(self, message: bytes, *errors: type[ProtocolError]) -> None:
        with pytest.raises(errors or (ProtocolError,)):
            self.round.receive(message)
        if self.phase in ("upload", "open"):
            self.refusals += 1

    # Clients.

    @rule(clients=st.sets(CLIENTS, min_size=1), seed=st.integers(0, 1000), deliver=st.booleans())
    def join_and_upload(self, clients: set[int], seed: int, deliver: bool) -> None:
        for client in clients:
            self.join_and_upload_one(client, seed + client)
            if deliver:
                self.deliver_one(client)

    def join_and_upload_one(self, client: int, seed: int) -> None:
        data = self.round.broadcast.data
        if client in self.parts:
            with pytest.raises(SpentRoundError):
                self.clients[client].join(data)
            with pytest.raises(PhaseError):
                self.parts[client].answer(data)
            return
        part = self.parts[client] = self.clients[client].join(data)
        self.values[client] = np.random.default_rng(seed).integers(-50, 51, SPEC.length)
        part.provide(self.values[client])
        self.in_flight[client] = part.answer(data)

    # The network.

    @rule(clients=st.lists(CLIENTS, min_size=1))
    def deliver(self, clients: list[int]) -> None:
        for client in clients:
            if client in self.in_flight:
                self.deliver_one(client)

    def deliver_one(self, client: int) -> None:
        message = self.in_flight[client]
        if self.phase != "upload":
            self.offer(message)
        elif client in self.accepted:
            self.offer(message, DuplicateError)
        else:
            assert self.round.receive(message) == ("client", client)
            self.accepted.add(client)

    @rule(client=CLIENTS, place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def deliver_damaged(self, client: int, place: float, bit: int) -> None:
        if client in self.in_flight:
            damaged = bytearray(self.in_flight[client])
            damaged[int(place * len(damaged))] ^= 1 << bit
            self.offer(bytes(damaged))

    @rule(client=CLIENTS)
    def deliver_an_upload_of_the_earlier_round(self, client: int) -> None:
        data = self.earlier.broadcast.data
        part = self.run.client(client).join(data)
        part.provide(np.ones(SPEC.length, np.int64))
        self.offer(part.answer(data))

    @rule(one=CLIENTS, other=CLIENTS)
    def deliver_one_clients_upload_in_anothers_name(self, one: int, other: int) -> None:
        if one in self.in_flight and one != other:
            frame = bytearray(self.in_flight[one])
            frame[9:17] = other.to_bytes(8, "little")
            assert read_frame(bytes(frame)).header.sender == ("client", other)
            self.offer(bytes(frame))

    @rule(noise=st.binary(max_size=300))
    def deliver_noise(self, noise: bytes) -> None:
        self.offer(noise)

    # The server.

    @rule(how=st.sampled_from(["wait", "ask", "ask", "lose", "close"]))
    def go_on(self, how: str) -> None:
        ready = self.opened if self.phase == "open" else len(self.accepted) >= self.needed
        if self.phase == "open" and how in ("ask", "lose"):
            self.ask_the_decryptor(how == "lose")
        if ready and how != "wait" or how == "close":
            self.close()

    def ask_the_decryptor(self, lose: bool) -> None:
        answer = self.run.decryptors[0].answer(self.round.outbox()[DECRYPTOR])
        assert self.answer in (None, answer)
        self.answer = answer
        if lose:
            return
        if self.opened:
            self.offer(answer, DuplicateError)
        else:
            assert self.round.receive(answer) == DECRYPTOR
            self.opened = True

    def close(self) -> None:
        if self.phase in ("done", "aborted"):
            with pytest.raises(PhaseError):
                self.round.close_phase()
        elif self.phase == "upload" and len(self.accepted) < self.needed:
            with pytest.raises(RoundAborted, match=f"{len(self.accepted)} uploads arrived"):
                self.round.close_phase()
            self.phase = "aborted"
        elif self.phase == "upload":
            self.round.close_phase()
            self.phase = "open" if self.run.decryptors else "done"
        elif self.opened:
            self.round.close_phase()
            self.phase = "done"
        else:
            with pytest.raises(RoundAborted, match="did not open"):
                self.round.close_phase()
            self.phase = "aborted"

    def teardown(self) -> None:
        """What is still under way arrives at last, and the round comes to its end."""
        if not hasattr(self, "round"):
            return
        if self.phase == "upload":
            self.join_and_upload({4}, 0, deliver=True)
            self.deliver(sorted(set(self.in_flight) - self.accepted))
            self.close()
        if self.phase == "open":
            if not self.opened:
                self.ask_the_decryptor(lose=False)
            self.close()
        self.the_round_is_where_the_model_is()
        self.ends[self.round.phase] += 1

    @invariant()
    def the_round_is_where_the_model_is(self) -> None:
        if not hasattr(self, "round"):
            return
        assert self.round.phase == self.phase
        assert self.round.done == (self.phase == "done")
        assert self.round.uploaded == self.accepted
        assert len(self.round.complaints) == self.refusals
        expected = {
            "upload": {("client", client) for client in range(5)},
            "open": {DECRYPTOR},
        }
        assert set(self.round.outbox()) == expected.get(self.phase, set())
        if self.phase == "done":
            result = self.round.result
            assert result.survivors == self.accepted and len(result.survivors) >= self.needed
            assert (result.values == sum(self.values[client] for client in self.accepted)).all()
        else:
            with pytest.raises(PhaseError):
                _ = self.round.result


@pytest.mark.parametrize("name", ["plain", "ckks"])
def test_a_round_opens_the_sum_of_whom_it_accepted_and_nothing_else(name: str) -> None:
    class Machine(RoundMachine):
        ends: Counter[str] = Counter()
        run = enrol(name, SPEC, run_id=b"run", client_ids=range(5))

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Machine, settings=settings(max_examples=100, stateful_step_count=30, deadline=None)
    )
    # A model that never comes to an end, or only to one, would promise little.
    assert Machine.ends["done"] and Machine.ends["aborted"]
