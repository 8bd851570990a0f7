"""The SuperLink: Flower's own, behind a door.

Flower's SuperLink serves three APIs at one address: Fleet, for nodes, each request signed with a registered key; and
Control and Runtime, with which runs are started and nodes registered, which are open to whoever reaches the address.
Here everything but Fleet asks for the operator's secret, compared in constant time, so that who is not the operator
can neither register a node nor start a run. It runs no app itself (isolation "process", no dependency installation).
"""

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

OPERATOR_HEADER = "x-securerec-operator"
OPERATOR_BYTES = 32
FLEET = "/v1/fleet/"
PULL = "/v1/fleet/pull-messages"
WAKE = "/securerec/wake"
WAIT_HEADER = "x-securerec-wait"
KEY_HEADER = b"flwr-public-key"
"""Where a node names its key."""

MOST_WAIT = 25.0
"""Seconds that a look for messages is held back; Flower's client gives up after 30."""

Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Any, Send], Awaitable[None]]


class Door:
    """An ASGI application that lets the Fleet API through, and everything else only with the operator's secret.

    It also spares nodes their polling: a node's look for messages is held back until the operator says that there are
    some for it (`POST /securerec/wake` with public keys, a line each), for as long as the node has asked for.
    """

    def __init__(self, app: App, secret: bytes, *, most_bytes: int) -> None:
        """most_bytes: of one request's body as it says of itself."""
        self._app, self._secret, self._most = app, secret.hex().encode(), most_bytes
        self._waiting: dict[bytes, asyncio.Event] = {}
        self._woken: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if not self._lets_in(scope, headers):
            await _answer(send, 403, b"not for you\n")
        elif scope["path"] == WAKE:
            await self._wake(receive, send)
        else:
            if scope["path"] == PULL:
                await self._hold(headers)
            await self._app(scope, receive, send)

    def _lets_in(self, scope: Scope, headers: dict[bytes, bytes]) -> bool:
        length = headers.get(b"content-length", b"0" if scope["method"] == "GET" else b"")
        if not length.isdigit() or int(length) > self._most or b"transfer-encoding" in headers:
            return False
        given = headers.get(OPERATOR_HEADER.encode(), b"")
        return scope["path"].startswith(FLEET) or hmac.compare_digest(given, self._secret)

    async def _hold(self, headers: dict[bytes, bytes]) -> None:
        """Whoever waits is who it says only once Flower has looked at the signature; waiting gives nothing away."""
        key = headers.get(KEY_HEADER, b"")
        try:
            seconds = min(float(headers.get(WAIT_HEADER.encode(), b"0")), MOST_WAIT)
        except ValueError:
            seconds = 0.0
        if not key or not seconds > 0 or key in self._woken:
            self._woken.discard(key)
            return
        event = self._waiting[key] = asyncio.Event()
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            pass
        finally:
            self._woken.discard(key)
            if self._waiting.get(key) is event:
                del self._waiting[key]

    async def _wake(self, receive: Any, send: Send) -> None:
        body, more = b"", True
        while more:
            part = await receive()
            body, more = body + part.get("body", b""), part.get("more_body", False)
        for key in body.split(b"\n"):
            if key:
                self._woken.add(key)
                if key in self._waiting:
                    self._waiting[key].set()
        await _answer(send, 200, b"")


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def run_superlink(
    *, host: str, port: int, certificate: Path, key: Path, ca: Path, operator: bytes, log_level: str
) -> None:
    """Serve until the process is ended. `pinned.prepare` comes first.

    Letters wait in memory alone: in Flower's SQLite each costs three times the work (0.20 s of a core against 0.07 s).
    One that starts anew knows nobody, until the server has registered its nodes and started its run again.
    """
    import uvicorn
    from flwr.common.constant import ISOLATION_MODE_PROCESS, TRANSPORT_TYPE_GRPC_RERE
    from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME
    from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
    from flwr.superlink.config_loader import SuperLinkLifespanConfig, load_control_authn_plugin
    from flwr.superlink.main import create_app

    config = SuperLinkLifespanConfig(
        control_address="127.0.0.1:0",
        health_server_address=None,
        host=host,
        port=port,
        insecure=False,
        certificates=(ca.read_bytes(), certificate.read_bytes(), key.read_bytes()),
        superexec_auth_secret=operator,
        authn_plugin=load_control_authn_plugin(),
        event_log_plugin=None,
        fleet_event_log_plugin=None,
        enable_event_log=False,
        artifact_provider=None,
        enable_supernode_auth=True,
        fleet_api_type=TRANSPORT_TYPE_GRPC_RERE,
        fleet_api_address=None,
        simulation=False,
        ssl_ca_certfile=str(ca),
        ssl_certfile=str(certificate),
        ssl_keyfile=str(key),
        database=FLWR_IN_MEMORY_DB_NAME,
        isolation=ISOLATION_MODE_PROCESS,
        runtime_dependency_install=False,
    )
    logging.getLogger("flwr").setLevel(logging.WARNING)  # it tells of every object otherwise
    application: Any = create_app(config, SuperLinkLifespan)
    uvicorn.run(
        Door(application, operator, most_bytes=MOST_REQUEST_BYTES),
        host=host,
        port=port,
        log_level=log_level,
        access_log=False,
        ssl_keyfile=str(key),
        ssl_certfile=str(certificate),
        workers=1,
    )


MOST_REQUEST_BYTES = 64 << 20
"""Flower sends arrays in pieces of 5 MB; a request beyond this is none of ours."""
