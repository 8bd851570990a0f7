"""Commands over a federation's processes, with processes that only sleep in their place."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from securerec.cli.deploy import app
from securerec.config import make_config
from securerec.data.dataset import Dataset
from securerec.deploy import processes as own
from securerec.deploy.enrol import Wanted, enrol
from securerec.deploy.layout import Layout
from securerec.deploy.processes import end_children, logs_of, processes, start
from securerec.errors import RunError


@pytest.fixture
def layout(tmp_path: Path, toy: Dataset, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """Two nodes, no decryptors; whatever is started sleeps."""
    values = {"seed": 7, "protocol": {"protocol": "plain"}, "training": {"rounds": 2}}
    config = make_config(values).resolved(toy.interactions.n_users, toy.interactions.n_items)
    program = tmp_path / "program"
    program.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(120)\n")
    program.chmod(0o700)
    monkeypatch.setattr(own.sys, "executable", str(program))
    return enrol(tmp_path / "f", toy, Wanted(config, 2, 0, "127.0.0.1:9393"))


@pytest.fixture
def node(layout: Layout) -> Iterator["subprocess.Popen[bytes]"]:
    child = start(layout, "node-00")
    yield child
    child.kill()
    child.wait()


def run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_a_second_up_is_refused_and_leaves_what_runs_alone(layout: Layout, node: "subprocess.Popen[bytes]") -> None:
    (layout.public / "superlink.json").write_text(json.dumps({"address": "127.0.0.1:1"}))
    with pytest.raises(RunError, match="node-00 runs already"):
        run("up", str(layout.path))
    assert node.poll() is None
    assert layout.open_public().superlink() == "127.0.0.1:1"
    assert [process.name for process in processes(layout) if process.number] == ["node-00"]


def test_up_that_loses_the_race_for_a_process_ends_only_what_it_started(
    layout: Layout, node: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "refuse_if_any_runs", lambda layout: None)
    with pytest.raises(RunError, match="node-00 runs already"):
        run("up", str(layout.path))
    assert node.poll() is None
    assert [(process.name, process.number) for process in processes(layout) if process.number] == [
        ("node-00", node.pid)
    ]


def test_a_process_is_alive_from_its_start_and_not_started_twice(
    layout: Layout, node: "subprocess.Popen[bytes]"
) -> None:
    found = {process.name: process.number for process in processes(layout)}
    assert found == {"superlink": None, "server": None, "node-00": node.pid, "node-01": None}
    with pytest.raises(RunError, match="runs already"):
        start(layout, "node-00")
    end_children({"node-00": node})
    assert not any(process.number for process in processes(layout))
    assert "0 processes ended" in run("down", str(layout.path))


def test_down_ends_what_runs(layout: Layout, node: "subprocess.Popen[bytes]") -> None:
    assert "1 processes ended" in run("down", str(layout.path))
    assert node.wait(10) != 0


def test_status_shows_words_of_a_log_as_they_are(layout: Layout) -> None:
    logs_of(layout).mkdir()
    (logs_of(layout) / "server.log").write_text("lost [/var/lib] and [red]\n")
    assert "lost [/var/lib] and [red]" in run("status", str(layout.path))


def test_lines_without_a_time_stay_where_they_were(layout: Layout) -> None:
    logs_of(layout).mkdir()
    first, last = ({"time": f"2026-01-01T00:00:0{n}", "event": f"event {n}"} for n in (1, 3))
    between = {"time": "2026-01-01T00:00:02", "event": "event 2"}
    lines = [json.dumps(first), "Traceback", json.dumps(last), "the last word"]
    (logs_of(layout) / "server.log").write_text("\n".join(lines) + "\n")
    (logs_of(layout) / "node-00.log").write_text(json.dumps(between) + "\n")
    shown = run("logs", str(layout.path), "-n", "4").splitlines()
    assert [line.split(": ")[1] for line in shown] == ["Traceback", "event 2", "event 3", "the last word"]


@pytest.mark.parametrize(("decryptors", "warned"), [(3, True), (4, False)])
def test_init_warns_of_a_committee_that_tolerates_nobody(
    tmp_path: Path, toy: Dataset, decryptors: int, warned: bool
) -> None:
    said = run(
        "init", str(tmp_path / "made"), "--devices", "2", "--decryptors", str(decryptors), "--dataset", "toy",
        "--rounds", "1", "--sampled-negatives", "15",
    )  # fmt: skip
    assert ("tolerates no member that sides with the server" in said) is warned
