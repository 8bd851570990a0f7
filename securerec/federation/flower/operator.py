"""The operator's side of the SuperLink: registers nodes, starts a Flower run, takes its task and its Grid."""

import hashlib
import io
import ssl
import time
import zipfile
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.common.constant import SubStatus
from flwr.common.serde import run_from_proto
from flwr.proto.control_pb2 import ListNodesRequest, RegisterNodeRequest, StartRunRequest
from flwr.proto.fab_pb2 import Fab
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, PullObjectRequest
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullAppMessagesRequest,
    PullTaskInputRequest,
    PushTaskOutputRequest,
)
from flwr.supercore.constant import TaskType
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufClientInterceptor, ProtobufRequestContext
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import HttpGrid

from securerec.errors import RunError
from securerec.federation.flower.replies import Reply, ReplyError
from securerec.federation.flower.superlink import KEYS, OPERATOR_HEADER, WAKE
from securerec.federation.flower.supernode import PASSING, Link

TASK_SECONDS = 30.0
"""How long a started run's task may take to appear."""

MOST_SHORT_RUNS, SHORT_SECONDS = 10, 60.0
"""So many runs in a row that each ended within so many seconds, with a status, are no accident."""

_ACQUIRE = frozenset({"/flwr.proto.Runtime/AcquireTask"})


class _OperatorHeader:
    """Shows the operator's secret at the SuperLink's door."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret.hex()

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        context.request.headers[OPERATOR_HEADER] = self._secret
        return call_next(context)


class OperatorGrid(HttpGrid):
    """Flower's Grid through the SuperLink's door."""

    def __init__(self, link: Link, secret: bytes, token: str) -> None:
        super().__init__(link.address, root_certificates=link.ca, token=token)
        self._client = _runtime(link, [_OperatorHeader(secret), RuntimeTokenHttpInterceptor(token=token)])
        self._door = _door(link, secret)

    @property
    def client(self) -> RuntimeHttpClient:
        return self._runtime_client

    def announced(self, numbers: Iterable[str]) -> list[Reply]:
        """The replies to these messages that were announced; each is told of once. Raises httpx.HTTPError."""
        response = self.client.PullMessages(PullAppMessagesRequest(message_ids=list(numbers)))
        pairs = zip(response.messages_list, response.message_object_trees, strict=True)
        return [Reply.announced(message, tree) for message, tree in pairs]

    def piece(self, number: str) -> bytes | None:
        """See `Pieces`. Asks once and does not wait."""
        request = PullObjectRequest(node=self.node, run_id=self.run.run_id, object_id=number)
        response = self.client.PullObject(request)
        if not response.object_found:
            raise ReplyError("one of its pieces is gone: the node took too long to send it")
        return bytes(response.object_content) if response.object_available else None

    def received(self, number: str) -> None:
        """See `Pieces`: the SuperLink may forget them then."""
        run_id = self.run.run_id
        self.client.ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(node=self.node, run_id=run_id, message_object_id=number)
        )

    def wake(self, keys: Iterable[bytes]) -> None:
        """Tell the nodes of these public keys (PEM) that there are messages for them."""
        self._door.post(WAKE, content=b"\n".join(b64encode(key) for key in keys)).raise_for_status()

    def close(self) -> None:
        self._door.close()
        super().close()


def _door(link: Link, secret: bytes) -> httpx.Client:
    """Speaks with the SuperLink's door itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=link.ca.decode("ascii"))
    return httpx.Client(base_url=f"https://{link.address}", verify=context, headers={OPERATOR_HEADER: secret.hex()})


def _runtime(link: Link, interceptors: list[Any]) -> RuntimeHttpClient:
    return RuntimeHttpClient.from_server_address(
        link.address, False, link.ca, [RuntimeVersionHttpInterceptor(component_name="flwr-serverapp"), *interceptors]
    )


class Operator:
    """Holds the operator's secret, 32 bytes.

    Its methods raise httpx.HTTPError where the SuperLink does not answer, RunError where it refuses what is asked.
    """

    def __init__(self, link: Link, secret: bytes) -> None:
        self._link, self._secret = link, secret
        self._short = 0

    def _control(self) -> ControlHttpClient:
        version = RuntimeVersionHttpInterceptor(component_name="flwr-cli")
        interceptors: list[ProtobufClientInterceptor] = [version, _OperatorHeader(self._secret)]
        return ControlHttpClient.from_server_address(self._link.address, False, self._link.ca, interceptors)

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Makes a sentence of a refusal that asking again would not change."""
        try:
            yield
        except httpx.HTTPStatusError as error:
            status, address = error.response.status_code, self._link.address
            if status in PASSING:
                raise
            if status in (401, 403):
                raise RunError(
                    f"the SuperLink at {address} does not take this operator.key (status {status}): copy operator.key "
                    "from the SuperLink's folder into the server's, or the other way, and start both anew"
                ) from None
            raise RunError(
                f"the SuperLink at {address} refused {error.request.url.path} with status {status}: look in its log"
            ) from None

    def reachable(self) -> bool:
        """Whether the SuperLink answers at all. Raises RunError where it refuses this operator."""
        try:
            with self._asked(), self._control() as control:
                control.ListNodes(ListNodesRequest())
            return True
        except httpx.HTTPError:
            return False

    def register(self, keys: Mapping[str, ec.EllipticCurvePublicKey]) -> dict[str, int]:
        """Make these nodes known to the SuperLink, those that are not, and let these alone through its door.

        Returns each name's number there.
        """
        with self._asked(), self._control() as control:
            nodes = control.ListNodes(ListNodesRequest()).nodes_info
            known = {bytes(node.public_key): int(node.node_id) for node in nodes}
            numbers = {}
            for name, key in keys.items():
                public = public_key_to_bytes(key)
                if public not in known:
                    known[public] = int(control.RegisterNode(RegisterNodeRequest(public_key=public)).node_id)
                numbers[name] = known[public]
            lines = b"\n".join(b64encode(public_key_to_bytes(key)) for key in keys.values())
            with _door(self._link, self._secret) as door:
                door.post(KEYS, content=lines).raise_for_status()
        return numbers

    @contextmanager
    def run(self) -> Iterator[OperatorGrid]:
        """A fresh Flower run and its Grid; the run ends with the block, well where the block does.

        Whatever app came with a task stays unread: the code that runs is this process's own. An httpx.HTTPStatusError
        goes through, the tenth in a row of short runs as RunError.
        """
        with self._asked():
            with self._control() as control:
                app = carrier()
                fab = Fab(hash_str=hashlib.sha256(app).hexdigest(), content=app)
                run_id = int(control.StartRun(StartRunRequest(fab=fab)).run_id)
            if not run_id:
                raise RunError("the SuperLink did not start a run")
            token = self._token(run_id)
        grid = OperatorGrid(self._link, self._secret, token)
        status, details = SubStatus.FAILED, "the server was stopped"
        sender = HeartbeatSender(make_task_heartbeat_fn_http(grid.client))
        try:
            sender.start()
            with self._asked():
                given = grid.client.PullTaskInput(PullTaskInputRequest())
            TaskIdentity.task_id, TaskIdentity.run_id = given.task_id, given.run.run_id
            TaskIdentity.node_id = given.context.node_id
            grid.set_run(run_from_proto(given.run))
            started = time.monotonic()
            try:
                yield grid
            except httpx.HTTPStatusError as error:
                self._count(error, time.monotonic() - started)
                raise
            status, details = SubStatus.COMPLETED, ""
        finally:
            # where this does not arrive, the SuperLink finds out by the missing heartbeat
            with suppress(httpx.HTTPError):
                grid.client.PushTaskOutput(PushTaskOutputRequest(sub_status=status, details=details))
            sender.stop()
            grid.close()

    def _count(self, error: httpx.HTTPStatusError, seconds: float) -> None:
        """A SuperLink that started anew ends one run; one that ends run after run at once will not do better."""
        self._short = self._short + 1 if seconds < SHORT_SECONDS else 0
        if self._short >= MOST_SHORT_RUNS:
            raise RunError(
                f"the SuperLink at {self._link.address} ended {self._short} runs in a row, the last at "
                f"{error.request.url.path} with status {error.response.status_code}: look in its log"
            ) from None

    def _token(self, run_id: int) -> str:
        """What opens the Runtime API for the task of this run; tasks of other runs are taken and dropped."""
        secret = SuperExecAuthHttpInterceptor(master_secret=self._secret, protected_methods=_ACQUIRE)
        end = time.monotonic() + TASK_SECONDS
        with _runtime(self._link, [_OperatorHeader(self._secret), secret]) as runtime:
            while time.monotonic() < end:
                acquired = runtime.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP]))
                if acquired.token and acquired.task.run_id == run_id:
                    return str(acquired.token)
                time.sleep(0.1)
        raise RunError("the SuperLink started a run and has no task for it: another process may have taken it")


def carrier() -> bytes:
    """The app that Flower asks for with every run: a name, and not one line of code."""
    toml = (
        b'[project]\nname = "securerec-letters"\nversion = "1.0.0"\nlicense = "Apache-2.0"\n'
        b'dependencies = []\n\n[tool.flwr.app]\npublisher = "securerec"\n\n'
        b'[tool.flwr.app.components]\nserverapp = "none:app"\nclientapp = "none:app"\n\n[tool.flwr.app.config]\n'
    )
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        content = f"pyproject.toml,{hashlib.sha256(toml).hexdigest()},{len(toml) * 8}"
        for name, data in (("pyproject.toml", toml), (".info/CONTENT", content.encode())):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            file.writestr(entry, data)
    return held.getvalue()
