"""What a server that lies, or whoever stands between, sends to a client; and what a client may not do itself."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import protocols
from protocols import Address, ClientRound, EnrolmentKey, Identity, Roster, Setup, SumSpec, errors
from protocols.codec import HEADER_BYTES, NO_BROADCAST, UPLOADS, read_frame
from protocols.registry import PROTOCOLS, load


def test_a_second_broadcast_for_a_round_it_has_taken_part_in(world: Any) -> None:
    opened = world.open()
    client = world.client(2)
    client.join(opened.broadcast.data)
    other = world.second_broadcast(opened).broadcast.data
    with pytest.raises(errors.SpentRoundError, match="client 2 has taken part in round .* on another broadcast"):
        client.join(other)


def test_the_same_broadcast_again(world: Any) -> None:
    opened = world.open()
    client = world.client(2)
    client.join(opened.broadcast.data)
    with pytest.raises(errors.SpentRoundError, match="on this broadcast: not again"):
        client.join(opened.broadcast.data)


def test_a_replayed_broadcast_after_the_clients_program_started_again(world: Any) -> None:
    record: dict[int, bytes] = {}
    opened = world.open()
    client_class = load(PROTOCOLS[world.run.protocol].client)
    pieces = world.run.setup, world.identity("client", 2), world.run.enrolment.public
    client_class(*pieces, min_survivors=1, answered=record).join(opened.broadcast.data)
    assert record == {opened.broadcast.round_number: opened.broadcast.digest}
    with pytest.raises(errors.SpentRoundError, match="not again"):
        client_class(*pieces, min_survivors=1, answered=record).join(world.second_broadcast(opened).broadcast.data)


def test_a_client_whose_record_cannot_be_written_does_not_answer(world: Any) -> None:
    class Full(dict[int, bytes]):
        def __setitem__(self, key: int, value: bytes) -> None:
            raise OSError("no space left")

    client_class = load(PROTOCOLS[world.run.protocol].client)
    pieces = world.run.setup, world.identity("client", 2), world.run.enrolment.public
    with pytest.raises(OSError, match="no space"):
        client_class(*pieces, min_survivors=1, answered=Full()).join(world.open().broadcast.data)


def test_a_broadcast_below_the_clients_own_floor(world: Any) -> None:
    data = world.open(min_survivors=2).broadcast.data
    with pytest.raises(
        errors.TooFewClientsError, match="a sum of 2 clients; client 2 takes part in sums of at least 3"
    ):
        world.client(2, min_survivors=3).join(data)
    world.client(2, min_survivors=2).join(data)


@pytest.mark.parametrize(("count", "message"), [(0, "at least 2"), (1, "at least 2"), (6, "sized for")])
def test_a_broadcast_below_or_above_what_the_sum_was_made_for(world: Any, count: int, message: str) -> None:
    data = world.open().broadcast.data
    body = bytes(32) + count.to_bytes(4, "little") + bytes(32)
    with pytest.raises(errors.TooFewClientsError, match=message):
        world.client(2).join(world.forge(data, world.identity("server"), body))


def test_a_broadcast_of_another_run(world: Any, make_world: Any) -> None:
    other = make_world(world.run.protocol, run_id=b"another")
    with pytest.raises(errors.WrongRunError, match="broadcast of the server"):
        world.client(2).join(other.open().broadcast.data)


def test_a_broadcast_for_another_setup_of_the_same_run(world: Any, make_world: Any) -> None:
    other = make_world(world.run.protocol, SumSpec(40, 5, 1, 100))
    with pytest.raises(errors.WrongParametersError, match="another setup"):
        world.client(2).join(other.open(min_survivors=1).broadcast.data)


@pytest.mark.parametrize("liar", ["client", "stranger"])
def test_a_broadcast_that_the_server_did_not_sign(world: Any, liar: str) -> None:
    opened = world.open()
    signer = world.identity("client", 3) if liar == "client" else Identity.generate("server", 0)
    for forged in (world.forge(opened.broadcast.data, signer), opened.broadcast.data[:-64] + bytes(64)):
        with pytest.raises(errors.SignatureError, match="broadcast of the server"):
            world.client(2).join(forged)


def test_a_broadcast_in_a_clients_name(world: Any) -> None:
    own = world.forge(world.open().broadcast.data, world.identity("client", 3), sender=Address("client", 3))
    with pytest.raises(errors.UnknownSenderError, match="expected from a server"):
        world.client(2).join(own)


def test_a_broadcast_for_one_client_alone(world: Any) -> None:
    singled = world.forge(world.open().broadcast.data, world.identity("server"), recipient=Address("client", 2))
    with pytest.raises(errors.WrongRecipientError, match="is for client 2"):
        world.client(2).join(singled)


def test_a_broadcast_that_claims_to_answer_another(world: Any) -> None:
    odd = world.forge(world.open().broadcast.data, world.identity("server"), broadcast=bytes([1]) * 32)
    with pytest.raises(errors.FrameError, match="claims to answer"):
        world.client(2).join(odd)


def test_an_upload_instead_of_a_broadcast(world: Any) -> None:
    opened = world.open()
    upload = world.upload(opened, 3)
    with pytest.raises(errors.UnknownSenderError, match="expected from a server"):
        world.client(2).join(upload)
    as_server = world.forge(
        upload, world.identity("server"), sender=Address("server", 0), recipient=Address("client", 2)
    )
    with pytest.raises(errors.PhaseError, match="no place here"):
        world.client(2).join(as_server)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_signed_broadcast_of_the_wrong_length(world: Any, change: int) -> None:
    data = world.open().broadcast.data
    body = bytes(read_frame(data).body)
    wrong = body[:-1] if change < 0 else body + b"\0"
    with pytest.raises(errors.WrongLengthError, match="a body of .* bytes"):
        world.client(2).join(world.forge(data, world.identity("server"), wrong))


def test_every_flipped_bit_of_a_broadcast(world: Any) -> None:
    data = world.open().broadcast.data
    client = world.client(2)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(errors.ProtocolError, match="[.]$"):
            client.join(bytes(flipped))
    for cut in (0, HEADER_BYTES, len(data) - 1):
        with pytest.raises(errors.TruncatedError):
            client.join(data[:cut])
    with pytest.raises(errors.LeftoverError):
        client.join(data + b"\0")
    client.join(data)


def joined(world: Any) -> tuple[ClientRound, bytes]:
    opened = world.open()
    return world.client(2).join(opened.broadcast.data), opened.broadcast.data


def test_a_client_shows_which_table_the_broadcast_promises(world: Any) -> None:
    assert joined(world)[0].context == bytes(range(32))


def test_a_client_answers_only_the_broadcast_it_joined(world: Any) -> None:
    opened = world.open()
    part = world.joined(opened, 2)
    for other in (world.second_broadcast(opened).broadcast.data, world.open().broadcast.data, b""):
        with pytest.raises(errors.PhaseError, match="answers the broadcast it joined first"):
            part.answer(other)
    assert read_frame(part.answer(opened.broadcast.data)).header.kind in UPLOADS


def test_a_client_uploads_once(world: Any) -> None:
    part, data = joined(world)
    part.provide(world.values[2])
    part.answer(data)
    with pytest.raises(errors.PhaseError, match="takes no further part"):
        part.answer(data)
    with pytest.raises(errors.PhaseError, match="one vector"):
        part.provide(world.values[3])
    with pytest.raises(errors.PhaseError, match="no values"):
        _ = part.values


def test_a_client_without_values_says_so_and_may_still_provide_them(world: Any) -> None:
    part, data = joined(world)
    with pytest.raises(errors.PhaseError, match="Client 2 in round .* no values"):
        part.answer(data)
    part.provide(world.values[2])
    part.answer(data)


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(39, np.int64),
        np.zeros((1, 40), np.int64),
        np.zeros(40, np.int32),
        np.zeros(40),
        [0] * 40,
        np.full(40, 101),
        np.full(40, -101),
        np.full(40, np.iinfo(np.int64).min),
    ],
    ids=["short", "matrix", "int32", "float", "list", "above", "below", "least"],
)
def test_a_client_refuses_its_own_bad_values(world: Any, values: Any) -> None:
    part, data = joined(world)
    with pytest.raises(errors.ValuesError, match="Client 2 in round"):
        part.provide(values)
    part.provide(world.values[2])
    part.answer(data)


def test_an_upload_names_the_table_its_client_saw(world: Any) -> None:
    opened = world.open()
    header = read_frame(world.upload(opened, 2)).header
    assert header.broadcast == opened.broadcast.digest != NO_BROADCAST
    assert header.recipient == ("server", 0) and header.sender == ("client", 2)


# Setups that a server hands out.


def made(world: Any, setup: Setup, identity: Identity | None = None, pinned: bytes | None = None) -> Any:
    client_class = load(PROTOCOLS[world.run.protocol].client)
    enrolment = world.run.enrolment.public if pinned is None else pinned
    return client_class(setup.to_bytes(), identity or world.identity("client", 2), enrolment, min_survivors=1)


def test_a_roster_that_the_server_made_itself(world: Any) -> None:
    own = EnrolmentKey.generate()
    setup = Setup.from_bytes(world.run.setup)
    roster = setup.verify(world.run.enrolment.public)
    forged = Setup(setup.protocol, setup.spec, setup.run_id, roster.sign(own), setup.public_keys)
    with pytest.raises(errors.RosterError, match="not signed by the pinned enrolment key"):
        made(world, forged)
    with pytest.raises(errors.IdentityError, match="32 bytes"):
        made(world, setup, pinned=b"short")


def test_a_setup_that_names_a_weaker_protocol_or_other_numbers(world: Any) -> None:
    # Else a lying server could hand out a setup of the protocol that hides nothing, and read the uploads.
    setup = Setup.from_bytes(world.run.setup)
    weaker = "plain" if setup.protocol != "plain" else "ckks"
    lies = (
        replace(setup, protocol=weaker),
        replace(setup, spec=SumSpec(40, 5, 1, 100)),
        replace(setup, run_id=b"another"),
        replace(setup, public_keys=setup.public_keys + b"\0"),
        replace(setup, signature=bytes(64)),
        setup.signed(EnrolmentKey.generate()),
    )
    for lie in lies:
        for make in (made, other_parties):
            with pytest.raises(errors.SetupError, match="setup is not signed by the pinned enrolment key"):
                make(world, lie)


def other_parties(world: Any, setup: Setup) -> Any:
    """A client by the public way in, which follows what the setup says."""
    identity = world.identity("client", 2)
    return protocols.client(setup.to_bytes(), identity, world.run.enrolment.public, min_survivors=1)


def test_a_roster_without_this_client_or_with_other_keys_for_it(world: Any) -> None:
    setup = Setup.from_bytes(world.run.setup)
    for identity in (Identity.generate("client", 77), Identity.generate("client", 2)):
        with pytest.raises(errors.RosterError, match="does not name client"):
            made(world, setup, identity)
    with pytest.raises(errors.RosterError, match="A client cannot play with the identity of the server"):
        made(world, setup, world.identity("server"))


def test_a_public_key_that_the_server_made_itself(ckks: Any, make_world: Any) -> None:
    setup = Setup.from_bytes(ckks.run.setup)
    other = Setup.from_bytes(make_world("ckks").run.setup)
    key, own_signature = other.public_keys[:-64], setup.public_keys[-64:]
    for keys in (other.public_keys, key + own_signature, key + bytes(64)):
        swapped = Setup(setup.protocol, setup.spec, setup.run_id, setup.roster, keys).signed(ckks.run.enrolment)
        with pytest.raises(errors.SetupError, match="not signed by the decryptor"):
            made(ckks, swapped)
    for keys in (b"", setup.public_keys[:-1], setup.public_keys + b"\0"):
        with pytest.raises(errors.SetupError, match="bytes; .* were expected"):
            made(ckks, replace(setup, public_keys=keys).signed(ckks.run.enrolment))


@pytest.mark.parametrize("changed", ["spec", "run_id", "roster"])
def test_a_decryptors_key_signed_for_something_else(ckks: Any, changed: str) -> None:
    # The signature binds the key to specification, run and roster: a server cannot lower what a sum needs.
    setup = Setup.from_bytes(ckks.run.setup)
    roster = setup.verify(ckks.run.enrolment.public)
    smaller = Roster(roster.server, roster.clients[:4], roster.decryptors, roster.threshold, roster.tolerated)
    other = Setup(
        "ckks",
        SumSpec(40, 5, 1, 100) if changed == "spec" else setup.spec,
        b"another" if changed == "run_id" else setup.run_id,
        smaller.sign(ckks.run.enrolment) if changed == "roster" else setup.roster,
        setup.public_keys,
    )
    with pytest.raises(errors.SetupError, match="not signed by the decryptor"):
        made(ckks, other.signed(ckks.run.enrolment))
