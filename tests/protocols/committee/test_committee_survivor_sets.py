"""Servers that ask for other sets of survivors than they may."""

import copy
from itertools import combinations
from typing import Any

import pytest

from protocols.committee.wire import box_slices
from protocols.errors import (
    DuplicateError,
    LeftoverError,
    PhaseError,
    SpentRoundError,
    TooFewClientsError,
)
from protocols.identity import Address
from protocols.manifest import Manifest, UploadRecord


@pytest.mark.parametrize("order", [0, 1])
def test_two_survivor_sets_asked_of_different_members_never_both_open_with_two_colluders(
    make_committee: Any, order: int
) -> None:
    """However a server splits the five honest members, with two more on its side, only one of two sets opens."""
    committee = make_committee()
    everybody, all_but_one = sorted(committee.values), sorted(committee.values)[1:]
    colluders, honest = (0, 1), (2, 3, 4, 5, 6)
    for number, asked_first in enumerate(
        subset for size in range(6) for subset in list(combinations(honest, size))[:: max(1, size)]
    ):
        opened = committee.open(number)
        committee.collect(opened)
        committee.show_boxes(opened)
        sets = (everybody, all_but_one) if order == 0 else (all_but_one, everybody)
        shares: list[dict[int, Any]] = [{}, {}]
        # A colluding member answers for both sets: it has forgotten its record and keeps its shares.
        for member in colluders:
            for which in (0, 1):
                puppet = copy.deepcopy(committee.members[member]._round)
                twin = committee.reborn(member)
                twin._answered, twin._round = {}, puppet
                answer = twin.answer(committee.request(opened, member, sets[which]))
                shares[which][member] = committee.share_in(answer)
        # Every honest member is asked for both, one first.
        for member in honest:
            first = 0 if member in asked_first else 1
            for which in (first, 1 - first):
                try:
                    answer = committee.members[member].answer(committee.request(opened, member, sets[which]))
                except SpentRoundError:
                    continue
                shares[which][member] = committee.share_in(answer)
        assert len(shares[0]) + len(shares[1]) == 9
        assert sum(len(found) >= 5 for found in shares) <= 1


def test_a_member_answers_no_second_set_after_a_crash_either(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    shown = opened.outbox()
    committee.show_boxes(opened)
    clients = sorted(committee.values)
    committee.members[3].answer(committee.request(opened, 3, clients))
    reborn = committee.reborn(3)
    with pytest.raises(SpentRoundError, match="has answered for that round"):
        reborn.answer(shown[Address("decryptor", 3)])
    with pytest.raises(SpentRoundError, match="has answered another for that round"):
        reborn.answer(committee.request(opened, 3, clients[1:]))


def test_a_member_that_crashed_between_boxes_and_request_is_absent_not_wrong(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    committee.ask_members(opened)
    committee.members[2] = committee.reborn(2)
    request = opened.outbox()[Address("decryptor", 2)]
    with pytest.raises(PhaseError, match="finds no shares"):
        committee.members[2].answer(request)
    committee.ask_members(opened)
    assert (opened.result.values == committee.sum(committee.values)).all()


def test_an_answer_is_on_record_before_it_is_given(committee: Any) -> None:
    class FullDisk(dict[int, bytes]):
        def __setitem__(self, key: int, value: bytes) -> None:
            raise OSError("no space left")

    opened = committee.open()
    committee.collect(opened)
    committee.show_boxes(opened)
    member = committee.members[3]
    member._answered = FullDisk()
    with pytest.raises(OSError):
        member.answer(committee.request(opened, 3, sorted(committee.values)))


def test_the_same_request_again_is_refused_since_the_shares_are_erased(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    committee.show_boxes(opened)
    request = committee.request(opened, 3, sorted(committee.values))
    held = committee.members[3]._round
    committee.members[3].answer(request)
    assert held.shares == {} and not held.total.any() and committee.members[3]._round is None
    with pytest.raises(PhaseError, match="finds no shares: its boxes were not shown, or are erased"):
        committee.members[3].answer(request)


def test_members_refuse_sets_below_what_the_broadcast_promised(committee: Any) -> None:
    opened = committee.open(0, min_survivors=4)
    committee.collect(opened)
    committee.show_boxes(opened)
    with pytest.raises(TooFewClientsError, match="names 3 survivors; its broadcast promised 4"):
        committee.members[0].answer(committee.request(opened, 0, sorted(committee.values)[:3]))


def test_members_refuse_a_request_before_the_boxes_and_one_with_bytes_behind_it(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    clients = sorted(committee.values)
    with pytest.raises(PhaseError, match="finds no shares"):
        committee.members[0].answer(committee.request(opened, 0, clients))
    committee.show_boxes(opened)
    with pytest.raises(LeftoverError, match="followed by 1 bytes"):
        committee.members[0].answer(committee.request(opened, 0, clients, material=b"x"))
    with pytest.raises(DuplicateError):
        doubled = Manifest(opened.broadcast, dict.fromkeys(clients, UploadRecord(bytes(32), bytes(64))))
        forged = committee.signed(
            committee.request(opened, 0, clients), committee.run.server_identity, doubled.to_bytes()
        )
        committee.members[0].answer(forged)
    # None of these spent the round.
    committee.members[0].answer(committee.request(opened, 0, clients))


def test_members_refuse_a_survivor_whose_box_was_no_good(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened, {20: committee.flip(box_slices(committee.parameters)[4].start)})
    committee.show_boxes(opened)
    with pytest.raises(PhaseError, match="names client 20, from whom decryptor 4 has no good box"):
        committee.members[4].answer(committee.request(opened, 4, sorted(committee.values)))
