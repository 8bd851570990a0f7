"""A server that lies, through the real round: it reads its targets where devices trust it, and nothing elsewhere."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from attacks.lying_server import ATTACKS, BLOCKS, SATURATION
from securerec.audit.lying_server import GUARDS, Stage, audit_lying_server
from securerec.config import make_config
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.federation.guards import NO_GUARDS, Guards
from securerec.federation.promise import make_promises, planned

N_USERS, N_ITEMS = 20, 150


@cache
def stage(round_number: int, private: bool = False) -> Stage:
    rng = np.random.default_rng(3)
    weight = 1 / np.arange(2, N_ITEMS + 2)
    lists = [rng.choice(N_ITEMS, int(rng.integers(8, 20)), False, weight / weight.sum()) for _ in range(N_USERS)]
    train = Interactions.from_lists([each.astype(np.int32) for each in lists], N_ITEMS)
    values = {"start": {"head": False}, "training": {"rounds": 30}, "privacy": {"privacy": private}}
    config = make_config(values).resolved(N_USERS)
    model = config.training.learner()
    promise = make_promises(config.privacy, planned(config, N_ITEMS), cohort=N_USERS, noise_source="seed")["round"]
    return Stage(train, model, promise, round_number=round_number, server_lr=1.0, seed=1)


def played(attack: Any, round_number: int, guards: Guards, protocol: str = "plain", **options: Any) -> Any:
    attempts, findings = audit_lying_server(
        [stage(round_number, **options)], protocol=protocol, seed=0, guards={"these": guards}, attacks=[attack]
    )
    return attempts[0], findings


@pytest.mark.parametrize("protocol", ["pairwise", "ckks", "ckks-committee"])
def test_through_a_secure_sum_targets_are_read_without_guards_and_refused_with_them(protocol: str) -> None:
    attempts, findings = audit_lying_server([stage(1), stage(4)], protocol=protocol, seed=0, attacks=ATTACKS)
    # Saturation in both rounds, blocks in the first.
    assert len(attempts) == 3 * len(GUARDS)
    for attempt in attempts:
        assert attempt.succeeded == attempt.foreseen == ("no guards" in attempt.against), attempt
        assert attempt.outcome.endswith(".")
        assert attempt.succeeded or "is refused:" in attempt.outcome or "does not answer:" in attempt.outcome
    assert len(findings) == 3
    for finding in findings:
        assert finding.result.mean > 0.99 and finding.others["F1"].mean > 0.95
        assert finding.result.mean > finding.controls["popularity"].mean
    assert sorted(finding.n for finding in findings) == [1, 1, N_USERS]


@pytest.mark.parametrize(
    ("guards", "words"),
    [
        ({"agreement": True}, "signed for another item table"),
        ({"reach": True}, "honest rounds move a value by at most"),
        ({"row_norm": Guards().row_norm}, "a row has the length"),
        ({"certain_share": Guards().certain_share}, "100% of its scores are certain"),
    ],
)
def test_each_guard_by_itself_refuses_the_saturating_table(guards: dict[str, Any], words: str) -> None:
    attempt, findings = played(SATURATION, 4, replace(NO_GUARDS, **guards))
    assert not attempt.succeeded and words in attempt.outcome and not findings


@pytest.mark.parametrize(
    ("guards", "words"),
    [
        ({"agreement": True}, "signed for another item table"),
        ({"reach": True}, "not the table that the run starts from"),
    ],
)
def test_tables_with_a_place_for_each_device_are_refused_by_agreement_and_by_reach(
    guards: dict[str, Any], words: str
) -> None:
    attempt, findings = played(BLOCKS, 1, replace(NO_GUARDS, **guards))
    assert not attempt.succeeded and words in attempt.outcome and not findings


@pytest.mark.parametrize(("attack", "round_number"), [(SATURATION, 1), (SATURATION, 4), (BLOCKS, 1)])
def test_under_noise_nothing_is_read_even_from_devices_that_trust_the_server(attack: Any, round_number: int) -> None:
    attempt, findings = played(attack, round_number, NO_GUARDS, private=True)
    assert not attempt.succeeded and attempt.as_promised
    assert findings[0].result.mean < findings[0].controls["popularity"].mean + 0.1


def test_a_stage_of_a_data_set_is_its_first_users_under_the_run_s_own_settings(toy: Dataset) -> None:
    for privacy in ({"privacy": False}, {"epsilon": 8.0}):
        config = make_config({"privacy": privacy}).resolved(10)
        ready = Stage.of(toy, config, clients=10, round_number=3, seed=0)
        assert ready.situation.clients.tolist() == list(range(10)) and ready.truth.n_items == toy.interactions.n_items
        assert ready.situation.table.shape[1] == config.training.dim and ready.noised == ("epsilon" in privacy)


def test_devices_with_all_guards_answer_the_honest_table() -> None:
    for number in (1, 4):
        for private in (False, True):
            ready = stage(number, private)
            honest = dict.fromkeys(range(N_USERS), ready.situation.table)
            assert ready.play("plain", Guards(), honest).refusals == {}


def test_the_sum_of_a_played_round_is_that_of_the_devices_own_updates() -> None:
    ready = stage(4)
    honest = dict.fromkeys(range(N_USERS), ready.situation.table)
    in_clear = ready.play("plain", Guards(), honest).total
    np.testing.assert_array_equal(ready.play("pairwise", Guards(), honest).total, in_clear)
    # One that is sent another table changes the sum by its own update alone.
    lied = ready.play("plain", NO_GUARDS, honest | {5: np.zeros_like(ready.situation.table)}).total
    assert not np.array_equal(lied, in_clear) and np.array_equal(lied.any(axis=1), in_clear.any(axis=1))
