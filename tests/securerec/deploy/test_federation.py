"""A federation of real processes: SuperLink, server, three nodes, three decryptors; TLS and node authentication on.

What these tests start is ended by them, whatever happens.
"""

import json
import os
import shutil
import signal
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr")

from securerec.config import Config, make_config
from securerec.data.dataset import Dataset
from securerec.deploy import roles
from securerec.deploy.certificates import key_from_pem, key_to_pem, new_authority, new_node_key
from securerec.deploy.enrol import Wanted, enrol
from securerec.deploy.layout import Layout
from securerec.deploy.logs import read_log
from securerec.deploy.processes import choose_port, down, logs_of, names_of, processes, start
from securerec.deploy.watching import read_spans
from securerec.device.policy import Policy
from securerec.errors import RunError
from securerec.federation import results
from securerec.federation.flower import pinned
from securerec.federation.run import Run
from securerec.federation.stored import read_arrays

pytestmark = pytest.mark.federation

PATIENCE = 180.0
"""Seconds; a loaded machine is no failure."""


def settings(dataset: Dataset) -> Config:
    values = {"seed": 7, "training": {"rounds": 2}, "evaluation": {"published": False}}
    return make_config(values).resolved(dataset.interactions.n_users, dataset.interactions.n_items)


def federation(path: Path, dataset: Dataset) -> Layout:
    layout = enrol(path, dataset, Wanted(settings(dataset), devices=3, decryptors=3, address="127.0.0.1:9392"))
    choose_port(layout)
    return layout


def until(met: Any, what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def events(layout: Layout, name: str) -> list[dict[str, Any]]:
    return list(read_log(logs_of(layout) / f"{name}.log"))


def has(layout: Layout, name: str, event: str, **fields: object) -> bool:
    return any(
        line["event"] == event and all(line.get(key) == value for key, value in fields.items())
        for line in events(layout, name)
    )


@contextmanager
def running(layout: Layout, *names: str) -> Iterator[dict[str, Any]]:
    """These processes; all are ended afterwards."""
    children = {}
    try:
        for name in names:
            options = ["--metrics-port", "0"] if name == "server" else []
            children[name] = start(layout, name, *options)
        yield children
    finally:
        down(layout)
        for child in children.values():
            child.wait(30)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, module_toy: Dataset) -> tuple[Layout, str]:
    """A run to its end, in which a node and a decryptor are killed once, and the metrics as they were before that."""
    layout = federation(tmp_path_factory.mktemp("federation") / "f", module_toy)
    with running(layout, *names_of(layout)) as children:
        until(lambda: has(layout, "server", "attempt over", release="segments"), "the warm start")
        (address,) = [line["address"] for line in events(layout, "server") if line["event"] == "metrics"]
        with urllib.request.urlopen(address) as answer:
            metrics = answer.read().decode()
        victims = {process.name: process.number for process in processes(layout)}
        for name in ("node-01", "decryptor-2"):
            os.kill(victims[name] or 0, signal.SIGKILL)
            children.pop(name).wait()
            children[name + " again"] = start(layout, name)
        until(lambda: children["server"].poll() is not None, "the end of the run")
        assert children["server"].returncode == 0, events(layout, "server")[-5:]
    return layout, metrics


def test_separate_processes_make_the_model_of_one_process_to_the_bit_though_some_were_killed(
    finished: tuple[Layout, str], tmp_path: Path, toy: Dataset
) -> None:
    layout, _ = finished
    results.execute(Run.create(tmp_path / "run", settings(toy), toy), 1, lambda progress: None)
    alone, _ = read_arrays(tmp_path / "run" / "model.safetensors")
    apart, _ = read_arrays(layout.server / "run" / "model.safetensors")
    assert alone.keys() == apart.keys()
    for name, values in alone.items():
        assert np.array_equal(values, apart[name]), name


def test_every_process_ended_when_it_was_told_to(finished: tuple[Layout, str]) -> None:
    assert all(process.number is None for process in processes(finished[0]))


def test_logs_hold_no_key_of_anybody_in_any_writing(finished: tuple[Layout, str]) -> None:
    layout, metrics = finished
    text = metrics + "".join(path.read_text(errors="replace") for path in logs_of(layout).glob("*.log"))
    text += (layout.server / "run" / "letters.jsonl").read_text()
    assert len(text) > 5000
    for path in layout.path.rglob("*.key"):
        secret = path.read_bytes()
        pieces = [line for line in secret.split(b"\n") if len(line) > 16 and b"-----" not in line]
        if path.name in ("identity.key",) or path.parent.name == "identities":
            pieces = [secret[14:46], secret[46:78]]
        for piece in pieces:
            for written in (piece.hex(), repr(piece)[2:-1], piece.decode("latin-1")):
                assert written not in text, path


def test_every_line_of_our_own_logs_is_json_with_time_party_and_event(finished: tuple[Layout, str]) -> None:
    layout, _ = finished
    for name in ("server", "node-00", "decryptor-0"):
        lines = [json.loads(line) for line in (logs_of(layout) / f"{name}.log").read_text().splitlines()]
        assert lines
        assert all(line["party"] == name and line["time"] and line["event"] for line in lines)


def test_metrics_follow_the_run(finished: tuple[Layout, str]) -> None:
    _, metrics = finished
    assert "securerec_rounds_planned 2" in metrics
    assert 'securerec_parties{role="node"} 3' in metrics
    assert 'securerec_attempts_total{outcome="opened"}' in metrics
    assert "securerec_central_epsilon 7." in metrics


def test_letters_times_cover_the_whole_run(finished: tuple[Layout, str]) -> None:
    spans = read_spans(finished[0].server / "run" / "letters.jsonl")
    assert {span.release for span in spans if span.kind == "ask"} == {"popularity", "segments", "round"}
    assert {span.party for span in spans} >= {"node-00", "node-01", "node-02", "decryptor-0"}


def test_server_and_devices_ledgers_agree_on_what_was_spent(finished: tuple[Layout, str]) -> None:
    layout, _ = finished
    server = [json.loads(line) for line in (layout.server / "run" / "ledger.jsonl").read_text().splitlines()]
    for folder in layout.nodes():
        paid = [json.loads(line)["event"] for line in (folder / "ledger.jsonl").read_text().splitlines()]
        assert sorted(event["label"] for event in paid if event) == sorted(event["label"] for event in server)


# Who gets in nowhere. One SuperLink and a server that waits serve all of these.


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory, module_toy: Dataset) -> Iterator[Layout]:
    """A SuperLink and a server with nodes 0 and 1; node 2 and the decryptors are not there."""
    layout = federation(tmp_path_factory.mktemp("waiting") / "f", module_toy)
    with running(layout, "superlink", "server", "node-00"):
        until(lambda: has(layout, "node-00", "answered"), "the first hello")
        yield layout


@pytest.fixture
def copy(waiting: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """Node 2's folder and `public/`, to tamper with; its process gives up after a second."""
    for name in ("node-02", "public"):
        shutil.copytree(waiting.path / name, tmp_path / "copy" / name)
    return Layout(tmp_path / "copy")


def serve_briefly(layout: Layout, monkeypatch: pytest.MonkeyPatch, seconds: float = 2.0) -> None:
    """Run node 2 in this process until it is refused or has been silent for so long."""
    pinned.prepare(layout.path / "flower")
    from securerec.federation.flower import supernode

    inner = supernode.serve
    monkeypatch.setattr(
        supernode, "serve",
        lambda app, link, key, stop: inner(
            app, supernode.Link(link.address, link.ca, poll=0.1, wait=0.0, patience=seconds), key, stop=stop
        ),
    )  # fmt: skip
    stop = threading.Event()
    timer = threading.Timer(30.0, stop.set)
    timer.start()
    try:
        roles.run_party(layout.node(2), layout.public, stop=stop)
    finally:
        timer.cancel()


def test_a_superlink_whose_certificate_another_authority_signed_hears_nothing(
    copy: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    from securerec.federation.flower.supernode import Link, connected

    pinned.prepare(copy.path / "flower")
    address = copy.open_public().superlink()
    key = key_from_pem((copy.node(2) / "node.key").read_bytes(), what="node.key")
    with (
        pytest.raises(RunError, match="not this federation's SuperLink"),
        connected(Link(address, new_authority("another").certificate), key),
    ):
        pytest.fail("connected")


def test_a_superlink_speaks_nothing_but_tls(waiting: Layout) -> None:
    address = waiting.open_public().superlink()
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://{address}/v1/fleet/activate-node", data=b"", timeout=10)
    with pytest.raises(OSError) as refused:  # and a client with the system's authorities does not trust it
        urllib.request.urlopen(f"https://{address}/health", timeout=10)
    assert isinstance(getattr(refused.value, "reason", None), ssl.SSLError)


def test_a_node_whose_key_nobody_enrolled_gets_in_nowhere(
    copy: Layout, waiting: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy.node(2) / "node.key").write_bytes(key_to_pem(new_node_key()))
    with pytest.raises(RunError, match="does not know this node's key"):
        serve_briefly(copy, monkeypatch)


def answer_with_a_record(layout: Layout, stop: threading.Event) -> None:
    """Play node 2, which announces a record where a message belongs, and sends it."""
    pinned.prepare(layout.path / "flower")
    from flwr.app import ConfigRecord, Message, RecordDict
    from flwr.app.message import remove_content_from_message
    from flwr.common.serde import message_to_proto
    from flwr.proto.fleet_pb2 import PushMessagesRequest
    from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
    from flwr.supercore.inflatable.inflatable_protobuf_utils import make_push_object_fn_protobuf
    from flwr.supercore.inflatable.inflatable_utils import push_objects

    from securerec.federation.flower.supernode import Link, connected

    public = layout.open_public()
    key = key_from_pem((layout.node(2) / "node.key").read_bytes(), what="node.key")
    with connected(Link(public.superlink(), public.ca.read_bytes(), wait=0.0), key) as node:
        while not stop.wait(0.1):
            if (message := node.receive()) is None:
                continue
            record = ConfigRecord({"a": 1})
            proto = message_to_proto(remove_content_from_message(Message(RecordDict(), reply_to=message)))
            proto.metadata.message_id = record.object_id
            said = node._client.PushMessages(
                PushMessagesRequest(
                    node=node._node, messages_list=[proto], message_object_trees=[get_object_tree(record)],
                    clientapp_runtime_list=[0.1],
                )
            )  # fmt: skip
            push = make_push_object_fn_protobuf(
                node._client.PushObject, node._node, message.metadata.run_id, said.session_id
            )
            push_objects(get_all_nested_objects(record), push, object_ids_to_push=set(said.objects_to_push))


def test_a_node_that_announces_what_is_no_message_is_left_out_and_the_server_goes_on(
    copy: Layout, waiting: Layout
) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=answer_with_a_record, args=(copy, stop))
    thread.start()
    try:
        before = len(events(waiting, "server"))
        until(
            lambda: (
                not thread.is_alive()
                or any(
                    line["event"] == "a reply is no good" and line["peer"] == "node-02"
                    for line in events(waiting, "server")[before:]
                )
            ),
            "the server's word on node 2",
        )
        assert thread.is_alive(), "node 2 did not get in"
        heard = len(events(waiting, "node-00"))
        until(lambda: len(events(waiting, "node-00")) > heard, "the server's next hello")
    finally:
        stop.set()
        thread.join(30)


def test_a_node_that_speaks_for_others_than_it_was_enrolled_for_is_not_asked(
    copy: Layout, waiting: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its node key is right, but it presents itself with another node's devices."""
    shutil.rmtree(copy.node(2))
    shutil.copytree(waiting.node(1), copy.node(2))
    shutil.copy(waiting.node(2) / "node.key", copy.node(2) / "node.key")
    before = len(events(waiting, "server"))
    thread = threading.Thread(target=_quietly, args=(copy, monkeypatch), daemon=True)
    thread.start()
    until(
        lambda: any(
            line["event"] == "a party presents itself as another" and line["peer"] == "node-02"
            for line in events(waiting, "server")[before:]
        ),
        "the server's refusal",
    )


def _quietly(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        serve_briefly(layout, monkeypatch, seconds=30.0)
    except RunError:
        return


def test_a_protocol_identity_of_another_federation_does_not_start(
    copy: Layout, tmp_path: Path, toy: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = enrol(tmp_path / "other", toy, Wanted(settings(toy), 3, 3, "127.0.0.1:9392"))
    shutil.rmtree(copy.node(2) / "identities")
    shutil.copytree(other.node(2) / "identities", copy.node(2) / "identities")
    with pytest.raises(Exception, match="(?i)roster|identity|keys"):
        serve_briefly(copy, monkeypatch)


def test_a_federation_that_the_policy_does_not_name_is_not_joined(
    copy: Layout, tmp_path: Path, toy: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = enrol(tmp_path / "other", toy, Wanted(settings(toy), 3, 3, "127.0.0.1:9392"))
    Policy.read(other.node(2) / "policy.toml").write(copy.node(2) / "policy.toml")
    with pytest.raises(RunError, match="policy names"):
        serve_briefly(copy, monkeypatch)


def test_whoever_has_not_the_operators_secret_can_start_no_run_and_register_no_node(waiting: Layout) -> None:
    pinned.prepare(waiting.path / "flower")
    from securerec.federation.flower.operator import Operator
    from securerec.federation.flower.supernode import Link

    public = waiting.open_public()
    stranger = Operator(Link(public.superlink(), public.ca.read_bytes()), bytes(32))
    with pytest.raises(RunError, match="does not take this operator.key .status 403.: copy"):
        stranger.reachable()
    with pytest.raises(RunError, match="operator.key"):
        stranger.register({"me": new_node_key().public_key()})
    with pytest.raises(RunError, match="operator.key"), stranger.run():
        pytest.fail("a run")
