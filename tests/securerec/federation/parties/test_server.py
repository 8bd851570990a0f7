import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from securerec.config import Config, make_config
from securerec.data.dataset import Dataset
from securerec.errors import PrivacyError, RunError
from securerec.experiments.chaos.local import LocalFederation, enrol_locally
from securerec.federation import folder, results
from securerec.federation.parties import journal, server
from securerec.federation.parties.attempt import Deadlines, Roll
from securerec.federation.parties.exchange import Fault, Faults, LocalExchange
from securerec.federation.parties.letters import Present
from securerec.federation.parties.server import ServerRun
from securerec.federation.run import Run
from securerec.federation.stored import read_arrays
from securerec.files import write_atomic
from securerec.privacy import ledger
from securerec.privacy.accounting import central_epsilon

MEMORY = Path("/dev/shm")


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: what a killed process has written outlives it there, too."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


SOON = Deadlines(first=60.0, later=60.0, settle=0.0, gather=0.0)


def settings(protocol: str, **sections: dict[str, Any]) -> Config:
    values: dict[str, Any] = {"seed": 7, "data": {"dataset": "toy", "sampled_negatives": 15}}
    values["training"] = {"rounds": 3, "dim": 4} | sections.pop("training", {})
    values["start"] = {"segments": (1, 1)}
    values["protocol"] = {"protocol": protocol}
    values["evaluation"] = {"keep": "last", "published": False}
    return make_config(values | sections).resolved(24)


def local(path: Path, config: Config, dataset: Dataset, nodes: int = 4) -> LocalFederation:
    return enrol_locally(path, config, dataset, nodes=nodes, run_id=b"a run of sixteen")


def server_of(local: LocalFederation, exchange: Any, **more: Any) -> ServerRun:
    return ServerRun(local.path / "server", local.federation, local.server, exchange, deadlines=SOON, **more)


@pytest.mark.parametrize("protocol", ["plain", "pairwise", "ckks", "ckks-committee"])
@pytest.mark.parametrize("private", [False, True])
def test_a_federation_makes_the_model_of_the_run_in_one_process_to_the_bit(
    tmp_path: Path, toy: Dataset, protocol: str, private: bool
) -> None:
    # without noise devices may also send pairs, which are many: by one protocol
    pairs = {} if private or protocol == "plain" else {"pairs": 0}
    privacy = {"epsilon": 8.0} if private else {"privacy": False}
    config = settings(
        protocol, privacy=privacy, start={"segments": (1, 1)} | pairs, training={"rounds": 3 if private else 2}
    )
    results.execute(Run.create(tmp_path / "run", config, toy), 1, lambda progress: None)
    alone, _ = read_arrays(tmp_path / "run" / "model.safetensors")
    parties = local(tmp_path / "parties", config, toy)
    server_of(parties, LocalExchange(parties.start)).play()
    apart, _ = read_arrays(tmp_path / "parties" / "server" / "model.safetensors")
    assert alone.keys() == apart.keys()
    for name, values in alone.items():
        assert np.array_equal(values, apart[name]), name


class Killed(BaseException):
    """The server's process ends here."""


class Instants:
    """Counts what a server does to the world, and kills it after a given number of such things."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, inner: LocalExchange) -> None:
        self.inner, self.left = inner, -1
        for module in (journal, server, folder, ledger):
            monkeypatch.setattr(module, "write_atomic", self._write)

    def _tick(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1

    def _write(self, *args: Any, **kwargs: Any) -> None:
        self._tick()
        write_atomic(*args, **kwargs)
        self._tick()

    def parties(self) -> dict[str, Present]:
        return self.inner.parties()

    def deliver(self, letters: Mapping[str, bytes], *, deadline: float) -> Iterator[tuple[str, bytes]]:
        for address, answer in self.inner.deliver(letters, deadline=deadline):
            self._tick()
            yield address, answer


@pytest.mark.parametrize("protocol", ["plain", "pairwise", "ckks", "ckks-committee"])
def test_a_server_killed_at_any_instant_goes_on_to_the_same_model_and_spends_nothing_twice(
    tmp_path: Path, toy: Dataset, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(protocol, training={"rounds": 2})
    whole = local(tmp_path / "whole", config, toy)
    expected = server_of(whole, LocalExchange(whole.start)).play()
    parties = local(tmp_path / "killed", config, toy)
    instants = Instants(monkeypatch, LocalExchange(parties.start))
    for after in range(1, 500):
        instants.left = after
        try:
            table = server_of(parties, instants).play()
        except Killed:
            continue
        break
    run = server_of(parties, instants)
    assert after > 10
    assert np.array_equal(table, expected)
    assert [line["outcome"] for line in run.lines()] == ["opened"] * 5
    assert [event.label for event in run.folder.ledger.events()] == [
        "popularity", "segments", "segments 2", "round 1", "round 2"
    ]  # fmt: skip


def gone(*addresses: str) -> Faults:
    """Parties to whom no letter gets through."""
    return lambda address, letter: Fault("cut") if address in addresses else None


def test_a_round_opens_the_sum_of_who_is_left(tmp_path: Path, toy: Dataset) -> None:
    config = settings("ckks-committee", training={"rounds": 1}, privacy={"privacy": False, "surviving": 0.6})
    parties = local(tmp_path, config, toy)
    run = server_of(parties, LocalExchange(parties.start, faults=gone("node-02", "decryptor-1", "decryptor-6")))
    run.play()
    assert {line["survivors"] for line in run.lines()} == {18}
    assert all(line["absent"] == list(parties.nodes["node-02"]) for line in run.lines())


def test_an_attempt_that_fails_stays_spent_and_the_next_one_costs_again(tmp_path: Path, toy: Dataset) -> None:
    config = settings("plain", training={"rounds": 1}, privacy={"epsilon": 8.0, "surviving": 0.6, "spare_attempts": 1})
    parties = local(tmp_path, config, toy)
    lost = [0]

    def fault(address: str, letter: bytes) -> Fault | None:
        lost[0] += address in ("node-01", "node-02")
        return Fault("cut") if address in ("node-01", "node-02") and lost[0] <= 2 else None

    run = server_of(parties, LocalExchange(parties.start, faults=fault))
    run.play()
    labels = [event.label for event in run.folder.ledger.events()]
    assert labels == ["popularity", "popularity, attempt 2", "segments", "segments 2", "round 1"]
    assert [line["outcome"] for line in run.lines()] == ["given up", *["opened"] * 4]
    assert "12 uploads arrived" in run.lines()[0]["reason"]
    assert central_epsilon(run.folder.ledger.events(), delta=1e-5).epsilon <= 8.0 * (1 + 1e-9)


def test_without_a_spare_attempt_the_run_ends_and_says_why(tmp_path: Path, toy: Dataset) -> None:
    config = settings("plain", privacy={"epsilon": 8.0, "surviving": 0.6})
    parties = local(tmp_path, config, toy)
    exchange = LocalExchange(parties.start, faults=gone("node-01", "node-02"))
    for _ in range(2):
        with pytest.raises(PrivacyError, match="popularity was given up.*spare_attempts.*12 uploads arrived"):
            server_of(parties, exchange).play()
    assert [event.label for event in server_of(parties, exchange).folder.ledger.events()] == ["popularity"]


def test_nothing_is_spent_where_too_few_are_there(tmp_path: Path, toy: Dataset) -> None:
    parties = local(tmp_path, settings("plain"), toy)
    some = {address: make for address, make in parties.start.items() if address != "node-01"}
    run = server_of(parties, LocalExchange(some))
    with pytest.raises(RunError, match="18 of 24 clients .* start the others"):
        run.play()
    assert run.folder.ledger.events() == ()


def test_whoever_holds_another_setup_or_speaks_for_others_is_not_let_in() -> None:
    def called(**presents: Present) -> Roll:
        return Roll.called(
            presents, release="round", setup=b"s" * 32, version="1", clients=range(4), decryptors=range(2)
        )

    right = {"round": b"s" * 32}
    roll = called(
        a=Present("node", (0, 1), "1", right), b=Present("node", (1, 2), "1", right),
        c=Present("node", (9,), "1", right), d=Present("node", (3,), "2", right),
        e=Present("node", (3,), "1", {"round": b"x" * 32}), f=Present("decryptor", (1,), "1", right),
    )  # fmt: skip
    assert roll.clients == {0: "a", 1: "a"} and roll.decryptors == {1: "f"}
    assert len(roll.complaints) == 4


def test_the_server_s_process_holds_no_code_that_opens_an_upload_and_no_torch() -> None:
    program = """
import sys
import securerec.federation.parties.server
from protocols.registry import PROTOCOLS, load
for each in PROTOCOLS.values():
    load(each.server)
    for other in (each.client, each.decryptor):
        module = other.partition(":")[0] if other else ""
        assert module in ("", "protocols.plain") or module not in sys.modules, module
for name in ("protocols.committee.boxes", "protocols.committee.member", "protocols.ckks.decryption",
             "securerec.federation.parties.node", "securerec.federation.parties.member", "securerec.device",
             "torch", "opacus", "tenseal", "sklearn", "matplotlib", "flwr"):
    assert name not in sys.modules, name
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
