import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from securerec.config import Config, make_config
from securerec.data.dataset import Dataset
from securerec.experiments.chaos.local import LocalFederation, enrol_locally
from securerec.federation import folder, results
from securerec.federation.parties import journal, server
from securerec.federation.parties.attempt import Deadlines
from securerec.federation.parties.exchange import LocalExchange
from securerec.federation.parties.letters import Present
from securerec.federation.parties.server import ServerRun
from securerec.federation.run import Run
from securerec.federation.stored import read_arrays
from securerec.files import write_atomic
from securerec.privacy import ledger

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
    config = settings(protocol, privacy={"epsilon": 8.0} if private else {"privacy": False})
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
