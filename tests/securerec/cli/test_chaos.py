import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from securerec.cli import chaos
from securerec.experiments.chaos import play

Securerec = Callable[..., Any]


def test_chaos_reports_what_was_met_and_what_was_broken(securerec: Securerec) -> None:
    done = securerec("bench", "chaos", "--rounds", "1", "--protocol", "plain", "--json", "-")
    figures = json.loads(done.stdout)
    assert figures["violations"] == 0 and figures["outcomes"]["opened"] == 3
    assert "exact sums" in done.stderr and "Invariants" in done.stderr


def test_chaos_fails_where_an_invariant_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    result = play.play_chaos(1, 0, protocol="plain")
    broken = replace(result, broken=result.broken | {"exact sums": ["round 1: what was opened is not the sum"]})
    monkeypatch.setattr(play, "play_chaos", lambda *args, **kwargs: broken)
    with pytest.raises(chaos.InvariantBroken, match="--seed 0"):
        chaos.chaos_command(rounds=1, seed=0, protocol="plain", json_file=None)


def test_chaos_refuses_a_protocol_that_there_is_not(securerec: Securerec) -> None:
    done = securerec("bench", "chaos", "--protocol", "carrier-pigeon", code=4)
    assert "choose among plain" in done.stderr


def test_uploads_are_counted_and_their_sums_exact(securerec: Securerec) -> None:
    done = securerec(
        "bench", "uploads", "--length", "500", "--clients", "10", "--protocol", "ckks-committee", "--json", "-"
    )
    (row,) = json.loads(done.stdout)["rows"]
    assert row["wrong"] == 0 and row["uploads_per_second"] > 0
