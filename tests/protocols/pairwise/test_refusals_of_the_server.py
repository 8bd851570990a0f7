"""What a lying client or a stranger can send to the server, and what becomes of the round."""

from functools import partial

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from protocols import Identity, RoundAborted, errors
from protocols.codec import Kind, read_frame
from protocols.fuzzing.mutate import written
from protocols.identity import Address
from protocols.pairwise import keys

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
        world.server.receive(world.resigned(OTHER, Kind.VECTOR, bytes(read_frame(upload).body)))


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


def test_the_weak_keys_are_those_that_agree_on_nothing_and_no_others() -> None:
    private = X25519PrivateKey.generate()
    p = 2**255 - 19
    # Also as X25519 reads them: not reduced, and with the bit that it ignores.
    spellings = [u + k * p + top for u in keys._LOW_ORDER for k in (0, 1) for top in (0, 2**255) if u + k * p < 2**255]
    assert len(spellings) == 14
    for weak in (u.to_bytes(32, "little") for u in spellings):
        for check in (keys.check_public, partial(keys.exchange, private)):
            with pytest.raises(errors.WrongKeyError, match="mask key of client 7 is weak"):
                check(weak, 7)
    rng = np.random.default_rng(1)
    near = [(u + step) % 2**256 for u in spellings for step in (-1, 1)]
    for key in (*(u.to_bytes(32, "little") for u in near if u not in spellings), *(rng.bytes(32) for _ in range(200))):
        keys.check_public(key, 7)
        keys.exchange(private, key, 7)


def test_a_stranger_is_refused(world) -> None:  # type: ignore[no-untyped-def]
    answer = world.say(VICTIM, world.server.outbox()[Address("client", VICTIM)])
    frame = read_frame(answer)
    stranger = Identity.generate("client", VICTIM)
    with pytest.raises(errors.SignatureError):
        world.server.receive(written(frame.header, bytes(frame.body), stranger, world.run.server_identity.public))


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
