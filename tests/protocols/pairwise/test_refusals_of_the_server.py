"""What a lying client or a stranger can send to the server, and what becomes of the round."""

import numpy as np
import pytest

from protocols import Identity, RoundAborted, errors
from protocols.codec import Kind, read_frame
from protocols.identity import Address

VICTIM, OTHER, K = 16, 22, 7


def test_a_copy_of_another_clients_messages_is_refused(world) -> None:  # type: ignore[no-untyped-def]
    world.until("upload")
    outbox = world.server.outbox()
    upload = world.say(VICTIM, outbox[Address("client", VICTIM)])
    world.server.receive(upload)
    with pytest.raises(errors.DuplicateError):
        world.server.receive(upload)
    world.say(OTHER, outbox[Address("client", OTHER)])
    with pytest.raises(errors.DuplicateError, match="copy"):
        world.server.receive(world.resigned(OTHER, Kind.UPLOAD, bytes(read_frame(upload).body)))


@pytest.mark.parametrize("phase", ["advertise", "share", "upload", "confirm", "unmask"])
def test_another_length_is_refused_in_every_phase_and_the_round_goes_on(world, phase: str) -> None:  # type: ignore[no-untyped-def]
    world.until(phase)
    honest = world.say(VICTIM, world.server.outbox()[Address("client", VICTIM)])
    frame = read_frame(honest)
    for body in (bytes(frame.body)[:-1], bytes(frame.body) + b"\0", b""):
        with pytest.raises(errors.WrongLengthError):
            world.server.receive(world.resigned(VICTIM, frame.header.kind, body))
    with pytest.raises(errors.SignatureError):
        world.server.receive(honest[:-1] + bytes([honest[-1] ^ 1]))
    world.server.receive(honest)
    world.step(gone={VICTIM})
    opened = world.finish()
    assert opened.survivors == set(world.ids)
    assert (opened.values == world.expected(world.ids)).all()
    assert len(opened.complaints) == 4


def test_a_weak_mask_key_is_refused(world) -> None:  # type: ignore[no-untyped-def]
    world.say(VICTIM, world.server.outbox()[Address("client", VICTIM)])
    with pytest.raises(errors.WrongKeyError, match=f"client {VICTIM} is weak"):
        world.server.receive(world.resigned(VICTIM, Kind.ADVERTISE, bytes(32)))


def test_a_stranger_is_refused(world) -> None:  # type: ignore[no-untyped-def]
    answer = world.say(VICTIM, world.server.outbox()[Address("client", VICTIM)])
    frame = read_frame(answer)
    stranger = Identity.generate("client", VICTIM)
    with pytest.raises(errors.SignatureError):
        world.server.receive(frame.header.write(stranger, bytes(frame.body)))


def test_one_wrong_share_for_everybody_spoils_nothing(world) -> None:  # type: ignore[no-untyped-def]
    world.until("unmask")
    world.say(VICTIM, world.server.outbox()[Address("client", VICTIM)])
    world.server.receive(world.resigned(VICTIM, Kind.UNMASK, bytes([7] * 32 * K)))
    world.step(gone={VICTIM})
    assert (world.server.result.values == world.expected(world.ids)).all()


def test_too_many_wrong_shares_end_the_round_instead_of_changing_the_sum(world) -> None:  # type: ignore[no-untyped-def]
    world.until("unmask")
    for client in world.ids[:4]:
        world.say(client, world.server.outbox()[Address("client", client)])
        world.server.receive(world.resigned(client, Kind.UNMASK, np.random.default_rng(client).bytes(32 * K)))
    with pytest.raises(RoundAborted, match="do not fit what was announced"):
        world.step(gone=world.ids[:4])


def test_a_client_that_shares_one_secret_and_masks_with_another_ends_the_round(world) -> None:  # type: ignore[no-untyped-def]
    """It says so beforehand what its secret is, so the lie is seen; the sum it would have spoilt is not given out."""
    world.until("share")
    frame = read_frame(world.say(VICTIM, world.server.outbox()[Address("client", VICTIM)]))
    world.server.receive(world.resigned(VICTIM, Kind.SHARE, bytes(32) + bytes(frame.body)[32:]))
    world.step(gone={VICTIM})
    with pytest.raises(RoundAborted, match=f"own mask of client {VICTIM}"):
        world.finish()


def test_unmasking_with_too_few_answers_is_given_up(world) -> None:  # type: ignore[no-untyped-def]
    world.until("unmask")
    with pytest.raises(RoundAborted, match=r"[34] shares came that open the own mask of client \d+, and it takes 5"):
        world.step(gone=set(world.ids) - {10, 13, 16, 19})
