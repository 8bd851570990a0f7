"""Stories of attackers: servers that lie, members that collude, clients that send what they like."""

import copy
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocols import RoundAborted
from protocols.codec import Kind, read_frame
from protocols.committee import client as client_module
from protocols.committee.boxes import box_key, close_box, open_box
from protocols.committee.sharing import combine, consistent
from protocols.committee.wire import SALT_BYTES, box_slices
from protocols.errors import (
    DuplicateError,
    LeftoverError,
    PhaseError,
    ProtocolError,
    SignatureError,
    SpentRoundError,
    TooFewClientsError,
    UnknownSenderError,
    WrongLengthError,
    WrongRecipientError,
)
from protocols.identity import SIGNATURE_BYTES, Address, Identity
from protocols.manifest import Manifest, UploadRecord


def flip(place: int) -> Callable[[bytearray], None]:
    """Change one bit of a body."""

    def change(body: bytearray) -> None:
        body[place] ^= 1

    return change


def boxes_shown(committee: Any, opened: Any) -> None:
    """Every member is shown the round's boxes; the server keeps its phase."""
    for to, message in opened.outbox().items():
        committee.members[to.number].answer(message)


# Two survivor sets.


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
        boxes_shown(committee, opened)
        sets = (everybody, all_but_one) if order == 0 else (all_but_one, everybody)
        shares: list[dict[int, Any]] = [{}, {}]
        # A colluding member answers for both sets: it has forgotten its record and keeps its shares.
        for member in colluders:
            for which in (0, 1):
                puppet = copy.deepcopy({"opened": committee.members[member]._opened})["opened"]
                twin = committee.reborn(member)
                twin._answered, twin._opened = {}, puppet
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
    boxes_shown(committee, opened)
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
    boxes_shown(committee, opened)
    member = committee.members[3]
    member._answered = FullDisk()
    with pytest.raises(OSError):
        member.answer(committee.request(opened, 3, sorted(committee.values)))


def test_the_same_request_again_is_refused_since_the_shares_are_erased(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    boxes_shown(committee, opened)
    request = committee.request(opened, 3, sorted(committee.values))
    held = committee.members[3]._opened
    committee.members[3].answer(request)
    assert held.shares == {} and not held.total.any() and committee.members[3]._opened is None
    with pytest.raises(PhaseError, match="finds no shares: its boxes were not shown, or are erased"):
        committee.members[3].answer(request)


# What a request may not ask.


def test_members_refuse_sets_below_what_the_broadcast_promised(committee: Any) -> None:
    opened = committee.open(0, min_survivors=4)
    committee.collect(opened)
    boxes_shown(committee, opened)
    with pytest.raises(TooFewClientsError, match="names 3 survivors; its broadcast promised 4"):
        committee.members[0].answer(committee.request(opened, 0, sorted(committee.values)[:3]))


def test_members_refuse_to_open_boxes_of_too_few_clients(committee: Any) -> None:
    opened = committee.open(0, min_survivors=4)
    committee.collect(opened)
    message = opened.outbox()[Address("decryptor", 0)]
    body = opened.manifest(sorted(committee.values)[:3]).to_bytes()
    with pytest.raises(TooFewClientsError):
        committee.members[0].answer(committee.signed(message, committee.run.server_identity, body))


def test_members_have_a_floor_of_their_own(committee: Any) -> None:
    opened = committee.open(0, min_survivors=2)
    committee.collect(opened)
    message = opened.outbox()[Address("decryptor", 0)]
    committee.members[0].min_survivors = 5
    with pytest.raises(TooFewClientsError, match="at least 5"):
        committee.members[0].answer(message)


def test_members_refuse_a_request_before_the_boxes_and_one_with_bytes_behind_it(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    clients = sorted(committee.values)
    with pytest.raises(PhaseError, match="finds no shares"):
        committee.members[0].answer(committee.request(opened, 0, clients))
    boxes_shown(committee, opened)
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


def test_members_refuse_other_boxes_for_a_round_and_answer_the_same_ones_alike(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    message = opened.outbox()[Address("decryptor", 6)]
    member = committee.members[6]
    assert member.answer(message) == member.answer(message)
    changed = bytearray(read_frame(message).body)
    changed[-1] ^= 1
    with pytest.raises(SpentRoundError, match="are others than decryptor 6 was shown for that round"):
        member.answer(committee.signed(message, committee.run.server_identity, bytes(changed)))


def test_members_refuse_a_client_that_the_roster_does_not_name(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    message = opened.outbox()[Address("decryptor", 0)]
    opened.uploads[77] = UploadRecord(b"\1" * 32, bytes(64))
    body = opened.manifest().to_bytes() + bytes(read_frame(message).body)
    with pytest.raises(UnknownSenderError, match="the roster names no client 77"):
        committee.members[0].answer(committee.signed(message, committee.run.server_identity, body))


def test_members_refuse_what_the_server_did_not_sign_or_sent_to_another(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    message = opened.outbox()[Address("decryptor", 0)]
    with pytest.raises(SignatureError):
        committee.members[0].answer(committee.signed(message, Identity.generate("server", 0), b"x"))
    with pytest.raises(WrongRecipientError):
        committee.members[1].answer(message)
    cut = bytes(read_frame(message).body[:-1])
    with pytest.raises(WrongLengthError, match="bytes of boxes"):
        committee.members[0].answer(committee.signed(message, committee.run.server_identity, cut))


def test_members_refuse_a_survivor_whose_box_was_no_good(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened, {20: flip(box_slices(committee.parameters)[4].start)})
    boxes_shown(committee, opened)
    with pytest.raises(PhaseError, match="names client 20, from whom decryptor 4 has no good box"):
        committee.members[4].answer(committee.request(opened, 4, sorted(committee.values)))


# Boxes that were changed, swapped or replayed.


@pytest.mark.parametrize("member", [0, 3, 4, 6])
def test_a_client_with_a_bad_box_is_named_and_the_round_goes_on_without_it(committee: Any, member: int) -> None:
    opened = committee.open()
    committee.collect(opened, {20: flip(box_slices(committee.parameters)[member].stop - 1)})
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
    box = close_box(box_key(bytes(range(32)), **closed_for), b"share")
    assert open_box(box_key(bytes(range(32)), **closed_for), box) == b"share"
    shared = bytes(range(32))
    if change == "shared":
        shared = bytes(32)
    elif change == "box":
        box = box[:-1] + bytes([box[-1] ^ 1])
    elif change == "cut":
        box = box[:7]
    else:
        closed_for[change] = 3 if isinstance(closed_for[change], int) else b"\1" * 32
    assert open_box(box_key(shared, **closed_for), box) is None


# Members and clients that lie.


def test_one_member_with_a_wrong_sum_is_named_and_the_sum_still_opens(committee: Any) -> None:
    for number, liar in enumerate((0, 4, 6)):
        opened = committee.open(number)
        committee.collect(opened)
        result = committee.finish(opened, lies={liar: flip(SIGNATURE_BYTES + 100)})
        assert (result.values == committee.sum(committee.values)).all()
        assert result.complaints == (
            f"decryptor {liar} answered with a sum that does not fit the others': it is left out.",
        )


def test_two_wrong_sums_end_the_round_with_a_reason(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    lies = {0: flip(SIGNATURE_BYTES + 100), 5: flip(SIGNATURE_BYTES + 60)}
    with pytest.raises(RoundAborted, match="the answers of 7 decryptors do not belong to one sum"):
        committee.finish(opened, lies=lies)


def test_a_member_that_finds_every_box_bad_is_set_aside(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)

    def complain_of_all(body: bytearray) -> None:
        body[SIGNATURE_BYTES:] = b"\x3f"

    committee.ask_members(opened, lies={2: complain_of_all})
    assert Address("decryptor", 2) not in opened.outbox()
    committee.ask_members(opened)
    assert (opened.result.values == committee.sum(committee.values)).all()
    assert opened.result.complaints == ("decryptor 2 is set aside: it finds the boxes of 6 clients no good.",)


def share_badly(committee: Any, monkeypatch: pytest.MonkeyPatch, members: set[int], client: int) -> None:
    """From now on this client's shares for these members, authentic as they are, lie on no common polynomial."""
    genuine = client_module.split
    calls = iter(sorted(committee.values))

    def split(secret: Any, **options: Any) -> Any:
        seeds, shares = genuine(secret, **options)
        if next(calls) == client:
            for member in members:
                if member < len(seeds):
                    seeds[member] = bytes(32)
                else:
                    shares[member - len(seeds)][0, 5] ^= np.uint64(1)
        return seeds, shares

    monkeypatch.setattr(client_module, "split", split)


@pytest.mark.parametrize("member", [1, 6])
def test_one_malformed_share_is_corrected(committee: Any, monkeypatch: pytest.MonkeyPatch, member: int) -> None:
    share_badly(committee, monkeypatch, {member}, client=20)
    opened = committee.open()
    committee.collect(opened)
    result = committee.finish(opened)
    assert (result.values == committee.sum(committee.values)).all()
    assert f"decryptor {member} answered" in result.complaints[0]


def test_several_malformed_shares_spoil_the_round_and_open_nothing(
    committee: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    share_badly(committee, monkeypatch, {1, 6}, client=20)
    opened = committee.open()
    committee.collect(opened)
    with pytest.raises(RoundAborted, match="or some client shared its key wrongly"):
        committee.finish(opened)
    assert opened.phase == "aborted" and not opened.done


def test_shares_of_another_key_than_the_ciphertexts_are_noticed_in_the_noise(
    committee: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine, calls = client_module.encrypt, iter(sorted(committee.values))

    def encrypt(*arguments: Any) -> Any:
        body, key = genuine(*arguments)
        if next(calls) == 20:
            key[0, 0] ^= np.uint64(1)
        return body, key

    monkeypatch.setattr(client_module, "encrypt", encrypt)
    opened = committee.open()
    committee.collect(opened)
    with pytest.raises(RoundAborted, match="its sum cannot be read.*off the grid"):
        committee.finish(opened)


def test_a_crafted_upload_has_no_second_component_to_act_on(committee: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against one joint key, an upload (0, K) makes the opened sum show K times the key. Here the second component is
    the round's own, an upload has no place for another, and a client that shares a huge K as its key moves the opened
    key by exactly K: what a server with that client learns is the sum of the others' keys, as in any round.
    """
    parameters = committee.parameters
    keys: list[np.ndarray] = []
    genuine = client_module.encrypt
    crafted = np.full((1, parameters.degree), parameters.primes[0] // 3, np.uint64)

    def encrypt(*arguments: Any) -> Any:
        body, key = genuine(*arguments)
        if len(keys) == 2:
            body, key = bytes(len(body)), crafted.copy()
        keys.append(key.copy())
        return body, key

    monkeypatch.setattr(client_module, "encrypt", encrypt)
    opened = committee.open(0, cohort=[0, 10, 20])
    body = read_frame(committee.upload(opened, 0)).body
    keys.clear()
    slices = box_slices(parameters)
    assert slices[0].start == SALT_BYTES + parameters.ciphertext.n_bytes and slices[-1].stop == len(body)
    assert parameters.ciphertext.count == parameters.n_coefficients
    committee.collect(opened)
    committee.ask_members(opened)
    with pytest.raises(RoundAborted, match="cannot be read"):
        committee.ask_members(opened)
    shares = opened._answers
    assert consistent(shares, threshold=5, primes=parameters.primes)
    opened_key = combine(shares, threshold=5, primes=parameters.primes).astype(object)
    others = (opened_key - crafted.astype(object)) % parameters.primes[0]
    assert (others == (keys[0].astype(object) + keys[1].astype(object)) % parameters.primes[0]).all()
    assert not any((others == key).all() for key in keys)


# What the server refuses.


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


# Secrets stay out of sight, and nothing crashes.


def test_members_and_clients_show_no_secrets(committee: Any) -> None:
    opened = committee.open()
    joined = committee.run.client(0).join(opened.broadcast.data)
    joined.provide(committee.values[0])
    committee.collect(opened)
    boxes_shown(committee, opened)
    member = committee.members[0]
    held = member._opened
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
