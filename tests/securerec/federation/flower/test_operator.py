"""What the operator is told where its SuperLink refuses it."""

from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import httpx
import pytest

pytest.importorskip("flwr")

from securerec.errors import RunError
from securerec.federation.flower import operator as module
from securerec.federation.flower.operator import Operator
from securerec.federation.flower.supernode import Link


class Refusing:
    """Answers everything with one status."""

    def __init__(self, status: int) -> None:
        self._status = status

    def __getattr__(self, name: str) -> Any:
        def call(request: Any) -> Any:
            sent = httpx.Request("POST", f"https://superlink/v1/control/{name}")
            raise httpx.HTTPStatusError("no", request=sent, response=httpx.Response(self._status))

        return call


def operator(status: int, monkeypatch: pytest.MonkeyPatch) -> Operator:
    @contextmanager
    def control(self: Operator) -> Any:
        yield Refusing(status)

    monkeypatch.setattr(Operator, "_control", control)
    return Operator(Link("superlink:1", b""), bytes(32))


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_operator_key_is_one_sentence_and_not_asked_again(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asking = operator(status, monkeypatch)
    sentence = f"superlink:1 does not take this operator.key \\(status {status}\\): copy"
    with pytest.raises(RunError, match=sentence):
        asking.reachable()
    with pytest.raises(RunError, match=sentence):
        asking.register({})
    with pytest.raises(RunError, match=sentence), asking.run():
        pytest.fail("a run")


@pytest.mark.parametrize("status", [400, 404, 500])
def test_another_refusal_names_what_was_asked(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(RunError, match=f"refused /v1/control/StartRun with status {status}"),
        operator(status, monkeypatch).run(),
    ):
        pytest.fail("a run")


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_superlink_that_is_busy_is_asked_again(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asking = operator(status, monkeypatch)
    assert not asking.reachable()
    with pytest.raises(httpx.HTTPStatusError), asking.run():
        pytest.fail("a run")


class Accepting:
    """Starts every run, and knows nothing else."""

    run_id = 3

    def StartRun(self, request: Any) -> Any:
        return self

    def PullTaskInput(self, request: Any) -> Any:
        return SimpleNamespace(task_id=1, run=self, context=SimpleNamespace(node_id=1))


def test_a_superlink_that_ends_run_after_run_with_a_status_is_not_tried_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @contextmanager
    def control(self: Operator) -> Any:
        yield Accepting()

    def grid(*given: Any) -> Any:
        return SimpleNamespace(client=MagicMock(PullTaskInput=Accepting().PullTaskInput), set_run=id, close=int)

    monkeypatch.setattr(Operator, "_control", control)
    monkeypatch.setattr(Operator, "_token", lambda self, run_id: "token")
    monkeypatch.setattr(module, "OperatorGrid", grid)
    monkeypatch.setattr(module, "run_from_proto", id)
    monkeypatch.setattr(module, "HeartbeatSender", MagicMock())
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(module.TaskIdentity, name, None)
    asking = Operator(Link("superlink:1", b""), bytes(32))
    lost = httpx.HTTPStatusError("no", request=httpx.Request("POST", "https://s/path"), response=httpx.Response(404))
    for _ in range(module.MOST_SHORT_RUNS - 1):
        with pytest.raises(httpx.HTTPStatusError), asking.run():
            raise lost
    with pytest.raises(RunError, match="ended 10 runs in a row, the last at /path with status 404"), asking.run():
        raise lost
    monkeypatch.setattr(module, "SHORT_SECONDS", 0.0)
    with pytest.raises(httpx.HTTPStatusError), asking.run():
        raise lost
