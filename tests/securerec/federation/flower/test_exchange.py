"""The server's letters over a Grid whose nodes announce what they like: no node ends a phase but its own."""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

pytest.importorskip("flwr")

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.supercore.inflatable.inflatable_object import (
    InflatableObject,
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
)
from flwr.supercore.task_identity import TaskIdentity
from google.protobuf.message import DecodeError

from securerec.federation.flower.client_app import content_of
from securerec.federation.flower.exchange import Expected, FlowerExchange
from securerec.federation.flower.replies import Reply, ReplyError
from securerec.federation.flower.supernode import MOST_OBJECTS


@pytest.fixture(autouse=True)
def task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower's messages ask the process which task it is."""
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


Answer = Callable[[Message], InflatableObject]


def letter(text: bytes) -> Answer:
    return lambda message: Message(content_of(text), reply_to=message)


def record(message: Message) -> InflatableObject:
    return ConfigRecord({"a": 1})


@dataclass
class FakeGrid:
    """Answers at once, for each node, with the object that its function makes. What is in `fails` is raised when that
    node's reply is announced, or with `at_pieces` when a piece of it is asked for; of nodes in `hang` no piece comes.
    """

    answers: dict[int, Answer]
    fails: dict[int, Exception] = field(default_factory=dict)
    hang: set[int] = field(default_factory=set)
    at_pieces: bool = False
    replies: dict[str, tuple[int, Any, InflatableObject]] = field(default_factory=dict)
    contents: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    def get_nodes(self) -> list[Any]:
        return [SimpleNamespace(node_id=n, public_key=b"%d" % n, last_activated_at="now") for n in self.answers]

    def wake(self, keys: Iterable[bytes]) -> None:
        list(keys)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        numbers = []
        for message in messages:
            node = message.metadata.dst_node_id
            message.metadata.__dict__["_message_id"] = number = message.object_id
            message.metadata.__dict__["_run_id"] = 1
            made = self.answers[node](message)
            shell = made if isinstance(made, Message) else Message(RecordDict(), reply_to=message)
            proto = message_to_proto(remove_content_from_message(shell))
            proto.metadata.message_id = made.object_id
            proto.metadata.reply_to_message_id = number
            self.replies[number] = (node, proto, made)
            for piece, whole in get_all_nested_objects(made).items():
                self.contents[piece] = (node, whole.deflate())
            numbers.append(number)
        return numbers

    def announced(self, numbers: Iterable[str]) -> list[Reply]:
        wanted = [number for number in numbers if number in self.replies]
        for number in wanted:
            if not self.at_pieces and (error := self.fails.get(self.replies[number][0])) is not None:
                raise error
        found = [self.replies.pop(number) for number in wanted]
        return [Reply.announced(proto, get_object_tree(made)) for _, proto, made in found]

    def piece(self, number: str) -> bytes | None:
        node, content = self.contents[number]
        if self.at_pieces and node in self.fails:
            raise self.fails[node]
        return None if node in self.hang else content

    def received(self, number: str) -> None:
        pass


def exchange(grid: FakeGrid) -> FlowerExchange:
    expected = {f"node-{n}": Expected(n, "node", (n,)) for n in grid.answers}
    return FlowerExchange(grid, expected, poll=0.01)  # type: ignore[arg-type]


def delivered(grid: FakeGrid, deadline: float = 20.0) -> dict[str, bytes]:
    letters = {f"node-{n}": b"ask %d" % n for n in grid.answers}
    return dict(exchange(grid).deliver(letters, deadline=deadline))


def three(**given: Any) -> FakeGrid:
    return FakeGrid({n: letter(b"answer %d" % n) for n in (1, 2, 3)}, **given)


def test_every_answer_comes_whatever_its_length() -> None:
    grid = three()
    long = bytes(range(256)) * (1 << 17)  # two pieces
    grid.answers[2] = letter(long)
    assert delivered(grid) == {"node-1": b"answer 1", "node-2": long, "node-3": b"answer 3"}


STATUS = httpx.HTTPStatusError("x", request=httpx.Request("POST", "https://s"), response=httpx.Response(500))
ERRORS = [AttributeError("x"), DecodeError("x"), KeyError("x"), RecursionError("x"), ReplyError("gone"), STATUS]


@pytest.mark.parametrize("at_pieces", [False, True])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_reply_that_cannot_be_read_costs_its_sender_the_phase_and_nobody_else(
    error: Exception, at_pieces: bool, caplog: pytest.LogCaptureFixture
) -> None:
    start = time.monotonic()
    with caplog.at_level(logging.WARNING, "securerec.exchange"):
        answers = delivered(three(fails={2: error}, at_pieces=at_pieces))
    assert answers == {"node-1": b"answer 1", "node-3": b"answer 3"}
    assert time.monotonic() - start < 10  # and not the deadline
    (line,) = [record.__dict__["fields"] for record in caplog.records]
    assert line["peer"] == "node-2" and "node-2 is left out of this phase" in line["error"]


def test_a_record_announced_in_place_of_a_message_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    grid = three()
    grid.answers[2] = record
    assert set(delivered(grid)) == {"node-1", "node-3"}
    assert "it is a ConfigRecord and no message" in caplog.records[-1].__dict__["fields"]["error"]


def test_a_reply_of_too_many_pieces_is_not_fetched(caplog: pytest.LogCaptureFixture) -> None:
    grid = three()
    many = RecordDict({str(n): ConfigRecord({"a": n}) for n in range(MOST_OBJECTS)})
    grid.answers[2] = lambda message: Message(many, reply_to=message)
    assert set(delivered(grid)) == {"node-1", "node-3"}
    assert "pieces" in caplog.records[-1].__dict__["fields"]["error"]


def test_pieces_of_too_many_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("securerec.federation.flower.replies._MOST_BYTES", 10_000)
    grid = three()
    grid.answers[2] = letter(bytes(20_000))
    assert set(delivered(grid)) == {"node-1", "node-3"}


def test_a_phase_ends_at_its_deadline_though_a_node_announced_pieces_and_sent_none() -> None:
    start = time.monotonic()
    assert set(delivered(three(hang={2}), deadline=1.0)) == {"node-1", "node-3"}
    assert 0.9 < time.monotonic() - start < 3.0


def test_answers_are_given_out_before_a_node_that_sends_no_pieces_is_given_up() -> None:
    grid = three(hang={1})
    start = time.monotonic()
    answers = exchange(grid).deliver({f"node-{n}": b"ask" for n in grid.answers}, deadline=60.0)
    assert {next(answers)[0], next(answers)[0]} == {"node-2", "node-3"}
    assert time.monotonic() - start < 10


def test_a_node_cannot_answer_for_another() -> None:
    """Whom a reply answers is the SuperLink's word, not what the pieces say."""
    grid = three()
    asked: list[Message] = []

    def spy(message: Message) -> InflatableObject:
        asked.append(message)
        return Message(content_of(b"answer 1"), reply_to=message)

    grid.answers[1] = spy
    grid.answers[2] = lambda message: Message(content_of(b"forged"), reply_to=asked[0])
    assert delivered(grid) == {"node-1": b"answer 1", "node-2": b"forged", "node-3": b"answer 3"}


@pytest.mark.parametrize("status", [401, 403, 503])
def test_a_superlink_that_lost_the_run_is_no_node_s_fault(status: int) -> None:
    lost = httpx.HTTPStatusError("x", request=httpx.Request("POST", "https://s"), response=httpx.Response(status))
    for at_pieces in (False, True):
        with pytest.raises(httpx.HTTPStatusError):
            delivered(three(fails={2: lost}, at_pieces=at_pieces))


def test_a_superlink_that_is_silent_for_long_ends_the_run_it_carries() -> None:
    for at_pieces in (False, True):
        with pytest.raises(httpx.ConnectError):
            delivered(three(fails={2: httpx.ConnectError("gone")}, at_pieces=at_pieces))


def test_the_tree_of_a_reply_is_read_only_as_far_as_is_needed() -> None:
    many = RecordDict({str(n): ConfigRecord({"a": n}) for n in range(2 * MOST_OBJECTS)})
    message = Message(many, 1, "query.securerec")
    tree = get_object_tree(message)
    assert sum(1 for _ in iterate_object_tree(tree)) > 2 * MOST_OBJECTS
    proto = message_to_proto(remove_content_from_message(message))
    assert len(Reply.announced(proto, tree).missing) == MOST_OBJECTS + 1
