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
from flwr.proto.runtime_pb2 import AcquireTaskRequest, PullTaskInputRequest, PushTaskOutputRequest
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
from securerec.federation.flower.superlink import OPERATOR_HEADER, WAKE
from securerec.federation.flower.supernode import Link

TASK_SECONDS = 30.0
"""How long a started run's task may take to appear."""

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

        self._door = httpx.Client(
            base_url=f"https://{link.address}", verify=_trusting(link.ca), headers={OPERATOR_HEADER: secret.hex()}
        )

    @property
    def client(self) -> RuntimeHttpClient:
        return self._runtime_client

    def wake(self, keys: Iterable[bytes]) -> None:
        """Tell the nodes of these public keys (PEM) that there are messages for them."""
        self._door.post(WAKE, content=b"\n".join(b64encode(key) for key in keys)).raise_for_status()

    def close(self) -> None:
        self._door.close()
        super().close()


def _trusting(ca: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ca.decode("ascii"))
    return context


def _runtime(link: Link, interceptors: list[Any]) -> RuntimeHttpClient:
    return RuntimeHttpClient.from_server_address(
        link.address, False, link.ca, [RuntimeVersionHttpInterceptor(component_name="flwr-serverapp"), *interceptors]
    )


class Operator:
    """Holds the operator's secret, 32 bytes. Raises httpx.HTTPError where the SuperLink does not answer."""

    def __init__(self, link: Link, secret: bytes) -> None:
        self._link, self._secret = link, secret

    def _control(self) -> ControlHttpClient:
        version = RuntimeVersionHttpInterceptor(component_name="flwr-cli")
        interceptors: list[ProtobufClientInterceptor] = [version, _OperatorHeader(self._secret)]
        return ControlHttpClient.from_server_address(self._link.address, False, self._link.ca, interceptors)

    def reachable(self) -> bool:
        """Whether the SuperLink answers at all."""
        try:
            with self._control() as control:
                control.ListNodes(ListNodesRequest())
            return True
        except httpx.TransportError:
            return False

    def register(self, keys: Mapping[str, ec.EllipticCurvePublicKey]) -> dict[str, int]:
        """Make these nodes known to the SuperLink, those that are not. Returns each name's number there."""
        with self._control() as control:
            nodes = control.ListNodes(ListNodesRequest()).nodes_info
            known = {bytes(node.public_key): int(node.node_id) for node in nodes}
            numbers = {}
            for name, key in keys.items():
                public = public_key_to_bytes(key)
                if public not in known:
                    known[public] = int(control.RegisterNode(RegisterNodeRequest(public_key=public)).node_id)
                numbers[name] = known[public]
        return numbers

    @contextmanager
    def run(self) -> Iterator[OperatorGrid]:
        """A fresh Flower run and its Grid; the run ends with the block, well where the block does.

        Whatever app came with a task stays unread: the code that runs is this process's own.
        """
        with self._control() as control:
            app = carrier()
            fab = Fab(hash_str=hashlib.sha256(app).hexdigest(), content=app)
            run_id = int(control.StartRun(StartRunRequest(fab=fab)).run_id)
        if not run_id:
            raise RunError("the SuperLink did not start a run")
        grid = OperatorGrid(self._link, self._secret, self._token(run_id))
        status, details = SubStatus.FAILED, "the server was stopped"
        sender = HeartbeatSender(make_task_heartbeat_fn_http(grid.client))
        try:
            sender.start()
            given = grid.client.PullTaskInput(PullTaskInputRequest())
            TaskIdentity.task_id, TaskIdentity.run_id = given.task_id, given.run.run_id
            TaskIdentity.node_id = given.context.node_id
            grid.set_run(run_from_proto(given.run))
            yield grid
            status, details = SubStatus.COMPLETED, ""
        finally:
            # where this does not arrive, the SuperLink finds out by the missing heartbeat
            with suppress(httpx.HTTPError):
                grid.client.PushTaskOutput(PushTaskOutputRequest(sub_status=status, details=details))
            sender.stop()
            grid.close()

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
