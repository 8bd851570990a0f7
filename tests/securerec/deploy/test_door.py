"""The door before the SuperLink: who gets in, and how nodes wait for letters."""

import asyncio
from base64 import b64encode
from typing import Any

import pytest

pytest.importorskip("flwr")

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from securerec.federation.flower.client_app import PIECE_BYTES
from securerec.federation.flower.superlink import (
    FLEET,
    KEYS,
    MOST_AT_ONCE,
    MOST_REQUEST_BYTES,
    OPERATOR_HEADER,
    PULL,
    PUSH,
    WAIT_HEADER,
    WAKE,
    Door,
)

SECRET = bytes(range(32))


class Inside:
    """What stands behind the door: notes the paths that were let in."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


NODES = {name: ec.generate_private_key(ec.SECP384R1()) for name in "ab"}
LINES = {name: b64encode(public_key_to_bytes(key.public_key())).decode() for name, key in NODES.items()}
OPERATOR = {OPERATOR_HEADER: SECRET.hex()}


def signed(name: str, time: str = "2026-01-01T00:00:00+00:00") -> dict[str, str]:
    signature = NODES[name].sign(time.encode(), ec.ECDSA(hashes.SHA256()))
    return {"flwr-public-key": LINES[name], "flwr-timestamp": time, "flwr-signature": b64encode(signature).decode()}


async def ask(
    door: Door, path: str, body: bytes = b"", method: str = "POST", *, gone: asyncio.Event | None = None,
    read: list[bytes] | None = None, **headers: str,
) -> int:  # fmt: skip
    """gone: set when the connection closes. read: what was read of the body."""
    status, parts = 0, [body]

    async def receive() -> dict[str, Any]:
        if parts:
            if read is not None:
                read.append(parts[0])
            return {"type": "http.request", "body": parts.pop(), "more_body": False}
        await (gone or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    given = {"content-length": str(len(body))} | {name.replace("_", "-"): text for name, text in headers.items()}
    raw = [(name.encode(), text.encode()) for name, text in given.items() if text != "absent"]
    await door({"type": "http", "method": method, "path": path, "headers": raw}, receive, send)
    return status


def door_and_inside(most: int = 1000, **given: Any) -> tuple[Door, Inside]:
    inside = Inside()
    door = Door(inside, SECRET, most_bytes=most, **given)
    assert asyncio.run(ask(door, KEYS, "\n".join(LINES.values()).encode(), **OPERATOR)) == (
        200 if most >= 1000 else 403
    )
    return door, inside


@pytest.mark.parametrize("path", ["/v1/control/start-run", "/v1/control/register-node", "/v1/runtime/acquire-task", "/",
                                  "/docs", "/v1/fleet", WAKE, KEYS])  # fmt: skip
def test_only_the_operator_reaches_what_is_not_for_nodes(path: str) -> None:
    door, inside = door_and_inside()
    assert asyncio.run(ask(door, path)) == 403
    assert asyncio.run(ask(door, path, **{OPERATOR_HEADER: bytes(32).hex()})) == 403
    assert asyncio.run(ask(door, path, **{OPERATOR_HEADER: SECRET.hex()[:-1]})) == 403
    assert inside.paths == []
    assert asyncio.run(ask(door, path, **{OPERATOR_HEADER: SECRET.hex()})) == 200


def test_nodes_reach_the_fleet_api() -> None:
    door, inside = door_and_inside()
    assert asyncio.run(ask(door, FLEET + "activate-node", **signed("a"))) == 200
    assert inside.paths == [FLEET + "activate-node"]


def test_nothing_is_read_of_who_is_no_registered_node_or_signs_with_another_key() -> None:
    door, inside = door_and_inside()
    stranger = b64encode(public_key_to_bytes(ec.generate_private_key(ec.SECP384R1()).public_key())).decode()
    read: list[bytes] = []
    for change in (
        {"flwr-public-key": stranger}, {"flwr-public-key": "absent"}, {"flwr-public-key": LINES["b"]},
        {"flwr-timestamp": "2026-01-02T00:00:00+00:00"}, {"flwr-timestamp": "absent"}, {"flwr-signature": "absent"},
        {"flwr-signature": "????"}, {"flwr-signature": signed("b")["flwr-signature"]},
    ):  # fmt: skip
        for path in (FLEET + "activate-node", PULL, PUSH):
            assert asyncio.run(ask(door, path, b"body", read=read, **(signed("a") | change))) == 403
    assert (read, inside.paths) == ([], [])
    assert asyncio.run(ask(door, PUSH, b"body", read=read, **signed("a"))) == 200
    assert read == [b"body"]


def test_a_node_that_the_operator_names_no_more_is_let_in_no_more() -> None:
    door, _ = door_and_inside()
    assert asyncio.run(ask(door, KEYS, LINES["b"].encode() + b"\nno key", **OPERATOR)) == 200
    assert asyncio.run(ask(door, PUSH, **signed("a"))) == 403
    assert asyncio.run(ask(door, PUSH, **signed("b"))) == 200


@pytest.mark.parametrize("length", ["1001", "-1", "x", "absent", "9" * 5000])
def test_a_request_that_is_too_long_or_does_not_say_how_long_is_refused(length: str) -> None:
    door, inside = door_and_inside()
    assert asyncio.run(ask(door, PUSH, **(signed("a") | {"content-length": length}))) == 403
    assert asyncio.run(ask(door, WAKE, **(OPERATOR | {"content-length": length}))) == 403
    assert asyncio.run(ask(door, PUSH, transfer_encoding="chunked", **signed("a"))) == 403
    assert inside.paths == []


def test_only_pieces_of_letters_may_be_long() -> None:
    door, inside = door_and_inside(most_words=100)
    assert asyncio.run(ask(door, PUSH, bytes(1000), **signed("a"))) == 200
    for path in (PULL, FLEET + "push-messages", FLEET + "activate-node", PUSH + "/"):
        assert asyncio.run(ask(door, path, bytes(101), **signed("a"))) == 403
        assert asyncio.run(ask(door, path, bytes(100), **signed("a"))) == 200


def test_a_piece_of_a_letter_goes_through() -> None:
    assert PIECE_BYTES + 10_000 < MOST_REQUEST_BYTES
    door = Door(Inside(), SECRET)
    assert asyncio.run(ask(door, KEYS, LINES["a"].encode(), **OPERATOR)) == 200
    assert asyncio.run(ask(door, PUSH, bytes(PIECE_BYTES + 10_000), **signed("a"))) == 200


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    door, inside = door_and_inside(seconds=0.05)

    async def never() -> None:
        await asyncio.Event().wait()

    status: list[int] = []

    async def send(message: dict[str, Any]) -> None:
        status.extend([message["status"]] if "status" in message else [])

    headers = [(name.encode(), text.encode()) for name, text in (signed("a") | {"content-length": "9"}).items()]
    scope = {"type": "http", "method": "POST", "path": PUSH, "headers": headers}
    asyncio.run(asyncio.wait_for(door(scope, never, send), 5))
    assert (status, inside.paths) == ([408], [])


def test_one_node_has_no_more_requests_at_once_than_it_needs_and_others_have_theirs() -> None:
    door, _ = door_and_inside()

    async def story() -> None:
        wait = {WAIT_HEADER: "20"}
        looks = [asyncio.create_task(ask(door, PULL, **wait, **signed("a"))) for _ in range(MOST_AT_ONCE)]
        await asyncio.sleep(0.2)
        assert await ask(door, PUSH, **signed("a")) == 429
        assert await ask(door, PUSH, **signed("b")) == 200
        await ask(door, WAKE, LINES["a"].encode(), **OPERATOR)
        assert await asyncio.wait_for(asyncio.gather(*looks), 5) == [200] * MOST_AT_ONCE
        assert await ask(door, PUSH, **signed("a")) == 200

    asyncio.run(story())


def test_a_websocket_gets_no_answer() -> None:
    door, inside = door_and_inside()
    asyncio.run(door({"type": "websocket", "path": FLEET, "headers": []}, None, None))  # type: ignore[arg-type]
    assert inside.paths == []


def test_a_look_for_letters_is_held_back_until_there_are_some() -> None:
    door, inside = door_and_inside()

    async def story() -> None:
        look = asyncio.create_task(ask(door, PULL, **({WAIT_HEADER: "20"} | signed("a"))))
        other = asyncio.create_task(ask(door, PULL, **({WAIT_HEADER: "20"} | signed("b"))))
        await asyncio.sleep(0.05)
        assert inside.paths == []
        await ask(door, WAKE, LINES["a"].encode() + b"\n", **OPERATOR)
        await asyncio.wait_for(look, 5)
        assert inside.paths == [PULL] and not other.done()
        other.cancel()

    asyncio.run(story())


def test_letters_that_came_while_a_node_was_busy_are_not_waited_for() -> None:
    door, inside = door_and_inside()

    async def story() -> None:
        await ask(door, WAKE, LINES["a"].encode() + b"\n", **OPERATOR)
        await asyncio.wait_for(ask(door, PULL, **({WAIT_HEADER: "20"} | signed("a"))), 5)
        look = asyncio.create_task(ask(door, PULL, **({WAIT_HEADER: "20"} | signed("a"))))
        await asyncio.sleep(0.05)
        assert not look.done()
        look.cancel()

    asyncio.run(story())


def test_of_several_looks_of_one_node_each_is_woken_and_a_stranger_s_takes_nothing() -> None:
    door, inside = door_and_inside()

    async def story() -> None:
        wait = {WAIT_HEADER: "20"}
        assert await ask(door, PULL, **(wait | signed("b") | {"flwr-public-key": LINES["a"]})) == 403
        looks = [asyncio.create_task(ask(door, PULL, **wait, **signed("a"))) for _ in range(3)]
        await asyncio.sleep(0.1)
        await ask(door, WAKE, LINES["a"].encode(), **OPERATOR)
        assert await asyncio.wait_for(asyncio.gather(*looks), 5) == [200, 200, 200]

    asyncio.run(story())


def test_a_look_whose_connection_closed_takes_no_letters_and_leaves_the_note_to_the_next() -> None:
    door, inside = door_and_inside()

    async def story() -> None:
        gone = asyncio.Event()
        look = asyncio.create_task(ask(door, PULL, gone=gone, **{WAIT_HEADER: "20"}, **signed("a")))
        await asyncio.sleep(0.1)
        gone.set()
        await asyncio.wait_for(look, 5)
        assert inside.paths == []
        await ask(door, WAKE, LINES["a"].encode(), **OPERATOR)
        await asyncio.wait_for(ask(door, PULL, **{WAIT_HEADER: "20"}, **signed("a")), 5)
        assert inside.paths == [PULL]

    asyncio.run(story())


@pytest.mark.parametrize("wait", ["0", "-3", "nan", "soon", "1e999"])
def test_nobody_is_held_who_does_not_ask_for_it_in_seconds(wait: str) -> None:
    door, inside = door_and_inside()
    if wait == "1e999":  # as long as anybody: the door's own limit

        async def story() -> None:
            look = asyncio.create_task(ask(door, PULL, **({WAIT_HEADER: wait} | signed("a"))))
            await asyncio.sleep(0.05)
            assert not look.done()
            look.cancel()

        asyncio.run(story())
        return
    asyncio.run(asyncio.wait_for(ask(door, PULL, **({WAIT_HEADER: wait} | signed("a"))), 5))
    assert inside.paths == [PULL]
