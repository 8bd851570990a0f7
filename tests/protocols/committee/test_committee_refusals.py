"""What the server refuses; secrets stay out of sight, and nothing crashes a member."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocols.codec import Kind, read_frame
from protocols.committee.wire import SALT_BYTES
from protocols.errors import (
    PhaseError,
    ProtocolError,
    WrongLengthError,
)
from protocols.identity import Address


def test_server_refuses_uploads_with_residues_beyond_the_modulus_and_goes_on(committee: Any) -> None:
    opened = committee.open()
    upload = committee.upload(opened, 0)
    body = bytearray(read_frame(upload).body)
    body[SALT_BYTES : SALT_BYTES + 64] = b"\xff" * 64
    with pytest.raises(ProtocolError, match="The upload of client 0"):
        opened.receive(committee.signed(upload, committee.run.client_identities[0], bytes(body)))
    assert 0 not in opened.uploads and 0 not in opened.spool
    for client in sorted(committee.values)[1:]:
        opened.receive(committee.upload(opened, client))
    opened.close_phase()
    result = committee.finish(opened)
    assert (result.values == committee.sum(result.survivors)).all() and 0 not in result.survivors


def test_server_refuses_answers_to_another_phase_or_of_another_length(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    message = opened.outbox()[Address("decryptor", 0)]
    complaints = committee.members[0].answer(message)
    identity = committee.members[0].session.identity
    with pytest.raises(WrongLengthError):
        opened.receive(committee.signed(complaints, identity, bytes(read_frame(complaints).body) + b"\0"))
    committee.ask_members(opened)
    with pytest.raises(PhaseError, match="has no place here"):
        opened.receive(complaints)


def test_members_and_clients_show_no_secrets(committee: Any) -> None:
    opened = committee.open()
    joined = committee.run.client(0).join(opened.broadcast.data)
    joined.provide(committee.values[0])
    committee.collect(opened)
    committee.show_boxes(opened)
    member = committee.members[0]
    held = member._round
    seed = next(iter(held.shares.values()))
    for shown in (repr(member), repr(held), repr(joined), repr(committee.run)):
        assert seed.hex() not in shown and repr(seed)[2:-1] not in shown
        assert "shares=" not in shown and "total=" not in shown and "array" not in shown


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_mutated_messages_are_refused_or_answered_but_never_crash_a_member(
    shared_story: tuple[Any, Any], data: st.DataObject
) -> None:
    """Bodies that the server itself signed, cut, padded and changed anywhere."""
    committee, opened = shared_story
    number = data.draw(st.sampled_from([0, 6]))
    original = opened.outbox()[Address("decryptor", number)]
    body = bytearray(read_frame(original).body)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        what = data.draw(st.sampled_from(["change", "cut", "grow"]))
        if what == "change":
            body[at] = data.draw(st.integers(0, 255))
        elif what == "cut":
            del body[at : at + data.draw(st.integers(1, 200))]
        else:
            body[at:at] = data.draw(st.binary(min_size=1, max_size=50))
        if not body:
            break
    member = committee.reborn(number)
    try:
        answer = member.answer(committee.signed(original, committee.run.server_identity, bytes(body)))
    except ProtocolError:
        return
    assert read_frame(answer).header.kind is Kind.COMPLAINTS


@pytest.fixture(scope="module")
def shared_story(make_committee: Any) -> tuple[Any, Any]:
    committee = make_committee()
    opened = committee.open()
    committee.collect(opened)
    return committee, opened
