"""Boxes that were changed, swapped, replayed, or shown in another way than the protocol has it."""

from typing import Any

import numpy as np
import pytest

from protocols.codec import read_frame
from protocols.committee.boxes import box_key, close_box, extracted, open_box
from protocols.committee.wire import SALT_BYTES, box_slices
from protocols.errors import (
    SignatureError,
    SpentRoundError,
    TooFewClientsError,
    TooManyClientsError,
    UnknownSenderError,
    WrongLengthError,
    WrongRecipientError,
)
from protocols.identity import SIGNATURE_BYTES, Address, Identity
from protocols.manifest import UploadRecord


@pytest.mark.parametrize("member", [0, 3, 4, 6])
def test_a_client_with_a_bad_box_is_named_and_the_round_goes_on_without_it(committee: Any, member: int) -> None:
    opened = committee.open()
    committee.collect(opened, {20: committee.flip(box_slices(committee.parameters)[member].stop - 1)})
    result = committee.finish(opened)
    assert result.survivors == set(committee.values) - {20}
    assert (result.values == committee.sum(result.survivors)).all()
    assert result.complaints == (f"client 20 is left out: its box is no good for decryptor {member}.",)


def test_boxes_swapped_between_clients_members_or_salts_do_not_open(committee: Any) -> None:
    slices = box_slices(committee.parameters)
    opened = committee.open()
    uploads = {client: committee.upload(opened, client) for client in committee.values}
    bodies = {client: bytearray(read_frame(upload).body) for client, upload in uploads.items()}
    # Client 0 sends client 10's box as its own; client 20 swaps two members' boxes; client 30 has another's salt.
    bodies[0][slices[5]] = bodies[10][slices[5]]
    bodies[20][slices[5]], bodies[20][slices[6]] = bodies[20][slices[6]], bodies[20][slices[5]]
    bodies[30][:SALT_BYTES] = bodies[10][:SALT_BYTES]
    for client, upload in uploads.items():
        identity = committee.run.client_identities[client]
        opened.receive(committee.signed(upload, identity, bytes(bodies[client])))
    opened.close_phase()
    result = committee.finish(opened)
    assert result.survivors == {10, 40, 50}
    assert (result.values == committee.sum(result.survivors)).all()


def test_boxes_of_an_earlier_round_do_not_open_in_a_later_one(committee: Any) -> None:
    earlier = committee.open(0)
    old = bytes(read_frame(committee.upload(earlier, 20)).body)

    def replay(body: bytearray) -> None:
        body[:] = old

    opened = committee.open(1)
    committee.collect(opened, {20: replay})
    result = committee.finish(opened)
    assert result.survivors == set(committee.values) - {20}


def test_a_server_that_shows_clients_different_broadcasts_gets_no_box_of_the_other_half_opened(committee: Any) -> None:
    """Half of the clients saw one table, half another: a member opens only those of the broadcast it is shown."""
    one = committee.open(0)
    other = committee.run.server().open_round(0, context=b"\7" * 32, min_survivors=2, cohort=sorted(committee.values))
    for client in (0, 10, 20):
        one.receive(committee.upload(one, client))
    for client in (30, 40, 50):
        # The lying server passes them on as if they answered the first broadcast; it cannot sign for the clients.
        body = read_frame(committee.upload(other, client)).body
        one.uploads[client] = UploadRecord(read_frame(committee.upload(other, client)).body_digest, bytes(64))
        one.spool[client] = bytes(body)
    one.close_phase()
    for to, message in one.outbox().items():
        answer = read_frame(committee.members[to.number].answer(message))
        bits = np.unpackbits(np.frombuffer(answer.body[SIGNATURE_BYTES:], np.uint8), bitorder="little")
        assert bits[:6].tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("change", ["round_digest", "client", "member", "salt", "shared", "box", "cut"])
def test_a_box_opens_only_for_all_that_it_was_closed_for(change: str) -> None:
    closed_for: dict[str, Any] = {"round_digest": bytes(32), "client": 1, "member": 2, "salt": bytes(32)}
    box = close_box(box_key(extracted(bytes(range(32))), **closed_for), b"share")
    assert open_box(box_key(extracted(bytes(range(32))), **closed_for), box) == b"share"
    shared = bytes(range(32))
    if change == "shared":
        shared = bytes(32)
    elif change == "box":
        box = box[:-1] + bytes([box[-1] ^ 1])
    elif change == "cut":
        box = box[:7]
    else:
        closed_for[change] = 3 if isinstance(closed_for[change], int) else b"\1" * 32
    assert open_box(box_key(extracted(shared), **closed_for), box) is None


def test_members_refuse_to_open_boxes_of_too_few_clients_or_too_many(committee: Any) -> None:
    opened = committee.open(0, min_survivors=4)
    committee.collect(opened)
    few, member = sorted(committee.values)[:3], committee.members[0]
    with pytest.raises(TooFewClientsError, match="are of 3 clients; their broadcast promised 4"):
        member.answer(committee.boxes(opened, 0, few, count=3))
    with pytest.raises(TooManyClientsError, match="are of 9 clients; the sum was sized for 8"):
        member.answer(committee.boxes(opened, 0, few, count=9))


def test_members_have_a_floor_of_their_own(committee: Any) -> None:
    opened = committee.open(0, min_survivors=2)
    committee.collect(opened)
    message = opened.outbox()[Address("decryptor", 0)]
    committee.members[0].min_survivors = 5
    with pytest.raises(TooFewClientsError, match="at least 5"):
        committee.members[0].answer(message)


def test_members_refuse_other_boxes_for_a_round_and_answer_the_same_ones_alike(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    message = opened.outbox()[Address("decryptor", 6)]
    member = committee.members[6]
    assert member.answer(message) == member.answer(message)
    changed = bytearray(read_frame(message).body)
    changed[-1] ^= 1
    with pytest.raises(SpentRoundError, match="are others than decryptor 6 was shown in that place"):
        member.answer(committee.signed(message, committee.run.server_identity, bytes(changed)))


def test_members_refuse_a_client_that_the_roster_does_not_name(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    opened.spool[77] = opened.spool[0]
    with pytest.raises(UnknownSenderError, match="the roster names no client 77"):
        committee.members[0].answer(committee.boxes(opened, 0, [0, 10, 77]))


def test_members_refuse_what_the_server_did_not_sign_or_sent_to_another(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    message = opened.outbox()[Address("decryptor", 0)]
    with pytest.raises(SignatureError):
        committee.members[0].answer(committee.signed(message, Identity.generate("server", 0), b"x"))
    with pytest.raises(WrongRecipientError):
        committee.members[1].answer(message)
    cut = bytes(read_frame(message).body[:-1])
    with pytest.raises(WrongLengthError, match="bytes of boxes, and each takes 88"):
        committee.members[0].answer(committee.signed(message, committee.run.server_identity, cut))
