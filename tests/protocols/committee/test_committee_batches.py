"""Boxes come to members in batches: none may be missed, shown twice, changed, or shown for another whole."""

from typing import Any

import pytest

from protocols import RoundAborted
from protocols.codec import FRAME_BYTES, Kind, read_frame
from protocols.committee import wire
from protocols.errors import (
    DuplicateError,
    FrameError,
    PhaseError,
    SpentRoundError,
    UnknownSenderError,
    WrongBroadcastError,
    WrongLengthError,
)
from protocols.identity import Address


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch, committee: Any) -> Any:
    """A committee to which boxes come two at a time."""
    monkeypatch.setattr(wire, "BATCH_BYTES", 2 * (8 + 32 + committee.parameters.box_bytes(6)))
    return committee


def test_a_round_goes_on_batch_by_batch_and_no_message_is_larger_than_promised(pairs: Any) -> None:
    opened = pairs.open()
    pairs.collect(opened)
    batches = 0
    while opened.phase == "boxes":
        sizes = [len(message) for message in opened.outbox().values()]
        assert max(sizes) <= FRAME_BYTES[Kind.BOXES] + 253 + 32 + 8 + wire.BATCH_BYTES
        batches += 1
        pairs.ask_members(opened)
    assert batches == 3
    pairs.ask_members(opened)
    assert (opened.result.values == pairs.sum(pairs.values)).all() and opened.result.complaints == ()


def test_a_full_batch_is_about_a_mebibyte(committee: Any) -> None:
    clients = wire.batch_clients(committee.parameters)
    entry = 8 + 32 + committee.parameters.box_bytes(6)
    assert clients * entry <= 1 << 20 < (clients + 1) * entry


def test_bad_boxes_of_any_batch_are_found(pairs: Any) -> None:
    slices = wire.box_slices(pairs.parameters)
    opened = pairs.open()
    pairs.collect(opened, {10: pairs.flip(slices[1].start), 50: pairs.flip(slices[6].start)})
    result = pairs.finish(opened)
    assert result.survivors == {0, 20, 30, 40} and (result.values == pairs.sum(result.survivors)).all()
    assert result.complaints == (
        "client 10 is left out: its box is no good for decryptor 1.",
        "client 50 is left out: its box is no good for decryptor 6.",
    )


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_a_member_that_is_gone_for_one_batch_is_not_asked_again(pairs: Any, batch: int) -> None:
    opened = pairs.open()
    pairs.collect(opened)
    for number in range(3):
        pairs.ask_members(opened, gone={1, 6} if number == batch else ())
    assert {to.number for to in opened.outbox()} == {0, 2, 3, 4, 5}
    pairs.ask_members(opened)
    assert (opened.result.values == pairs.sum(pairs.values)).all()


def test_members_gone_for_different_batches_are_all_missed(pairs: Any) -> None:
    opened = pairs.open()
    pairs.collect(opened)
    pairs.ask_members(opened, gone={1})
    pairs.ask_members(opened, gone={2})
    with pytest.raises(RoundAborted, match="4 of 7 decryptors answered, and 5 are needed"):
        pairs.ask_members(opened, gone={3})


def test_members_refuse_gaps_overlaps_and_batches_beyond_the_whole(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    member = committee.members[6]

    def show(clients: list[int], **claims: Any) -> bytes:
        return member.answer(committee.boxes(opened, 6, clients, **claims))

    with pytest.raises(PhaseError, match="begin at place 2; decryptor 6 expects place 0"):
        show([20, 30], earlier=2)
    first = show([0, 10])
    with pytest.raises(PhaseError, match="begin at place 1; decryptor 6 expects place 2"):
        show([10, 20], earlier=1)
    with pytest.raises(PhaseError, match="begin at place 4"):
        show([40, 50], earlier=4)
    with pytest.raises(DuplicateError, match="hold client 10 twice"):
        show([10, 20], earlier=2)
    with pytest.raises(DuplicateError, match="hold client 20 twice"):
        show([20, 20], earlier=2)
    for falling in ([0, 20], [30, 20]):
        with pytest.raises(FrameError, match="not in rising order"):
            show(falling, earlier=2)
    with pytest.raises(SpentRoundError, match="are others than decryptor 6 was shown in that place"):
        show([0, 20])
    show([20, 30], earlier=2)
    opened.spool[60] = opened.spool[50]
    with pytest.raises(FrameError, match="are more than the 6 that were announced"):
        show([40, 50, 60], earlier=4)
    # A batch that was judged may come again, at any time, and is answered alike.
    assert show([0, 10]) == first
    show([40, 50], earlier=4)
    clients = sorted(committee.values)
    assert member.answer(committee.request(opened, 6, clients))


def test_members_refuse_batches_of_another_whole(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    member = committee.members[2]
    other = committee.run.server().open_round(0, context=b"\7" * 32, min_survivors=2)
    for client in committee.values:
        other.spool[client] = opened.spool[client]
    member.answer(committee.boxes(opened, 2, [0, 10]))
    for later in (
        committee.boxes(opened, 2, [20, 30], earlier=2, count=5),
        committee.boxes(other, 2, [20, 30], earlier=2),
        committee.boxes(opened, 2, [20, 30], earlier=2, secret=bytes(32)),
    ):
        with pytest.raises(SpentRoundError, match="belong to others than decryptor 2 was shown for that round"):
            member.answer(later)
    # The body shows the round's broadcast, and the header names another.
    forged = committee.server.session.write(
        Kind.BOXES,
        Address("decryptor", 2),
        bytes(read_frame(committee.boxes(opened, 2, [20, 30], earlier=2)).body),
        round_number=0,
        broadcast=other.broadcast.digest,
    )
    with pytest.raises(SpentRoundError, match="belong to others"):
        member.answer(forged)
    with pytest.raises(WrongBroadcastError, match="show another broadcast than the one they name"):
        committee.members[2] = committee.reborn(2)
        committee.members[2].answer(forged)


def test_members_refuse_a_request_until_all_boxes_were_shown(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    member = committee.members[0]
    member.answer(committee.boxes(opened, 0, [0, 10]))
    with pytest.raises(PhaseError, match="comes too early: 4 boxes were not shown"):
        member.answer(committee.request(opened, 0, [0, 10]))


def test_members_refuse_a_batch_without_boxes_and_one_too_short_to_be_any(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    with pytest.raises(WrongLengthError, match="holds 0 bytes of boxes"):
        committee.members[0].answer(committee.boxes(opened, 0, []))
    message = committee.boxes(opened, 0, [])
    with pytest.raises(WrongLengthError, match="too short to be a batch"):
        committee.members[0].answer(committee.signed(message, committee.run.server_identity, b"x" * 200))


def test_a_refused_first_batch_does_not_replace_the_round_at_hand(committee: Any) -> None:
    opened, later = committee.open(0), committee.open(1)
    committee.collect(opened)
    committee.collect(later)
    committee.show_boxes(opened)
    with pytest.raises(PhaseError):
        committee.members[3].answer(committee.boxes(later, 3, [20], earlier=2))
    assert committee.members[3].answer(committee.request(opened, 3, sorted(committee.values)))


def test_late_complaints_of_an_earlier_batch_are_refused(pairs: Any) -> None:
    opened = pairs.open()
    pairs.collect(opened)
    late = pairs.members[4].answer(opened.outbox()[Address("decryptor", 4)])
    pairs.ask_members(opened)
    with pytest.raises(PhaseError, match="answers another request than the present one"):
        opened.receive(late)
    pairs.ask_members(opened, gone={4})
    with pytest.raises(UnknownSenderError, match="takes no part in this phase"):
        opened.receive(late)
