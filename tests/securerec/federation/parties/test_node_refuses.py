"""What a server, a network or a crash may do to a node, and what the node does not do then."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocols import EnrolmentKey, Identity, RoundAborted
from securerec.config import Config, make_config
from securerec.data.dataset import Dataset
from securerec.device.policy import PolicyRefused
from securerec.device.store import Store
from securerec.errors import ConfigError, PrivacyError
from securerec.federation.guards import table_digest
from securerec.federation.parties import letters
from securerec.federation.parties.letters import Ask, LetterError
from securerec.privacy.accounting import central_epsilon

sys.path.insert(0, str(Path(__file__).parent))
from small_federation import SmallFederation, enrolled  # noqa: E402

ALL = list(range(24))


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def settings(**sections: dict[str, Any]) -> Config:
    values: dict[str, Any] = {"seed": 7, "data": {"dataset": "toy", "sampled_negatives": 15}}
    values |= {"training": {"rounds": 2, "dim": 2}, "protocol": {"protocol": "plain"}, "evaluation": {"keep": "last"}}
    return make_config(values | {"start": {"segments": (1,)}} | sections).resolved(24)


@pytest.fixture
def small(tmp_path: Path, toy: Dataset) -> SmallFederation:
    """Three devices on a node of their own, and all others on another."""
    made = enrolled(tmp_path, settings(), toy)
    made.start_node("few", ALL[:2])
    made.start_node("many", ALL[2:])
    return made


def popularity(small: SmallFederation, **changes: Any) -> None:
    """The first release."""
    table = np.zeros((small.federation.n_items, 1), np.float32)
    small.play("popularity", table, small.federation.run_id, **changes)


def sent(small: SmallFederation, name: str) -> int:
    """How many letters a node has answered."""
    return len((small.path / name / "ledger.jsonl").read_text().splitlines()) if _exists(small, name) else 0


def _exists(small: SmallFederation, name: str) -> bool:
    return (small.path / name / "ledger.jsonl").exists()


def test_devices_refuse_a_table_that_the_broadcast_is_not_signed_for(small: SmallFederation) -> None:
    start = small.warm_start()

    def other_table(phase: int, ask: Ask) -> Ask:
        return replace(ask, table=start.table + 1) if 0 in ask.messages else ask

    before = sent(small, "few")
    small.play("round", start.table, start.basis, edit=other_table)
    assert all("signed for another item table" in line for line in small.refusals())
    assert len(small.refusals()) == 2 and sent(small, "few") == before


def test_devices_refuse_a_sum_that_is_not_the_one_that_was_opened(small: SmallFederation) -> None:
    def other_sum(phase: int, ask: Ask) -> Ask:
        changed = {name: replace(each, total=each.total + 1) for name, each in ask.opened.items()}
        return replace(ask, opened=changed) if 0 in ask.messages else ask

    small.warm_start(edit=other_sum)
    assert len(small.refusals()) == 2 and all("signed for another item table" in line for line in small.refusals())
    assert (sent(small, "few"), sent(small, "many")) == (1, 2)


def test_devices_refuse_a_cohort_below_their_owner_s_least(small: SmallFederation) -> None:
    small.start_node("few", ALL[:2], min_cohort=23)
    popularity(small)
    assert small.refusals()[0].startswith("The sum of as few as 22 devices would be opened")
    assert not _exists(small, "few")


@pytest.mark.parametrize("limit", ["max_epsilon", "max_epsilon_day", "max_local_epsilon"])
def test_devices_refuse_a_budget_beyond_their_owner_s(small: SmallFederation, limit: str) -> None:
    small.start_node("few", ALL[:2], **{limit: 3.0})
    popularity(small)
    assert "its owner allows 3 at a delta" in small.refusals()[0]
    assert not _exists(small, "few")


def test_devices_refuse_a_server_that_their_policy_does_not_name(small: SmallFederation) -> None:
    small.start_node("few", ALL[:2], servers=(Identity.generate("server", 0).public.signing.hex(),))
    popularity(small)
    assert "is not one that this device answers" in small.refusals()[0]


def test_devices_refuse_a_broadcast_that_another_server_signed(small: SmallFederation) -> None:
    forger = enrolled(small.path / "forger", settings(), small.dataset)
    forger.start_nodes(24)
    popularity(forger)
    refusals = small.again("few", forger.letters_sent[0][1]).refusals
    assert all("made for another setup" in refusals[client] for client in (0, 1)) and not _exists(small, "few")


def test_devices_refuse_a_protocol_or_noise_that_their_policy_does_not_allow(small: SmallFederation) -> None:
    small.start_node("few", ALL[:2], protocols=("ckks-committee",))
    popularity(small)
    assert "and this one is by plain" in small.refusals()[0]
    small.start_node("few", ALL[:2], reproducible_noise=False)
    assert "noise grows from a seed" in small.again(*small.letters_sent[0]).refusals[0]


def test_a_node_refuses_to_start_for_a_federation_that_its_policy_does_not_name(small: SmallFederation) -> None:
    with pytest.raises(PolicyRefused, match="enrolled by another key"):
        small.start_node("few", ALL[:2], enrolment=EnrolmentKey.generate().public.hex())


def test_a_node_refuses_to_start_with_others_interactions(small: SmallFederation) -> None:
    (small.path / "few").rename(small.path / "other")
    (small.path / "many").rename(small.path / "few")
    with pytest.raises(ConfigError, match="and client 0 is in one alone"):
        small.start_node("few", ALL[:2])


def test_devices_refuse_an_earlier_round_and_send_the_present_one_again(small: SmallFederation) -> None:
    start = small.warm_start()
    first = small.play("round", start.table, start.basis)
    letter_of_one = small.letters_sent[-2]
    table = (start.table + 1e-4 * first.total.reshape(start.table.shape).clip(-1, 1)).astype(np.float32)
    small.play("round", table, start.basis, round_number=2)
    name, letter = small.letters_sent[-2]
    reply, events = small.replies[-2][1], sent(small, "few")
    assert name == "few" and small.again(name, letter) == reply
    small.start_node("few", ALL[:2])
    assert small.again(name, letter) == reply and sent(small, "few") == events
    assert all("have answered a later one" in line for line in small.again(*letter_of_one).refusals.values())


def test_devices_answer_no_second_broadcast_for_an_attempt(small: SmallFederation) -> None:
    popularity(small)
    reply = small.replies[0][1]
    for restarted in (False, True):
        if restarted:
            small.start_node("few", ALL[:2])
        with pytest.raises(RoundAborted):
            popularity(small)
        refused = [small.replies[-2][1].refusals[client] for client in (0, 1)]
        assert all(("have answered another broadcast" if restarted else "no further part") in line for line in refused)
        assert small.again(*small.letters_sent[0]) == reply


def test_devices_of_one_node_answer_one_broadcast(small: SmallFederation) -> None:
    table = np.zeros((small.federation.n_items, 1), np.float32)
    context = table_digest(table, small.federation.run_id)
    messages = {
        client: small.server("popularity").open_round(1, context=context, min_survivors=22).outbox()["client", client]  # type: ignore[index]
        for client in ALL[:2]
    }
    reply = small.send("few", Ask("popularity", 1, 1, messages=messages))
    assert not reply.answers and all("not all the same broadcast" in line for line in reply.refusals.values())


def test_devices_refuse_a_second_attempt_without_budget(small: SmallFederation) -> None:
    popularity(small)
    with pytest.raises(RoundAborted):
        popularity(small, attempt=2)
    assert "more than the epsilon of 8 that the run was begun with" in small.refusals()[0]
    assert sent(small, "few") == 1


def test_devices_answer_a_second_attempt_that_was_planned_with_other_noise_and_pay_for_it(
    tmp_path: Path, toy: Dataset
) -> None:
    small = enrolled(tmp_path, settings(privacy={"spare_attempts": 1}), toy)
    small.start_nodes(24)
    popularity(small)
    popularity(small, attempt=2)
    first, second = (reply.answers for _, reply in small.replies)
    assert all(first[client] != second[client] for client in ALL)
    lines = small.nodes["node-0"]._ledger.sent()
    assert [line.attempt for line in lines] == [1, 2] and lines[1].central_epsilon > lines[0].central_epsilon
    with pytest.raises(RoundAborted):
        for attempt in range(3, 30):
            popularity(small, attempt=attempt)
    assert len(small.refusals()) == 24 and "more than the epsilon of 8" in small.refusals()[0]
    assert small.nodes["node-0"]._ledger.sent()[-1].central_epsilon < 8


def test_a_retried_round_starts_from_the_same_private_state(tmp_path: Path, toy: Dataset) -> None:
    small = enrolled(tmp_path, settings(privacy={"privacy": False}), toy)
    small.start_node("few", ALL[:2]), small.start_node("many", ALL[2:])
    start = small.warm_start()
    first = small.play("round", start.table, start.basis)
    small.start_node("few", ALL[:2]), small.start_node("many", ALL[2:])
    again = small.play("round", start.table, start.basis, attempt=2)
    assert np.array_equal(first.total, again.total)


def test_a_table_is_answered_with_one_update(tmp_path: Path, toy: Dataset) -> None:
    """Round 2 with the table of round 1: the devices have trained on, and their second update is another one."""
    small = enrolled(tmp_path, settings(), toy)
    small.start_nodes(24)
    start = small.warm_start()
    small.play("round", start.table, start.basis)
    small.start_node("node-0", ALL)
    with pytest.raises(RoundAborted):
        small.play("round", start.table, start.basis, round_number=2)
    assert "has answered this item table before" in small.refusals()[0]


def test_a_letter_cut_short_changes_nothing(small: SmallFederation) -> None:
    popularity(small)
    name, letter = small.letters_sent[0]
    before = sorted((path, path.read_bytes()) for path in (small.path / "few").rglob("*") if path.is_file())
    for cut in (0, 5, letters.HEADER_BYTES, len(letter) // 2, len(letter) - 1):
        with pytest.raises(LetterError):
            small.nodes[name].answer(letter[:cut])
    after = sorted((path, path.read_bytes()) for path in (small.path / "few").rglob("*") if path.is_file())
    assert after == before


def test_nothing_leaves_where_the_disk_does_not_keep_it(
    small: SmallFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr(os, "fsync", full)
        popularity(small)
    popularity(small)
    assert not small.refusals()
    assert sent(small, "few") == 1


def test_clients_of_other_nodes_are_not_answered_for(small: SmallFederation) -> None:
    popularity(small)
    assert small.again("few", small.letters_sent[1][1]).refusals[5] == "Client 5 is not one of this node."


def test_a_release_out_of_order_is_refused(small: SmallFederation) -> None:
    with pytest.raises(RoundAborted):
        small.play("segments", np.zeros((small.federation.n_items, 2), np.float32), b"")
    assert "does not follow the sums" in small.refusals()[0]
    with pytest.raises(RoundAborted):
        small.play("round", np.zeros((small.federation.n_items, 2), np.float32), b"")
    assert "The rounds do not begin yet" in small.refusals()[0]


def test_a_device_s_ledger_adds_up_to_what_the_run_promised(small: SmallFederation) -> None:
    start = small.warm_start()
    small.play("round", start.table, start.basis)
    lines = small.nodes["few"]._ledger.sent()
    promises = small.promises
    events = [promises[name].event(name) for name in ("popularity", "segments")]
    events.append(promises["round"].event("round 1"))
    assert [line.event for line in lines] == events
    assert lines[-1].central_epsilon == central_epsilon(events, delta=1e-5).epsilon
    assert lines[-1].devices == (0, 1) and lines[-1].size > 0 and lines[-1].cohort == 22


@pytest.mark.parametrize("kept", [0, 1])
def test_devices_whose_ledger_was_lost_or_shortened_take_no_part(small: SmallFederation, kept: int) -> None:
    small.warm_start()
    path = small.path / "few" / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2
    path.write_bytes(b"".join(lines[:kept]))
    with pytest.raises(PrivacyError, match=f"has {kept} lines and the store knows of 2: restore the ledger"):
        small.start_node("few", ALL[:2])
    path.unlink()
    with pytest.raises(PrivacyError, match="has 0 lines"):
        small.start_node("few", ALL[:2])
    path.write_bytes(b"".join(lines))
    small.start_node("few", ALL[:2])


@pytest.fixture
def spare(tmp_path: Path, toy: Dataset) -> SmallFederation:
    """As `small`, with attempts to spare."""
    made = enrolled(tmp_path / "spare", settings(privacy={"spare_attempts": 2}), toy)
    made.start_node("few", ALL[:2])
    made.start_node("many", ALL[2:])
    return made


def test_devices_whose_store_is_an_older_copy_take_no_part(spare: SmallFederation) -> None:
    small = spare
    popularity(small)
    old = (small.path / "few" / "store" / "progress.box").read_bytes()
    popularity(small, attempt=2)
    popularity(small, attempt=3)
    (small.path / "few" / "store" / "progress.box").write_bytes(old)
    with pytest.raises(PrivacyError, match="the store is an older copy"):
        small.start_node("few", ALL[:2])


def test_crashes_between_the_ledger_and_its_mark_cost_nothing_but_the_line(
    spare: SmallFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again and again: the line is on disk, its mark is not, and no answer has left."""
    small = spare
    table = np.zeros((small.federation.n_items, 1), np.float32)
    popularity(small)
    message = small.server("popularity").open_round(
        letters.protocol_round(1, 2), context=table_digest(table, small.federation.run_id), min_survivors=22
    ).outbox()  # fmt: skip
    messages = {client: message["client", client] for client in ALL[:2]}  # type: ignore[index]
    again = letters.to_bytes(Ask("popularity", 1, 2, messages=messages))
    inner = Store.write

    def write(store: Store, entry: str, data: bytes) -> None:
        if entry == "progress" and sent(small, "few") > marked:
            raise OSError(28, "No space left on device")
        inner(store, entry, data)

    marked = sent(small, "few")
    with monkeypatch.context() as patched:
        patched.setattr(Store, "write", write)
        for restart in (True, False, True):
            marked = sent(small, "few")
            with pytest.raises(OSError, match="No space"):
                small.nodes["few"].answer(again)
            assert sent(small, "few") == marked + 1
            marked += 1
            if restart:
                small.start_node("few", ALL[:2])
    assert small.again("few", again).answers.keys() == {0, 1}
    paid = [line.event for line in small.nodes["few"]._ledger.sent()]
    assert [event is not None for event in paid] == [True, True, *[False] * (len(paid) - 2)]
    small.start_node("few", ALL[:2])
