"""Every message between the server and a client is sealed, both ways, in every phase."""

import os
from dataclasses import replace

import pytest

from protocols import Identity, errors
from protocols.codec import HEADER_BYTES, SEALED, Header, read_frame
from protocols.fuzzing.mutate import written
from protocols.identity import Address
from protocols.seals import NONCE_BYTES, SEAL_BYTES, seal_key

VICTIM, OTHER = 16, 22
TO_CLIENTS = ("share", "upload", "confirm", "unmask")
FROM_CLIENTS = ("advertise", *TO_CLIENTS)


def message_to(world, client: int) -> bytes:  # type: ignore[no-untyped-def]
    return bytes(world.server.outbox()[Address("client", client)])


def flips(data: bytes):  # type: ignore[no-untyped-def]
    """A bit of each byte around the body, and of some bytes of the body."""
    end = len(data) - SEAL_BYTES
    for at in (*range(HEADER_BYTES), *range(HEADER_BYTES, end, 1 + (end - HEADER_BYTES) // 50), *range(end, len(data))):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        yield bytes(changed)


def finishes(world) -> None:  # type: ignore[no-untyped-def]
    """The round goes on as if nothing illegal had been sent."""
    world.finish()
    assert world.server.result.survivors == set(world.ids)
    assert (world.server.result.values == world.expected(world.ids)).all()


@pytest.mark.parametrize("phase", TO_CLIENTS)
def test_a_client_refuses_what_its_server_did_not_seal_for_it_and_stays_in_the_round(world, phase: str) -> None:  # type: ignore[no-untyped-def]
    world.until(phase)
    honest = message_to(world, VICTIM)
    frame = read_frame(honest)
    assert frame.header.kind in SEALED and not frame.signature
    server, other = world.run.server_identity, world.run.client_identities[OTHER]
    client = world.run.client_identities[VICTIM].public
    body = bytes(frame.body)
    to_other = message_to(world, OTHER)
    readdressed = replace(read_frame(to_other).header, recipient=Address("client", VICTIM)).pack()
    for data in (
        *flips(honest),
        honest[:-SEAL_BYTES] + bytes(SEAL_BYTES),
        readdressed + to_other[HEADER_BYTES:],
        written(frame.header, body, other, client),
        written(frame.header, body, Identity.generate("server", 0), client),
        # Sealed by the server's own key, but for another setup and for the way back.
        resealed(frame.header, body, server, client, setup=bytes(32)),
        resealed(frame.header, body, server, client, sender=frame.header.recipient, recipient=frame.header.sender),
        honest[:-SEAL_BYTES] + server.sign("frame", honest[:HEADER_BYTES], bytes(32)),
        honest[:-1],
        honest[:-SEAL_BYTES],
        honest + b"\0",
        honest + honest,
    ):
        with pytest.raises(errors.ProtocolError, match="[.]$"):
            world.clients[VICTIM].answer(data)
    with pytest.raises(errors.WrongRecipientError, match=f"of the server .* is for client {OTHER}"):
        world.clients[VICTIM].answer(to_other)
    with pytest.raises(errors.SignatureError, match="of the server for round 5 .* changed or forged"):
        world.clients[VICTIM].answer(readdressed + to_other[HEADER_BYTES:])
    finishes(world)


@pytest.mark.parametrize("phase", FROM_CLIENTS)
def test_the_server_refuses_what_a_client_did_not_seal_and_the_round_goes_on(world, phase: str) -> None:  # type: ignore[no-untyped-def]
    world.until(phase)
    message = message_to(world, VICTIM)
    honest = world.say(VICTIM, message)
    frame = read_frame(honest)
    assert frame.header.kind in SEALED and not frame.signature
    own, other = world.run.client_identities[VICTIM], world.run.client_identities[OTHER]
    server = world.run.server_identity.public
    body = bytes(frame.body)
    for data in (
        *flips(honest),
        honest[:-SEAL_BYTES] + bytes(SEAL_BYTES),
        written(frame.header, body, other, server),
        written(frame.header, body, Identity.generate("client", VICTIM), server),
        resealed(frame.header, body, own, server, setup=bytes(32)),
        resealed(frame.header, body, own, server, sender=server.address, recipient=own.address),
        honest[:-SEAL_BYTES] + own.sign("frame", honest[:HEADER_BYTES], bytes(32)),
        honest[:-1],
        honest[:-SEAL_BYTES],
        honest + b"\0",
        honest + honest,
    ):
        with pytest.raises(errors.ProtocolError, match="[.]$"):
            world.server.receive(data)
    renamed = replace(frame.header, sender=Address("client", OTHER)).pack() + honest[HEADER_BYTES:]
    with pytest.raises(errors.SignatureError, match=f"of client {OTHER} for round 5 .* changed or forged"):
        world.server.receive(renamed)
    world.server.receive(honest)
    world.step(gone={VICTIM})
    finishes(world)


@pytest.mark.parametrize("phase", TO_CLIENTS)
def test_a_message_of_the_server_turned_back_to_it(world, phase: str) -> None:  # type: ignore[no-untyped-def]
    world.until(phase)
    honest = message_to(world, VICTIM)
    with pytest.raises(errors.UnknownSenderError, match="of the server .* expected from a client"):
        world.server.receive(honest)
    # With the names in the header exchanged, and the kind that is due, its seal is one of the other direction.
    kind = read_frame(world.say(VICTIM, honest)).header.kind
    header = replace(
        read_frame(honest).header, kind=kind, sender=Address("client", VICTIM), recipient=Address("server", 0)
    )
    length = world.server._body_bytes(header.sender)
    turned = replace(header, body_bytes=length).pack() + bytes(length) + honest[-SEAL_BYTES:]
    with pytest.raises(errors.SignatureError, match=f"of client {VICTIM} .* changed or forged"):
        world.server.receive(turned)


def resealed(header: Header, body: bytes, by: Identity, to, **changed: object) -> bytes:  # type: ignore[no-untyped-def]
    """The frame under a key that is bound to something else than its header says."""
    bound = {"setup": header.setup, "sender": header.sender, "recipient": header.recipient, **changed}
    return header.write(by, body, key=seal_key(by, to, **bound), nonce=os.urandom(NONCE_BYTES))
