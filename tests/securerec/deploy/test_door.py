"""The door before the SuperLink: who gets in, and how nodes wait for letters."""

import asyncio
from typing import Any

import pytest

from securerec.federation.flower.superlink import FLEET, OPERATOR_HEADER, PULL, WAIT_HEADER, WAKE, Door

SECRET = bytes(range(32))


class Inside:
    """What stands behind the door: notes the paths that were let in."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def ask(door: Door, path: str, body: bytes = b"", method: str = "POST", **headers: str) -> int:
    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    given = {"content-length": str(len(body))} | {name.replace("_", "-"): text for name, text in headers.items()}
    raw = [(name.encode(), text.encode()) for name, text in given.items() if text != "absent"]
    await door({"type": "http", "method": method, "path": path, "headers": raw}, receive, send)
    return status


def door_and_inside(most: int = 1000) -> tuple[Door, Inside]:
    inside = Inside()
    return Door(inside, SECRET, most_bytes=most), inside


@pytest.mark.parametrize("path", ["/v1/control/start-run", "/v1/control/register-node", "/v1/runtime/acquire-task", "/",
                                  "/docs", "/v1/fleet", WAKE])  # fmt: skip
def test_only_the_operator_reaches_what_is_not_for_nodes(path: str) -> None:
    door, inside = door_and_inside()
    assert asyncio.run(ask(door, path)) == 403
    assert asyncio.run(ask(door, path, **{OPERATOR_HEADER: bytes(32).hex()})) == 403
    assert asyncio.run(ask(door, path, **{OPERATOR_HEADER: SECRET.hex()[:-1]})) == 403
    assert inside.paths == []
    assert asyncio.run(ask(door, path, **{OPERATOR_HEADER: SECRET.hex()})) == 200


def test_nodes_reach_the_fleet_api_whose_requests_flower_authenticates() -> None:
    door, inside = door_and_inside()
    assert asyncio.run(ask(door, FLEET + "activate-node")) == 200
    assert inside.paths == [FLEET + "activate-node"]


@pytest.mark.parametrize("length", ["1001", "-1", "x", "absent"])
def test_a_request_that_is_too_long_or_does_not_say_how_long_is_refused(length: str) -> None:
    door, inside = door_and_inside()
    assert asyncio.run(ask(door, FLEET + "push-object", **{"content-length": length})) == 403
    assert asyncio.run(ask(door, FLEET + "push-object", transfer_encoding="chunked")) == 403
    assert inside.paths == []


def test_a_websocket_gets_no_answer() -> None:
    door, inside = door_and_inside()
    asyncio.run(door({"type": "websocket", "path": FLEET, "headers": []}, None, None))  # type: ignore[arg-type]
    assert inside.paths == []


def test_a_look_for_letters_is_held_back_until_there_are_some() -> None:
    door, inside = door_and_inside()

    async def story() -> None:
        look = asyncio.create_task(ask(door, PULL, **{WAIT_HEADER: "20", "flwr-public-key": "a"}))
        other = asyncio.create_task(ask(door, PULL, **{WAIT_HEADER: "20", "flwr-public-key": "b"}))
        await asyncio.sleep(0.05)
        assert inside.paths == []
        await ask(door, WAKE, b"a\n", **{OPERATOR_HEADER: SECRET.hex()})
        await asyncio.wait_for(look, 5)
        assert inside.paths == [PULL] and not other.done()
        other.cancel()

    asyncio.run(story())


def test_letters_that_came_while_a_node_was_busy_are_not_waited_for() -> None:
    door, inside = door_and_inside()

    async def story() -> None:
        await ask(door, WAKE, b"a\n", **{OPERATOR_HEADER: SECRET.hex()})
        await asyncio.wait_for(ask(door, PULL, **{WAIT_HEADER: "20", "flwr-public-key": "a"}), 5)
        look = asyncio.create_task(ask(door, PULL, **{WAIT_HEADER: "20", "flwr-public-key": "a"}))
        await asyncio.sleep(0.05)
        assert not look.done()
        look.cancel()

    asyncio.run(story())


@pytest.mark.parametrize("wait", ["0", "-3", "nan", "soon", "1e999"])
def test_nobody_is_held_who_does_not_ask_for_it_in_seconds(wait: str) -> None:
    door, inside = door_and_inside()
    if wait == "1e999":  # as long as anybody: the door's own limit

        async def story() -> None:
            look = asyncio.create_task(ask(door, PULL, **{WAIT_HEADER: wait, "flwr-public-key": "a"}))
            await asyncio.sleep(0.05)
            assert not look.done()
            look.cancel()

        asyncio.run(story())
        return
    asyncio.run(asyncio.wait_for(ask(door, PULL, **{WAIT_HEADER: wait, "flwr-public-key": "a"}), 5))
    assert inside.paths == [PULL]
