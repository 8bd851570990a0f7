"""Members that answer wrongly and clients that share wrongly."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from protocols import RoundAborted
from protocols.codec import read_frame
from protocols.committee import client as client_module
from protocols.committee.sharing import combine, consistent
from protocols.committee.wire import SALT_BYTES, box_slices
from protocols.identity import SIGNATURE_BYTES, Address


def wrong_sum(committee: Any, column: int) -> Callable[[bytearray], None]:
    """Change the lowest bit of a residue, which is below its odd modulus afterwards but for one in as many. column:
    divisible by 8, so that the bit is a byte's lowest.
    """
    change: Callable[[bytearray], None] = committee.flip(
        SIGNATURE_BYTES + committee.parameters.opening.widths[0] * column // 8
    )
    return change


def test_one_member_with_a_wrong_sum_is_named_and_the_sum_still_opens(committee: Any) -> None:
    for number, liar in enumerate((0, 4, 6)):
        opened = committee.open(number)
        committee.collect(opened)
        result = committee.finish(opened, lies={liar: wrong_sum(committee, 16)})
        assert (result.values == committee.sum(committee.values)).all()
        assert result.complaints == (
            f"decryptor {liar} answered with a sum that does not fit the others': it is left out.",
        )


def test_two_wrong_sums_end_the_round_with_a_reason(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    lies = {0: wrong_sum(committee, 16), 5: wrong_sum(committee, 8)}
    with pytest.raises(RoundAborted, match="the answers of 7 decryptors do not belong to one sum"):
        committee.finish(opened, lies=lies)


def test_a_member_that_finds_every_box_bad_is_set_aside(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)

    def complain_of_all(body: bytearray) -> None:
        body[SIGNATURE_BYTES] = 0x3F

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


@pytest.mark.parametrize("members", [{1}, {6}, {1, 6}, {2, 3, 4}, {4, 5, 6}, {0, 1, 2, 3, 4, 5}])
def test_a_client_that_shares_badly_is_named_before_anything_is_opened_and_left_out(
    committee: Any, monkeypatch: pytest.MonkeyPatch, members: set[int]
) -> None:
    share_badly(committee, monkeypatch, members, client=20)
    opened = committee.open()
    committee.collect(opened)
    result = committee.finish(opened)
    assert result.survivors == set(committee.values) - {20}
    assert (result.values == committee.sum(result.survivors)).all()
    (complaint,) = result.complaints
    if len(members) == 1:
        member = min(members)
        assert complaint == f"client 20 is left out: its share, as decryptor {member} has it, does not fit the others."
    else:
        assert complaint.startswith("client 20 is left out: its share")


def test_clients_that_share_badly_with_different_members_are_all_found(
    committee: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    share_badly(committee, monkeypatch, {2}, client=20)
    share_badly(committee, monkeypatch, {5, 6}, client=40)
    opened = committee.open()
    committee.collect(opened)
    result = committee.finish(opened)
    assert result.survivors == {0, 10, 30, 50} and (result.values == committee.sum(result.survivors)).all()
    assert [sentence[:9] for sentence in result.complaints] == ["client 20", "client 40"]


def test_a_bad_sharing_is_found_by_six_members_and_not_by_five(committee: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    share_badly(committee, monkeypatch, {1, 4}, client=20)
    opened = committee.open(0)
    committee.collect(opened)
    committee.ask_members(opened, gone={6})
    committee.ask_members(opened)
    assert opened.result.survivors == set(committee.values) - {20}
    assert opened.result.complaints == (
        "client 20 is left out: its shares, as 6 decryptors have them, lie on no common polynomial.",
    )
    monkeypatch.undo()
    share_badly(committee, monkeypatch, {1, 4}, client=20)
    opened = committee.open(1)
    committee.collect(opened)
    committee.ask_members(opened, gone={5, 6})
    with pytest.raises(RoundAborted, match="its sum cannot be read.*off the grid"):
        committee.ask_members(opened)


def lie_about(parameters: Any, clients: range) -> Callable[[bytearray], None]:
    """A member returns other projections for the clients in these places of a batch of six."""

    def change(body: bytearray) -> None:
        layout = parameters.projections(6)
        projections = layout.zeros()
        layout.unpack(bytes(body[SIGNATURE_BYTES + 1 :]), projections, what="It")
        projections[:, parameters.checks * clients.start : parameters.checks * clients.stop] ^= np.uint64(1)
        body[SIGNATURE_BYTES + 1 :] = layout.pack(projections)

    return change


def test_a_member_that_lies_about_one_client_costs_that_client_its_place(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    committee.ask_members(opened, lies={3: lie_about(committee.parameters, range(2, 3))})
    committee.ask_members(opened)
    assert opened.result.survivors == set(committee.values) - {20}
    assert opened.result.complaints == (
        "client 20 is left out: its share, as decryptor 3 has it, does not fit the others.",
    )


def test_a_member_that_lies_about_all_clients_is_set_aside(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    committee.ask_members(opened, lies={3: lie_about(committee.parameters, range(6))})
    committee.ask_members(opened)
    assert (opened.result.values == committee.sum(committee.values)).all()
    assert opened.result.complaints == (
        "decryptor 3 is set aside: what it says of the shares of 6 clients does not fit what the others say.",
    )


def test_two_members_that_lie_about_all_clients_end_the_round_with_a_reason(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    lie = lie_about(committee.parameters, range(6))
    with pytest.raises(RoundAborted, match="0 clients have shares that are good for enough decryptors"):
        committee.ask_members(opened, lies={3: lie, 5: lie})


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
