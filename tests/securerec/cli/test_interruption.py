"""Runs that are stopped or killed at any instant, as a user would see it."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from securerec.data.dataset import Dataset

COMMAND = [sys.executable, "-m", "securerec"]
OPTIONS = [
    "--dataset",
    "toy",
    "--sampled-negatives",
    "15",
    "--rounds",
    "200",
    "--seed",
    "3",
    "--protocol",
    "ckks",
    "--workers",
    "1",
]
FILES = ("model.safetensors", "metrics.jsonl", "results.json", "ledger.jsonl", "devices/state.safetensors")


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)


def test_kill_at_random_instants_changes_nothing_in_the_end(tmp_path: Path, toy: Dataset) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start("run", *OPTIONS, "--out", whole).wait(120) == 0
    instants, kills = random.Random(11), 0
    arguments: list[str | Path] = ["run", *OPTIONS, "--out", killed]
    while kills < 10:
        before = (killed / "server.safetensors").stat().st_mtime_ns if (killed / "server.safetensors").exists() else 0
        process = start(*arguments)
        wait_for(killed / "config.toml", process)
        arguments = ["resume", killed]
        # Let it get past its start, to where rounds are played and saved, then kill at any moment.
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            saved = killed / "server.safetensors"
            if saved.exists() and saved.stat().st_mtime_ns != before:
                break
            time.sleep(0.002)
        time.sleep(instants.uniform(0, 0.25))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "the run must still be going when it is killed"
    last = start("resume", killed)
    _, errors = last.communicate(timeout=120)
    assert last.returncode == 0, errors
    for name in FILES:
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name


def test_control_c_says_how_to_go_on(tmp_path: Path, toy: Dataset) -> None:
    process = start("run", *OPTIONS, "--out", tmp_path / "run")
    wait_for(tmp_path / "run" / "server.safetensors", process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=180)
    assert process.returncode == 130
    assert "securerec resume" in output and "Traceback" not in errors
    assert (tmp_path / "run" / "server.safetensors").exists()


def test_device_processes_end_with_their_parent(tmp_path: Path, toy: Dataset) -> None:
    options = [option if option != "1" else "2" for option in OPTIONS]
    process = start("run", *options, "--out", tmp_path / "run")
    wait_for(tmp_path / "run" / "server.safetensors", process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 20
    while any(_alive(int(child)) for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_alive(int(child)) for child in children)


def _alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
