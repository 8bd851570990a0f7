import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attacks.registry import all_attacks
from securerec.audit import grid
from securerec.audit.defences import DEFENCES, configuration
from securerec.audit.grid import Row, attack_grid, seen_under
from securerec.audit.recording import recorded_cases
from securerec.data.dataset import Dataset
from securerec.errors import RunError

SOME = [each for each in DEFENCES if each.name in ("none", "Laplace .5", "local epsilon 8", "secure sum")]


@pytest.fixture(autouse=True)
def one_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    """The grid is what is tested here, on the attack it began with."""
    rank_one = [attack for attack in all_attacks() if attack.name == "rank-1 sign"]
    monkeypatch.setattr(grid, "all_attacks", lambda: rank_one)


def play(folder: Path, toy: Dataset, said: list[str] | None = None, **settings: Any) -> list[Row]:
    said = [] if said is None else said
    settings = {"defences": SOME, "rounds": 3, "workers": 1} | settings
    return attack_grid(folder, toy, seed=1, step=said.append, **settings)


def test_each_defence_is_attacked_by_what_its_server_sees_and_its_utility_stands_beside(
    tmp_path: Path, toy: Dataset
) -> None:
    rows = {row.defence: row for row in play(tmp_path / "grid", toy)}
    assert list(rows) == [defence.name for defence in SOME]
    views = {name: {finding["view"] for finding in row.findings} for name, row in rows.items()}
    assert views["none"] == {"unprotected_upload"} and views["secure sum"] == {"opened_sum"}
    assert views["Laplace .5"] == views["local epsilon 8"] == {"noised_upload"}
    assert min(finding["result"][0] for finding in rows["none"].findings) >= 0.99
    for row in rows.values():
        assert 0 <= row.utility["server"]["metrics"]["hr@10"] <= 1
    assert rows["none"].utility == rows["secure sum"].utility != rows["local epsilon 8"].utility


def test_a_stopped_grid_goes_on_and_ends_the_same(
    tmp_path: Path, toy: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, said = play(tmp_path / "whole", toy), []
    real = grid.run_attacks

    def stopping(case: Any, **rest: Any) -> Any:
        if case.recording.kinds() == ("noised_upload",):
            raise KeyboardInterrupt
        return real(case, **rest)

    monkeypatch.setattr(grid, "run_attacks", stopping)
    with pytest.raises(KeyboardInterrupt):
        play(tmp_path / "stopped", toy)
    monkeypatch.setattr(grid, "run_attacks", real)
    assert play(tmp_path / "stopped", toy, said) == whole
    assert "training none" not in said and "training local-8" in said


def test_processes_side_by_side_find_the_same(tmp_path: Path, toy: Dataset) -> None:
    """Other processes know all attacks: those of the rank-1 sign are compared."""
    said: list[str] = []
    one, two = play(tmp_path / "one", toy, rounds=1), play(tmp_path / "two", toy, said, rounds=1, workers=2)
    assert "none: rank-1 sign" in said and "training local-8" in said
    for alone, beside in zip(one, two, strict=True):
        found = [finding for finding in beside.findings if finding["attack"] == "rank-1 sign"]
        assert (beside.defence, beside.utility, found) == (alone.defence, alone.utility, alone.findings)


def test_views_are_gone_afterwards_unless_they_are_wanted(tmp_path: Path, toy: Dataset) -> None:
    play(tmp_path / "grid", toy, defences=SOME[:1])
    assert not (tmp_path / "grid" / "none" / "views").exists()
    play(tmp_path / "kept", toy, defences=SOME[:1], keep_views=True)
    rounds = recorded_cases(tmp_path / "kept" / "none" / "views")["rounds"].recording
    assert rounds.rounds("unprotected_upload") == (1, 2, 3)


def test_folder_of_something_else_is_refused(tmp_path: Path, toy: Dataset) -> None:
    play(tmp_path / "grid", toy, defences=SOME[:1])
    with pytest.raises(RunError, match="another data set, seed or number of rounds"):
        play(tmp_path / "grid", toy, defences=SOME[:1], rounds=2)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("hello")
    with pytest.raises(RunError, match="holds something else"):
        play(tmp_path / "other", toy)
    (tmp_path / "grid" / "none.findings.json").write_text("{")
    with pytest.raises(RunError, match="is damaged"):
        play(tmp_path / "grid", toy, defences=SOME[:1])


def test_a_servers_attacks_are_never_given_what_it_does_not_see(tmp_path: Path, toy: Dataset) -> None:
    play(tmp_path / "grid", toy, defences=SOME[:1], keep_views=True)
    case = recorded_cases(tmp_path / "grid" / "none" / "views")["rounds"]
    for defence in DEFENCES:
        for seen, attacks in seen_under(defence, case):
            if defence.secure_sum:
                assert seen.recording.kinds() == ("opened_sum",) or all(each.goal.through_sums for each in attacks)
            else:
                assert "opened_sum" not in seen.recording.kinds()
                assert not any(each.goal.through_sums for each in attacks)


def test_every_defence_has_a_configuration_of_run_s_own_defaults(toy: Dataset) -> None:
    for defence in DEFENCES:
        config = configuration(defence.training, toy, 0, None)
        if defence.training == "default":
            assert config.start.head and config.views.view_rounds == tuple(range(1, (config.training.rounds or 0) + 1))
            continue
        assert not config.start.head
        assert config.training.dim == (4 if config.privacy.privacy else 32)
        assert config.views.view_rounds == (1, 5, 10, 11, 30)
        assert config.privacy.privacy == (defence.training.split("-")[0] in ("local", "central"))
    assert configuration("local-64", toy, 0, None).privacy.local_epsilon == 64.0
    assert configuration("central-8", toy, 0, 7).views.view_rounds == (1, 5, 6, 7)


def test_findings_are_plain_json(tmp_path: Path, toy: Dataset) -> None:
    (row, *_) = play(tmp_path / "grid", toy, defences=SOME[:1])
    assert json.loads(json.dumps(row.findings, allow_nan=False)) == row.findings
    assert np.isfinite(row.findings[0]["result"]).all()
