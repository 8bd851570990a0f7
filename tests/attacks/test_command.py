import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import attacks
from attacks import storage
from attacks.__main__ import main


@pytest.fixture
def files(simulated, tmp_path):
    storage.save(tmp_path / "view.safetensors", simulated.unprotected(2))
    storage.save(tmp_path / "sum.safetensors", simulated.opened(2, list(range(20))))
    storage.save(tmp_path / "truth.safetensors", simulated.truth)
    return tmp_path


def test_command_works_alone_and_ends_standard_output_with_json(files):
    done = subprocess.run(
        [sys.executable, "-m", "attacks", "view.safetensors", "sum.safetensors"]
        + ["--truth", "truth.safetensors", "--json", "-"],
        cwd=files,
        env={**os.environ, "PYTHONPATH": str(Path(attacks.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    findings = json.loads(done.stdout)["findings"]
    by_view = {finding["view"]: finding for finding in findings if finding["attack"] == "rank-1 sign"}
    assert set(by_view) == {"unprotected_upload", "opened_sum"}
    assert by_view["unprotected_upload"]["result"][0] >= 0.99 and "rank-1 sign" in done.stderr


def test_findings_are_written_to_a_file_and_are_the_same_for_the_same_seed(files, capsys):
    for name in ("first.json", "again.json"):
        arguments = ["view.safetensors", "--truth", "truth.safetensors", "--seed", "3", "--json", name]
        assert main([str(files / a) if "." in a else a for a in arguments]) == 0
    assert (files / "first.json").read_bytes() == (files / "again.json").read_bytes()
    assert "popularity" in capsys.readouterr().out


def test_one_client_has_no_interval_and_json_says_null(simulated, files):
    storage.save(files / "one.safetensors", simulated.opened(2, [4]))
    assert (
        main(
            [
                str(files / "one.safetensors"),
                "--truth",
                str(files / "truth.safetensors"),
                "--json",
                str(files / "o.json"),
            ]
        )
        == 0
    )
    findings = json.loads((files / "o.json").read_text(), parse_constant=pytest.fail)["findings"]
    (finding,) = [finding for finding in findings if finding["attack"] == "rank-1 sign"]
    assert finding["result"][1:] == [None, None] and finding["n"] == 1


def test_damaged_view_ends_with_one_line_and_code_seven(files, capsys):
    (files / "view.safetensors").write_bytes(b"junk")
    assert main([str(files / "view.safetensors"), "--truth", str(files / "truth.safetensors")]) == 7
    message = capsys.readouterr().err
    assert message.startswith("error: ") and "view.safetensors" in message and message.count("\n") == 1


def test_truth_is_required_and_listing_needs_nothing(capsys):
    with pytest.raises(SystemExit) as left:
        main(["view.safetensors"])
    assert left.value.code == 2
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert "rank-1 sign" in listed and "adversary" in listed and "source" in listed


def test_recorded_view_holds_no_array_of_the_truth(files):
    from safetensors.numpy import load

    names = set(load((files / "view.safetensors").read_bytes()))
    assert names == {"table", "popularity", "clients", "offsets", "rows", "delta"}
    assert not names & (set(load((files / "truth.safetensors").read_bytes())) - {"clients", "offsets"})
    assert np.isfinite(storage.load_view(files / "view.safetensors").uploads.delta).all()
