"""The SuperLink: Flower's own, behind a door.

Flower's SuperLink serves three APIs at one address: Fleet, for nodes, each request signed with a registered key; and
Control and Runtime, with which runs are started and nodes registered, which are open to whoever reaches the address.
Here everything but Fleet asks for the operator's secret, compared in constant time, so that who is not the operator
can neither register a node nor start a run. It runs no app itself (isolation "process", no dependency installation).
"""

import asyncio
import hmac
import logging
from base64 import b64decode
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

OPERATOR_HEADER = "x-securerec-operator"
OPERATOR_BYTES = 32
FLEET = "/v1/fleet/"
PULL = "/v1/fleet/pull-messages"
PUSH = "/v1/fleet/push-object"
WAKE = "/securerec/wake"
KEYS = "/securerec/keys"
WAIT_HEADER = "x-securerec-wait"
KEY_HEADER = b"flwr-public-key"
"""Where a node names its key."""

TIME_HEADER, SIGNATURE_HEADER = b"flwr-timestamp", b"flwr-signature"
"""What a node signs with it, and the signature; how old it may be is Flower's to say."""

MOST_REQUEST_BYTES = 17 << 20
"""Of a piece of a letter on its way (`client_app.PIECE_BYTES` and what Flower adds)."""

MOST_WORDS_BYTES = 256 << 10
"""Of a node's request that carries no piece."""

MOST_AT_ONCE = 16
"""Requests of one node at the same time: eight pieces, a look, a heartbeat, and some that were cut off."""

BODY_SECONDS = 60.0
"""How long the body of one request may take to arrive."""

MOST_CONNECTIONS = 2048
"""At the same time, of whoever; beyond, a request is answered with status 503 and nodes ask again."""

MOST_WAIT = 25.0
"""Seconds that a look for messages is held back; Flower's client gives up after 30."""

Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Any, Send], Awaitable[None]]


class Door:
    """An ASGI application that lets the Fleet API through, and everything else only with the operator's secret.

    Nobody's body is read before it is known whose it is: the operator names the nodes' keys when it has registered them
    (`POST /securerec/keys`, a line each), and a node's request carries a signature in its header.

    It also spares nodes their polling: a node's look for messages is held back until the operator says that there are
    some for it (`POST /securerec/wake` with public keys, a line each), for as long as the node has asked for.
    """

    def __init__(
        self,
        app: App,
        secret: bytes,
        *,
        most_bytes: int = MOST_REQUEST_BYTES,
        most_words: int = MOST_WORDS_BYTES,
        seconds: float = BODY_SECONDS,
    ) -> None:
        """most_bytes: of the operator's bodies and nodes' pieces; most_words: of nodes' others. seconds: of a body."""
        self._app, self._secret, self._seconds = app, secret.hex().encode(), seconds
        self._most, self._most_words = most_bytes, most_words
        self._keys: dict[bytes, ec.EllipticCurvePublicKey] = {}
        self._waiting: dict[bytes, set[asyncio.Event]] = {}
        self._woken: set[bytes] = set()
        self._busy: Counter[bytes] = Counter()

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        node = headers.get(KEY_HEADER, b"") if scope["path"].startswith(FLEET) else b""
        if not self._lets_in(scope, headers):
            await _answer(send, 403, b"not for you\n")
        elif node and self._busy[node] >= MOST_AT_ONCE:
            await _answer(send, 429, b"one after the other\n")
        else:
            self._busy[node] += 1
            try:
                await self._serve(scope, headers, receive, send)
            finally:
                self._busy[node] -= 1

    async def _serve(self, scope: Scope, headers: dict[bytes, bytes], receive: Any, send: Send) -> None:
        try:
            body = await asyncio.wait_for(_body(receive), self._seconds)
        except TimeoutError:
            body = None
        if body is None:
            await _answer(send, 408, b"too slow\n")
        elif scope["path"] == WAKE:
            self._wake(body.split(b"\n"))
            await _answer(send, 200, b"")
        elif scope["path"] == KEYS:
            self._keys = {line: key for line in body.split(b"\n") if (key := _key(line)) is not None}
            await _answer(send, 200, b"")
        else:
            if scope["path"] != PULL or await self._hold(headers, receive):
                await self._app(scope, _again(body, receive), send)

    def _lets_in(self, scope: Scope, headers: dict[bytes, bytes]) -> bool:
        length = headers.get(b"content-length", b"0" if scope["method"] == "GET" else b"")
        if not length.isdigit() or len(length) > 12 or b"transfer-encoding" in headers:
            return False
        if scope["path"].startswith(FLEET):
            most = self._most if scope["path"] == PUSH else self._most_words
            return int(length) <= most and self._signed(headers)
        given = headers.get(OPERATOR_HEADER.encode(), b"")
        return int(length) <= self._most and hmac.compare_digest(given, self._secret)

    def _signed(self, headers: dict[bytes, bytes]) -> bool:
        """Whether a node that the operator named has signed. Flower looks again, and at the time that was signed."""
        key = self._keys.get(headers.get(KEY_HEADER, b""))
        if key is None:
            return False
        try:
            signature = b64decode(headers.get(SIGNATURE_HEADER, b""), validate=True)
            key.verify(signature, headers.get(TIME_HEADER, b""), ec.ECDSA(hashes.SHA256()))
        except (ValueError, InvalidSignature):
            return False
        return True

    async def _hold(self, headers: dict[bytes, bytes], receive: Any) -> bool:
        """Until this node is woken or its time is over. False where it is gone: no letter is for a closed connection.

        Of several looks of one node each is woken.
        """
        key = headers[KEY_HEADER]
        try:
            seconds = min(float(headers.get(WAIT_HEADER.encode(), b"0")), MOST_WAIT)
        except ValueError:
            seconds = 0.0
        if not seconds > 0 or key in self._woken:
            self._woken.discard(key)
            return True
        event = asyncio.Event()
        self._waiting.setdefault(key, set()).add(event)
        woken, gone = asyncio.ensure_future(event.wait()), asyncio.ensure_future(receive())
        try:
            await asyncio.wait({woken, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if not gone.done():
                return True
            if event.is_set() and len(self._waiting[key]) == 1:
                self._woken.add(key)  # for its next look
            return False
        finally:
            woken.cancel()
            gone.cancel()
            waiting = self._waiting[key]
            waiting.discard(event)
            if not waiting:
                del self._waiting[key]

    def _wake(self, keys: list[bytes]) -> None:
        for key in keys:
            if key in self._waiting:
                for event in self._waiting[key]:
                    event.set()
            elif key in self._keys:
                self._woken.add(key)


def _key(line: bytes) -> ec.EllipticCurvePublicKey | None:
    try:
        key = load_pem_public_key(b64decode(line, validate=True))
    except ValueError:
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey) else None


async def _body(receive: Any) -> bytes | None:
    """The whole body, no more than its header says (the server that calls us sees to it). None where it broke off."""
    parts, more = [], True
    while more:
        part = await receive()
        if part["type"] != "http.request":
            return None
        parts.append(part.get("body", b""))
        more = part.get("more_body", False)
    return b"".join(parts)


def _again(body: bytes, receive: Any) -> Any:
    """A `receive` that gives a body that was read already, and then whatever comes."""
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_part() -> Any:
        return parts.pop() if parts else await receive()

    return next_part


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
        Door(application, operator),
        host=host,
        port=port,
        log_level=log_level,
        access_log=False,
        ssl_keyfile=str(key),
        ssl_certfile=str(certificate),
        workers=1,
        limit_concurrency=MOST_CONNECTIONS,
    )
