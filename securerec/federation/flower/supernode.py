"""A party's own place in the Flower federation: what a SuperNode does, in the party's process, without Flower's apps.

It speaks the Fleet API over TLS and signs every request with the party's node key (ECDSA P-384), as Flower's SuperNode
does. It differs where that would break our promises: the app (FAB) that a run brings is never asked for, stored or
executed, and no reply of the SuperLink can end this process or start another.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Context, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.clientapp import ClientApp
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import pull_and_inflate_object_from_tree, push_objects
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufClientInterceptor, ProtobufRequestContext
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from securerec.errors import RunError
from securerec.federation.flower.client_app import PIECE_BYTES
from securerec.federation.flower.superlink import WAIT_HEADER
from securerec.federation.parties.letters import MAX_LETTER_BYTES
from securerec.files import write_atomic

_logger = logging.getLogger("securerec.supernode")

MOST_OBJECTS = 8 + MAX_LETTER_BYTES // PIECE_BYTES
"""Flower's objects of one message: its pieces, and a few that say how they belong together."""

_PULL = "/flwr.proto.Fleet/PullMessages"

PULL_SECONDS = 120.0
"""How long the pieces of one message may take to arrive."""

HEARTBEAT_SECONDS = 10.0
"""The least that Flower allows; a node that is silent for twice as long is offline."""

UNKNOWN = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.PRECONDITION_FAILED)
"""With which a SuperLink answers a node whose key nobody has registered."""

PASSING = frozenset({408, 429, 502, 503, 504})
"""With which an address answers while its SuperLink is busy or starts: asking again is right."""


@dataclass(frozen=True, slots=True)
class Link:
    """How to reach the SuperLink. address: host:port. ca: PEM of the certificate that signed the SuperLink's. poll:
    seconds between two looks for letters while there are none. wait: seconds that one look may take, if the SuperLink
    is ours and holds it back until there is a letter; Flower's own answers at once. patience: seconds without a
    connection after which `serve` gives up, None for never. memory: a file for the number that the SuperLink has given
    this node: with it a process that was killed and starts anew connects at once, and otherwise when its last heartbeat
    has expired.
    """

    address: str
    ca: bytes
    poll: float = 0.2
    wait: float = 15.0
    patience: float | None = None
    memory: Path | None = None


class NotRegistered(RunError):
    """The SuperLink does not know this node's key; the server registers those that were enrolled when it starts."""


class _Waiting:
    """Asks the SuperLink's door to hold a look for messages back until there are some, for so many seconds at most."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        if context.rpc_method == _PULL:
            context.request.headers[WAIT_HEADER] = f"{self._seconds:.3f}"
        return call_next(context)


class SuperNode:
    """One authenticated connection. Use `connected`."""

    def __init__(self, client: FleetHttpClient, node: Node) -> None:
        self._client, self._node = client, node

    @property
    def number(self) -> int:
        """The node's number at the SuperLink."""
        return int(self._node.node_id)

    def receive(self) -> Message | None:
        """The next message for this node with its content, None where there is none. Raises httpx.HTTPError."""
        response = self._client.PullMessages(PullMessagesRequest(node=self._node))
        if not response.messages_list:
            return None
        run_id = message_from_proto(response.messages_list[0]).metadata.run_id
        tree = response.message_object_trees[0]
        if sum(1 for _ in iterate_object_tree(tree)) > MOST_OBJECTS:
            _logger.warning("a message of too many pieces is not fetched")
            return None
        message = pull_and_inflate_object_from_tree(
            tree,
            make_pull_object_fn_protobuf(self._client.PullObject, self._node, run_id),
            make_confirm_message_received_fn_protobuf(self._client.ConfirmMessageReceived, self._node, run_id),
            return_type=Message,
            max_time=PULL_SECONDS,
            initial_backoff=0.05,
            backoff_cap=1.0,
        )
        message.metadata.__dict__["_message_id"] = tree.object_id
        return message

    def send(self, reply: Message, seconds: float) -> None:
        """Send a reply; `seconds` is how long making it took. Raises httpx.HTTPError."""
        reply.metadata.__dict__["_message_id"] = reply.object_id
        run_id = reply.metadata.run_id
        with no_object_id_recompute():
            response = self._client.PushMessages(
                PushMessagesRequest(
                    node=self._node,
                    messages_list=[message_to_proto(remove_content_from_message(reply))],
                    message_object_trees=[get_object_tree(reply)],
                    clientapp_runtime_list=[seconds],
                )
            )
            push_objects(
                get_all_nested_objects(reply),
                make_push_object_fn_protobuf(self._client.PushObject, self._node, run_id, response.session_id),
                object_ids_to_push=set(response.objects_to_push),
            )

    def heartbeat(self) -> bool:
        """Tell the SuperLink that this node lives."""
        try:
            request = SendNodeHeartbeatRequest(node=self._node, heartbeat_interval=HEARTBEAT_SECONDS)
            return bool(self._client.SendNodeHeartbeat(request).success)
        except httpx.HTTPError:
            return False


@contextmanager
def connected(link: Link, key: ec.EllipticCurvePrivateKey) -> Iterator[SuperNode]:
    """Activate the node of this key at the SuperLink and keep it alive.

    Raises httpx.TransportError where nobody answers, RunError where the SuperLink's certificate is not signed by
    `link.ca`, or it does not know this key.
    """
    public = key.public_key()
    interceptors: list[ProtobufClientInterceptor] = [
        RuntimeVersionHttpInterceptor(component_name="SuperNode"), NodeAuthHttpInterceptor(key, public),
        _Waiting(link.wait),
    ]  # fmt: skip
    with FleetHttpClient.from_server_address(link.address, False, link.ca, interceptors) as client:
        _leave(client, _remembered(link))
        try:
            activated = client.ActivateNode(
                ActivateNodeRequest(public_key=public_key_to_bytes(public), heartbeat_interval=HEARTBEAT_SECONDS)
            )
        except httpx.HTTPStatusError as error:
            status: Any = error.response.status_code
            if status in PASSING:
                raise
            if status in UNKNOWN:
                raise NotRegistered(f"the SuperLink at {link.address} does not know this node's key") from None
            raise RunError(f"the SuperLink at {link.address} refused this node with status {status}") from None
        except httpx.ConnectError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise RunError(
                    f"what answers at {link.address} is not this federation's SuperLink: its certificate is not signed "
                    "by public/ca.crt or is for another name"
                ) from None
            raise
        if link.memory is not None:
            try:
                write_atomic(link.memory, str(activated.node_id).encode(), private=True)
            except OSError as error:
                raise _not_written(error, link.memory) from None
        node, over = SuperNode(client, Node(node_id=activated.node_id)), threading.Event()
        threading.Thread(target=_beat, args=(node, over), daemon=True).start()
        try:
            yield node
        finally:
            over.set()
            _leave(client, node.number)


def _beat(node: SuperNode, over: threading.Event) -> None:
    while not over.wait(HEARTBEAT_SECONDS / 2):
        node.heartbeat()


def _remembered(link: Link) -> int | None:
    """The number from the last time, if it is known."""
    try:
        text = link.memory.read_bytes() if link.memory is not None else b""
    except OSError:
        return None
    return int(text) if text.isdigit() and len(text) < 21 else None


def _leave(client: FleetHttpClient, number: int | None) -> None:
    """Say that this node is gone, if it had a number; a SuperLink that does not know it any more is right too."""
    if number is not None:
        with suppress(httpx.HTTPStatusError, httpx.TransportError):
            client.DeactivateNode(DeactivateNodeRequest(node_id=number))


def serve(app: ClientApp, link: Link, key: ec.EllipticCurvePrivateKey, *, stop: Callable[[], bool]) -> None:
    """Answer messages until `stop` says so, over as many connections as it takes.

    Raises RunError where the SuperLink is not the right one or this party's disk keeps nothing, NotRegistered or
    RunError where it did not know the key or was out of reach for `link.patience` seconds.
    """
    last, wait = time.monotonic(), link.poll
    while not stop():
        try:
            with connected(link, key) as node:
                _logger.info("connected", extra={"fields": {"node": node.number}})
                last, wait = time.monotonic(), link.poll
                while not stop():
                    if not _turn(app, node):
                        time.sleep(link.poll)
                    last = time.monotonic()
        except (httpx.HTTPError, NotRegistered) as error:
            if link.patience is not None and time.monotonic() - last > link.patience:
                if isinstance(error, NotRegistered):
                    raise
                raise RunError(f"the SuperLink at {link.address} is out of reach: {error}") from None
            because = str(error) if isinstance(error, NotRegistered) else type(error).__name__
            _logger.warning("not connected", extra={"fields": {"because": because, "again_in": wait}})
            time.sleep(wait)
            wait = min(2 * wait, 5.0)


def _not_written(error: OSError, path: Path | None = None) -> RunError:
    """The sentence for a disk that does not take what must be kept before an answer leaves."""
    named = path or error.filename
    what = f"the file {named}" if named is not None else "a file of this party's folder"
    return RunError(
        f"{what} cannot be read or written ({error.strerror or type(error).__name__}), so no answer was sent: free "
        "some space there or mend its rights and start this party anew; what it has answered before it still knows"
    )


def _turn(app: ClientApp, node: SuperNode) -> bool:
    """Answer one message. Whether there was one."""
    try:
        message = node.receive()
    except httpx.HTTPError:
        raise
    except Exception as error:  # what cannot be put together again is the sender's fault, not a reason to end
        _logger.warning("a message is no good", extra={"fields": {"error": type(error).__name__}})
        return True
    if message is None:
        return False
    started = time.perf_counter()
    context = Context(message.metadata.run_id, node.number, {}, RecordDict(), {})
    try:
        reply = app(message, context)
    except ValueError as error:  # no such action
        _logger.warning("a message of another kind is refused", extra={"fields": {"error": type(error).__name__}})
        return True
    except OSError as error:
        raise _not_written(error) from None
    seconds = time.perf_counter() - started
    try:
        node.send(reply, seconds)
    except httpx.HTTPStatusError as error:
        # the run that asked is over, or asks no more
        _logger.warning("a reply is not wanted", extra={"fields": {"status": error.response.status_code}})
    _logger.info("answered", extra={"fields": {"seconds": round(seconds, 3)}})
    return True
