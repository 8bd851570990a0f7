"""A party's connection: what its disk and its SuperLink may do to it."""

import errno
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

pytest.importorskip("flwr")

from cryptography.hazmat.primitives.asymmetric import ec

from securerec.errors import RunError
from securerec.federation.flower import supernode
from securerec.federation.flower.supernode import Link, connected


class OneMessage:
    number = 7
    sent: list[Any]

    def receive(self) -> Any:
        return SimpleNamespace(metadata=SimpleNamespace(run_id=1))


@pytest.mark.parametrize("filename, named", [("/data/ledger.jsonl", "the file /data/ledger.jsonl"), (None, "folder")])
def test_a_full_disk_ends_a_party_with_a_sentence_that_says_where_and_what_to_do(
    filename: str | None, named: str
) -> None:
    def full(message: Any, context: Any) -> Any:
        error = OSError(errno.ENOSPC, "No space left on device")
        error.filename = filename
        raise error

    with pytest.raises(RunError, match="No space left on device.*free some space.*start this party anew") as ended:
        supernode._turn(full, OneMessage())  # type: ignore[arg-type]
    assert named in str(ended.value)


class FakeClient:
    """Stands for Flower's client: activation ends with a status, or well."""

    status = 200

    def __enter__(self) -> "FakeClient":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def DeactivateNode(self, request: Any) -> None:
        pass

    def ActivateNode(self, request: Any) -> Any:
        if self.status != 200:
            request = httpx.Request("POST", "https://superlink")
            raise httpx.HTTPStatusError("no", request=request, response=httpx.Response(self.status))
        return SimpleNamespace(node_id=7)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    fake = FakeClient()
    monkeypatch.setattr(supernode.FleetHttpClient, "from_server_address", lambda *given, **named: fake)
    return fake


def test_a_number_that_cannot_be_kept_is_a_sentence(client: FakeClient, tmp_path: Path) -> None:
    (tmp_path / "in the way").write_bytes(b"")
    link = Link("127.0.0.1:1", b"", memory=tmp_path / "in the way" / "number")
    with pytest.raises(RunError, match="in the way/number cannot be read or written"), connected(link, key()):
        pytest.fail("connected")


@pytest.mark.parametrize("status, raised", [(503, httpx.HTTPStatusError), (429, httpx.HTTPStatusError),
                                            (403, supernode.NotRegistered), (500, RunError)])  # fmt: skip
def test_a_superlink_that_is_busy_is_asked_again_and_one_that_refuses_is_not(
    client: FakeClient, status: int, raised: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    client.status = status
    with pytest.raises(raised), connected(Link("127.0.0.1:1", b""), key()):
        pytest.fail("connected")
    if raised is httpx.HTTPStatusError:
        rounds = iter([False, True])
        with caplog.at_level(logging.WARNING, "securerec.supernode"):
            supernode.serve(None, Link("127.0.0.1:1", b"", poll=0.01), key(), stop=lambda: next(rounds))  # type: ignore[arg-type]
        assert caplog.records[0].message == "not connected"


def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())
