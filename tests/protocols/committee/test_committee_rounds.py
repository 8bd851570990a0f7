"""Rounds in which everybody tells the truth, but not everybody is there."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import RoundAborted, SumSpec, conduct, enrol
from protocols.codec import read_frame
from protocols.committee.settling import select
from protocols.committee.wire import read_complaints, upload_bytes, write_complaints
from protocols.errors import LeftoverError, SpecError, WrongLengthError
from protocols.local import LocalParties


@st.composite
def cohorts(draw: st.DrawFn) -> dict[str, Any]:
    members = draw(st.integers(1, 7))
    tolerated = draw(st.integers(0, members - 1))
    threshold = draw(st.integers((members + tolerated) // 2 + 1, members))
    clients = draw(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=6, unique=True))
    bound = draw(st.integers(1, 2 ** draw(st.integers(1, 36))))
    length = draw(st.one_of(st.integers(1, 40), st.sampled_from([2047, 2048, 2049, 5000])))
    spec = SumSpec(length, len(clients) + draw(st.sampled_from([0, 1, 990])), 1, bound, draw(st.sampled_from([0, 2.0])))
    return {
        "spec": spec,
        "committee": {"members": members, "threshold": threshold, "tolerated": tolerated},
        "clients": clients,
        "gone_clients": draw(st.sets(st.sampled_from(clients), max_size=len(clients) - 1)),
        "gone_members": draw(st.sets(st.integers(0, members - 1), max_size=members - threshold)),
        "late_gone": draw(st.booleans()),
        "extreme": draw(st.sampled_from([None, bound, -bound])),
        "seed": draw(st.integers(0, 2**32)),
    }


@settings(deadline=None, max_examples=30)
@given(cohorts())
def test_the_committee_opens_exactly_the_sum_of_whoever_uploaded(case: dict[str, Any]) -> None:
    spec, clients = case["spec"], case["clients"]
    try:
        run = enrol("ckks-committee", spec, run_id=b"run", client_ids=clients, **case["committee"])
    except SpecError:
        return
    rng = np.random.default_rng(case["seed"])
    parties = LocalParties(run)
    parties.values = {
        client: np.full(spec.length, case["extreme"])
        if case["extreme"] is not None
        else rng.integers(-spec.value_bound, spec.value_bound, spec.length, endpoint=True)
        for client in clients
    }
    opened = run.server().open_round(3, context=bytes(32), min_survivors=1)
    late = "opening" if case["late_gone"] else "boxes"

    def deliver(to: Any, message: bytes) -> bytes | None:
        gone = case["gone_clients"] if to.role == "client" else case["gone_members"] if opened.phase >= late else ()
        return None if to.number in gone else parties(to, message)

    result = conduct(opened, deliver)
    there = set(clients) - case["gone_clients"]
    assert result.survivors == there and result.complaints == ()
    assert result.values.dtype == np.int64
    assert (result.values == np.sum([parties.values[client] for client in there], axis=0)).all()


def test_a_thousand_clients_with_53824_values_sum_exactly_with_three_in_ten_and_two_members_gone() -> None:
    spec = SumSpec(53_824, 1000, 600, 127, 2.0)
    run = enrol("ckks-committee", spec, run_id=b"run", client_ids=range(1000))
    opened = run.server().open_round(0, context=bytes(32), min_survivors=600)
    rng = np.random.default_rng(5)
    values = rng.integers(-127, 128, spec.length)
    values[:100], values[-100:] = 127, -127
    there = sorted(rng.choice(1000, 700, replace=False).tolist())
    for client in there:
        joined = run.client(client).join(opened.broadcast.data)
        # Vectors that all differ, and whose first and last values are all the largest.
        joined.provide(np.roll(values, 200 * (client % 7)) if client % 2 else values)
        opened.receive(joined.answer(opened.broadcast.data))
    opened.close_phase()
    while not opened.done:
        for to, message in opened.outbox().items():
            if to.number not in (1, 5):
                opened.receive(run.decryptors[to.number].answer(message))
        opened.close_phase()
    rolled = [np.roll(values, 200 * (client % 7)) if client % 2 else values for client in there]
    assert (opened.result.values == np.sum(rolled, axis=0)).all()
    assert opened.result.survivors == set(there)


@pytest.mark.parametrize("phase", ["boxes", "opening"])
def test_two_of_seven_members_may_be_gone_and_one_more_ends_the_round_with_a_sentence(
    committee: Any, phase: str
) -> None:
    for number, gone in enumerate(({0, 1}, {5, 6}, {0, 6})):
        opened = committee.open(number)
        committee.collect(opened)
        committee.ask_members(opened, gone=gone if phase == "boxes" else ())
        committee.ask_members(opened, gone=gone if phase == "opening" else ())
        assert (opened.result.values == committee.sum(committee.values)).all()
    opened = committee.open(9)
    committee.collect(opened)
    if phase == "opening":
        committee.ask_members(opened)
    with pytest.raises(RoundAborted, match="Round 9 is given up: 4 of 7 decryptors answered, and 5 are needed"):
        committee.ask_members(opened, gone={0, 3, 6})


def test_too_few_uploads_end_the_round_before_any_member_is_asked(committee: Any) -> None:
    opened = committee.open(0, min_survivors=3)
    for client in (0, 10):
        opened.receive(committee.upload(opened, client))
    with pytest.raises(RoundAborted, match="2 uploads arrived, and at least 3 are needed"):
        opened.close_phase()
    assert opened.outbox() == {}


def test_a_committee_opens_round_after_round(committee: Any) -> None:
    for number in (0, 5, 2):
        opened = committee.open(number)
        committee.collect(opened)
        assert (committee.finish(opened).values == committee.sum(committee.values)).all()


def test_messages_have_the_sizes_that_are_promised(committee: Any) -> None:
    opened = committee.open()
    upload = committee.upload(opened, 0)
    parameters = committee.parameters
    assert len(read_frame(upload).body) == upload_bytes(parameters)
    boxes = sum(parameters.box_bytes(j) for j in range(7))
    assert upload_bytes(parameters) == 32 + parameters.ciphertext.n_bytes + boxes
    assert [parameters.box_bytes(j) for j in range(5)] == [48] * 4 + [16 + parameters.share.n_bytes]


def test_uploads_wait_in_the_given_spool_and_leave_it(committee: Any) -> None:
    spool: dict[int, bytes | memoryview] = {}
    opened = committee.server.open_round(0, context=bytes(32), min_survivors=2, spool=spool)
    for client in committee.values:
        opened.receive(committee.upload(opened, client))
    assert spool.keys() == committee.values.keys()
    opened.close_phase()
    committee.judge(opened)
    assert spool == {}
    committee.ask_members(opened)
    assert (opened.result.values == committee.sum(committee.values)).all()


def test_uploads_leave_the_spool_of_a_round_that_is_given_up(committee: Any) -> None:
    spool: dict[int, bytes | memoryview] = {}
    opened = committee.server.open_round(0, context=bytes(32), min_survivors=2, spool=spool)
    committee.collect(opened)
    assert len(spool) == len(committee.values)
    with pytest.raises(RoundAborted):
        committee.ask_members(opened, gone={0, 1, 2})
    assert spool == {}


@given(st.sets(st.integers(0, 1000), min_size=1, max_size=40), st.data())
def test_complaints_read_as_they_were_written_and_nothing_else_does(clients: set[int], data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.sampled_from(sorted(clients))))
    body = write_complaints(clients, bad)
    assert read_complaints(memoryview(body), clients, what="It") == bad
    with pytest.raises(WrongLengthError):
        read_complaints(memoryview(body + b"\0"), clients, what="It")
    if len(clients) % 8:
        with pytest.raises(LeftoverError):
            read_complaints(memoryview(body[:-1] + bytes([body[-1] | 128])), clients, what="It")


@given(st.data())
def test_selecting_leaves_nobody_in_whom_an_asked_member_cannot_open(data: st.DataObject) -> None:
    uploads = frozenset(range(data.draw(st.integers(1, 12))))
    members = data.draw(st.sets(st.integers(0, 6), min_size=3))
    complaint = st.frozensets(st.sampled_from(sorted(uploads)))
    complained = {member: data.draw(complaint) for member in members}
    minimum = data.draw(st.integers(1, len(uploads)))
    kept, asked = select(uploads, complained, threshold=3, min_survivors=minimum)
    assert asked <= members and len(asked) >= 3 and kept <= uploads
    assert all(not kept & complained[member] for member in asked)
    # Whoever is left out is complained of by somebody asked; members are set aside only for want of clients.
    assert all(any(client in complained[member] for member in asked) for client in uploads - kept)
    if asked != members:
        assert len(uploads.difference(*complained.values())) < minimum
    if not any(complained.values()):
        assert kept == uploads and asked == members
