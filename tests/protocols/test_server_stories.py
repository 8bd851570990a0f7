"""What clients, strangers and the network send to a server, one story each. The round goes on without it."""

import re
from typing import Any

import numpy as np
import pytest

from protocols import Address, Identity, RoundAborted, ServerRound, SumSpec, errors
from protocols.codec import FRAME_BYTES, HEADER_BYTES, Kind, read_frame
from protocols.roles import server as server_module


def refused(opened: ServerRound, error: type[errors.ProtocolError], message: str, data: bytes) -> None:
    """The server refuses the message by name, notes it, and its sum stays as it was."""
    before = set(opened.uploaded), opened._sum.total.copy(), len(opened.complaints)  # type: ignore[attr-defined]
    with pytest.raises(error, match=message):
        opened.receive(data)
    assert opened.uploaded == before[0]
    assert (opened._sum.total == before[1]).all()  # type: ignore[attr-defined]
    assert len(opened.complaints) == before[2] + 1
    assert re.search(message, opened.complaints[-1])


@pytest.fixture
def opened(world: Any) -> ServerRound:
    """A round with uploads of clients 0 and 1 in it; what a test does to it must not change their sum."""
    opened: ServerRound = world.open()
    for client in (0, 1):
        assert opened.receive(world.upload(opened, client)) == ("client", client)
    return opened


@pytest.fixture(autouse=True)
def goes_on(world: Any, opened: ServerRound) -> Any:
    yield
    if opened.phase == "upload":
        assert (world.finish(opened) == world.sum(*opened.result.survivors)).all()
        assert {0, 1} <= opened.result.survivors


def test_an_upload_of_another_round(world: Any, opened: ServerRound) -> None:
    replayed = world.upload(world.open(), 2)
    refused(opened, errors.WrongRoundError, "upload of client 2 for round .* arrived in round", replayed)


def test_an_upload_of_another_run(world: Any, opened: ServerRound, make_world: Any) -> None:
    other = make_world(world.run.protocol, run_id=b"another")
    stranger = other.open(round_number=opened.broadcast.round_number)
    refused(opened, errors.WrongRunError, "upload of client 2 .* another run", other.upload(stranger, 2))


def test_an_upload_for_another_setup_of_the_same_run(world: Any, opened: ServerRound, make_world: Any) -> None:
    other = make_world(world.run.protocol, SumSpec(41, 5, 2, 100))
    stranger = other.open(round_number=opened.broadcast.round_number)
    refused(opened, errors.WrongParametersError, "upload of client 2 .* another setup", other.upload(stranger, 2))


def test_an_upload_of_another_protocol(world: Any, opened: ServerRound, make_world: Any) -> None:
    other = make_world("ckks" if world.run.protocol == "plain" else "plain")
    stranger = other.open(round_number=opened.broadcast.round_number)
    refused(opened, errors.WrongProtocolError, "upload of client 2", other.upload(stranger, 2))


def test_an_upload_of_a_client_that_saw_another_table(world: Any, opened: ServerRound) -> None:
    upload = world.upload(world.second_broadcast(opened), 2)
    refused(opened, errors.WrongBroadcastError, "client 2 .* answers another broadcast", upload)


def test_a_broadcast_handed_back(world: Any, opened: ServerRound) -> None:
    refused(opened, errors.UnknownSenderError, "expected from a client", opened.broadcast.data)


def test_an_upload_that_nobody_signed(world: Any, opened: ServerRound) -> None:
    unsigned = world.upload(opened, 2)[:-64] + bytes(64)
    refused(opened, errors.SignatureError, "upload of client 2 .* changed or forged", unsigned)


@pytest.mark.parametrize("role", ["server", "client"])
def test_an_upload_signed_by_somebody_else(world: Any, opened: ServerRound, role: str) -> None:
    forged = world.forge(world.upload(opened, 2), world.identity(role, 3 if role == "client" else 0))
    refused(opened, errors.SignatureError, "upload of client 2", forged)


def test_an_upload_in_another_clients_name(world: Any, opened: ServerRound) -> None:
    # Client 3 sends its upload as client 2, with the signature it made for its own name, and with a new one.
    own = world.upload(opened, 3)
    renamed = world.forge(own, world.identity("client", 3), sender=Address("client", 2))
    refused(opened, errors.SignatureError, "upload of client 2", renamed)
    refused(opened, errors.SignatureError, "upload of client 2", renamed[:HEADER_BYTES] + own[HEADER_BYTES:])


def test_a_forgery_does_not_keep_out_the_client_in_whose_name_it_came(world: Any, opened: ServerRound) -> None:
    upload = world.upload(opened, 2)
    refused(opened, errors.SignatureError, "client 2", upload[:-64] + bytes(64))
    assert opened.receive(upload) == ("client", 2)


def test_an_upload_of_somebody_not_on_the_roster(world: Any, opened: ServerRound) -> None:
    stranger = Identity.generate("client", 77)
    forged = world.forge(world.upload(opened, 2), stranger, sender=stranger.address)
    refused(opened, errors.UnknownSenderError, "the roster names no client 77", forged)


def test_an_upload_of_a_client_that_was_not_asked(world: Any, opened: ServerRound) -> None:
    refused(opened, errors.UnknownSenderError, "client 5 takes no part", world.upload(opened, 5))


def test_an_upload_from_the_server_itself(world: Any, opened: ServerRound) -> None:
    own = world.forge(world.upload(opened, 2), world.identity("server"), sender=Address("server", 0))
    refused(opened, errors.UnknownSenderError, "expected from a client", own)


def test_an_upload_that_was_meant_for_somebody_else(world: Any, opened: ServerRound) -> None:
    misled = world.forge(world.upload(opened, 2), world.identity("client", 2), recipient=Address("client", 4))
    refused(opened, errors.WrongRecipientError, "is for client 4, not for the server", misled)
    shouted = world.forge(world.upload(opened, 2), world.identity("client", 2), recipient=None)
    refused(opened, errors.WrongRecipientError, "is for everybody, not for the server", shouted)


def test_the_same_upload_twice(world: Any, opened: ServerRound) -> None:
    upload = world.upload(opened, 2)
    opened.receive(upload)
    refused(opened, errors.DuplicateError, "upload of client 2 .* arrived twice", upload)


def test_two_uploads_of_one_client(world: Any, opened: ServerRound) -> None:
    opened.receive(world.upload(opened, 2))
    refused(opened, errors.DuplicateError, "upload of client 2 .* arrived twice", world.upload(opened, 2))


def test_a_copy_of_another_clients_upload(world: Any, opened: ServerRound) -> None:
    original = world.upload(opened, 2)
    opened.receive(original)
    body = bytes(read_frame(original).body)
    copied = world.forge(world.upload(opened, 3), world.identity("client", 3), body)
    if world.run.protocol == "plain":
        # Honest clients may hold equal vectors, and in the clear these look alike.
        opened.receive(copied)
        world.values = {**world.values, 3: world.values[2]}
    else:
        refused(opened, errors.DuplicateError, "client 3 .* a copy of another", copied)


@pytest.mark.parametrize("length", [0, 1, HEADER_BYTES - 1, HEADER_BYTES, FRAME_BYTES[Kind.VECTOR], -1, -65])
def test_a_truncated_upload(world: Any, opened: ServerRound, length: int) -> None:
    refused(opened, errors.TruncatedError, "[.]$", world.upload(opened, 2)[:length])


@pytest.mark.parametrize("extra", [b"\0", bytes(64), bytes(1 << 20)], ids=len)
def test_a_padded_upload(world: Any, opened: ServerRound, extra: bytes) -> None:
    refused(
        opened, errors.LeftoverError, f"client 2 .* followed by {len(extra)} bytes", world.upload(opened, 2) + extra
    )


@pytest.mark.parametrize("change", [-8, 8, 1 << 20])
def test_a_signed_upload_of_the_wrong_length(world: Any, opened: ServerRound, change: int) -> None:
    upload = world.upload(opened, 2)
    body = bytes(read_frame(upload).body)
    wrong = body[:change] if change < 0 else body + bytes(change)
    forged = world.forge(upload, world.identity("client", 2), wrong)
    refused(opened, errors.WrongLengthError, f"client 2 .* a body of {len(wrong)} bytes", forged)


def test_a_signed_upload_with_a_residue_out_of_range(world: Any, opened: ServerRound) -> None:
    # All bits one make the largest number of each width, which no modulus reaches.
    upload = world.upload(opened, 2)
    body = b"\xff" * 16 + bytes(read_frame(upload).body)[16:]
    refused(opened, errors.ResidueError, "client 2", world.forge(upload, world.identity("client", 2), body))
    assert opened.receive(upload) == ("client", 2)


def test_every_flipped_bit_of_the_header_and_the_signature(world: Any, opened: ServerRound) -> None:
    upload = world.upload(opened, 2)
    places = [*range(8 * HEADER_BYTES), *range(8 * (len(upload) - 64), 8 * len(upload))]
    for bit in places:
        flipped = bytearray(upload)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(errors.ProtocolError, match="[.]$"):
            opened.receive(bytes(flipped))
    assert opened.uploaded == {0, 1}


def test_a_flipped_bit_of_the_body(world: Any, opened: ServerRound) -> None:
    upload = bytearray(world.upload(opened, 2))
    upload[HEADER_BYTES + 9] ^= 4
    refused(opened, errors.SignatureError, "client 2", bytes(upload))


@pytest.mark.parametrize(
    ("at", "value", "error", "message"),
    [
        (0, 0, errors.FrameError, "magic"),
        (4, 1, errors.UnknownVersionError, "version 1"),
        (5, 0, errors.FrameError, "unknown kind 0"),
        (7, 0, errors.FrameError, "no known role"),
        (7, 9, errors.FrameError, "no known role"),
        (16, 255, errors.FrameError, "out of range"),
    ],
)
def test_a_header_that_makes_no_sense(
    world: Any, opened: ServerRound, at: int, value: int, error: type[errors.ProtocolError], message: str
) -> None:
    upload = bytearray(world.upload(opened, 2))
    upload[at] = value
    refused(opened, error, message, bytes(upload))


def test_a_signed_message_of_a_kind_nobody_asked_for(world: Any, opened: ServerRound) -> None:
    upload = world.upload(opened, 2)
    for kind in set(Kind) - {read_frame(upload).header.kind}:
        wrong = world.forge(upload, world.identity("client", 2), kind=kind)
        refused(opened, errors.PhaseError, "no place here", wrong)


def test_a_flood_of_refused_messages_does_not_fill_the_memory(
    world: Any, opened: ServerRound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_COMPLAINTS", 5)
    for _ in range(20):
        with pytest.raises(errors.TruncatedError):
            opened.receive(b"noise")
    assert len(opened.complaints) == 5


def test_an_upload_that_comes_too_late(world: Any, opened: ServerRound) -> None:
    late = world.upload(opened, 2)
    opened.close_phase()
    error = errors.PhaseError if opened.done else errors.UnknownSenderError
    with pytest.raises(error):
        opened.receive(late)
    world.finish(opened)
    assert opened.result.survivors == {0, 1}


def test_a_round_that_is_over_takes_nothing_and_says_nothing(world: Any, opened: ServerRound) -> None:
    late = world.upload(opened, 2)
    world.finish(opened)
    assert opened.outbox() == {} and opened.phase == "done"
    for call in (lambda: opened.receive(late), opened.close_phase):
        with pytest.raises(errors.PhaseError, match="is over"):
            call()
    assert opened.result.survivors == {0, 1}


def test_too_few_uploads_give_the_round_up_for_good(world: Any) -> None:
    opened = world.open(min_survivors=3)
    for client in (0, 1):
        opened.receive(world.upload(opened, client))
    with pytest.raises(errors.PhaseError, match="has no result"):
        _ = opened.result
    with pytest.raises(RoundAborted, match="given up: 2 uploads arrived, and at least 3 are needed"):
        opened.close_phase()
    assert opened.phase == "aborted" and not opened.done and opened.outbox() == {}
    with pytest.raises(errors.PhaseError, match="is over"):
        opened.receive(world.upload(opened, 2))


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"cohort": range(6)}, errors.TooManyClientsError, "cohort of 6"),
        ({"cohort": (0, 9)}, errors.UnknownSenderError, "no client 9"),
        ({"cohort": (0, 1)}, RoundAborted, "cannot leave 3 survivors"),
        ({"min_survivors": 1}, errors.TooFewClientsError, "from 2 to 5 survivors"),
        ({"context": b"short"}, errors.WrongLengthError, "32 bytes"),
        ({"round_number": 1 << 63}, errors.FrameError, "not a number from 0"),
        ({"round_number": -1}, errors.FrameError, "not a number from 0"),
    ],
    ids=str,
)
def test_a_server_does_not_open_a_senseless_round(
    world: Any, asked: dict[str, Any], error: type[errors.ProtocolError], message: str
) -> None:
    sensible: dict[str, Any] = {"round_number": 7, "context": bytes(32), "min_survivors": 3, "cohort": range(5)}
    with pytest.raises(error, match=message):
        world.run.server().open_round(**{**sensible, **asked})


def test_a_server_does_not_open_a_round_twice(world: Any, opened: ServerRound) -> None:
    with pytest.raises(errors.PhaseError, match="opened before"):
        world.open(round_number=opened.broadcast.round_number)


def test_the_server_keeps_of_an_upload_no_more_than_its_digest_and_signature(world: Any, opened: ServerRound) -> None:
    # What a round holds on to, as bytes and arrays: with 5 uploads no more than with 2, but for 5 records.
    def held(value: Any) -> int:
        if isinstance(value, bytes | memoryview):
            return len(value)
        return value.nbytes if isinstance(value, np.ndarray) else 0

    def total() -> int:
        parts: list[Any] = [*vars(opened).values(), *vars(opened._sum).values()]  # type: ignore[attr-defined]
        return sum(map(held, parts)) + sum(map(held, opened._seen))

    before = total()
    for client in (2, 3, 4):
        opened.receive(world.upload(opened, client))
    assert total() - before <= 3 * (32 + 16)
    assert all(len(r.body_digest) == 32 and len(r.signature) == 64 for r in opened.uploads.values())
