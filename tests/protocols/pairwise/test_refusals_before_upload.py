"""What a lying server, a lying client or a stranger can send, each with the refusal it meets."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from protocols import errors
from protocols.codec import Kind, read_frame
from protocols.identity import Address
from protocols.pairwise.phases import round_digest
from protocols.pairwise.wire import BOX_BYTES, write_bits

# Eight clients, 10, 13, ... 31; everybody's neighbours are the seven others; five of them are needed.
VICTIM, OTHER = 16, 22
N, K, T = 8, 7, 5


def refuse(world, client: int, kind: Kind, body: bytes, error: type[Exception], match: str) -> None:  # type: ignore[no-untyped-def]
    """The client refuses this message of its server, and answers nothing after."""
    with pytest.raises(error, match=match):
        world.say(client, world.forged(client, kind, body))
    with pytest.raises(errors.PhaseError, match="takes no further part"):
        world.say(client, world.forged(client, kind, world.honest(client)))
    secrets = vars(world.clients[client])
    assert secrets["_mask_key"] is None and secrets["_secret"] is None
    assert secrets["_pairs"] == [] and secrets["_shares"] == []


# The list of neighbours.


def test_server_leaves_the_client_itself_off_the_list(world) -> None:  # type: ignore[no-untyped-def]
    world.until("share")
    body = bytearray(world.honest(VICTIM))
    body[0] ^= 1 << world.ids.index(VICTIM)
    refuse(world, VICTIM, Kind.NEIGHBOURS, bytes(body), errors.WrongKeyError, "not on the list")


def test_server_lists_a_nonexistent_client(new_world) -> None:  # type: ignore[no-untyped-def]
    world = new_world(7)
    world.until("share")
    body = bytearray(world.honest(VICTIM))
    assert body[0] == 0b1111111
    body[0] |= 0b10000000
    refuse(world, VICTIM, Kind.NEIGHBOURS, bytes(body), errors.LeftoverError, "beyond the last one")


def test_server_gives_fewer_neighbours_than_the_client_works_out(world) -> None:  # type: ignore[no-untyped-def]
    world.until("share")
    refuse(
        world, VICTIM, Kind.NEIGHBOURS, world.honest(VICTIM)[:-32], errors.WrongLengthError, "7 neighbours .* 6 keys"
    )


def test_server_gives_one_neighbour_more(world) -> None:  # type: ignore[no-untyped-def]
    world.until("share")
    body = world.honest(VICTIM) + bytes([9] * 32)
    refuse(world, VICTIM, Kind.NEIGHBOURS, body, errors.WrongLengthError, "7 neighbours .* 8 keys")


def test_server_lists_fewer_advertisers_than_it_promised_survivors(new_world) -> None:  # type: ignore[no-untyped-def]
    world = new_world(min_survivors=6)
    world.until("share")
    body = bytearray(world.honest(VICTIM))
    body[0] = 0b00000111
    refuse(world, VICTIM, Kind.NEIGHBOURS, bytes(body), errors.TooFewClientsError, "one of 3")


def test_server_gives_a_weak_key(world) -> None:  # type: ignore[no-untyped-def]
    world.until("share")
    body = world.honest(VICTIM)[:-32] + bytes(32)
    refuse(world, VICTIM, Kind.NEIGHBOURS, body, errors.WrongKeyError, "weak")


def test_server_in_the_middle_with_a_key_of_its_own(world) -> None:  # type: ignore[no-untyped-def]
    """It tells a client that a neighbour's mask key is one whose private half it holds: no box fits any more."""
    world.until("share")
    own = X25519PrivateKey.generate().public_key().public_bytes_raw()
    outbox = world.server.outbox()
    for client in world.ids:
        message = outbox[Address("client", client)]
        if client == VICTIM:
            message = world.forged(client, Kind.NEIGHBOURS, world.honest(client)[:-32] + own)
        world.server.receive(world.say(client, message))
    world.server.close_phase()
    place = int(world.server._places[world.ids.index(VICTIM)][-1])
    swapped = world.ids[place]
    refuse(
        world,
        VICTIM,
        Kind.MAILBOX,
        world.honest(VICTIM),
        errors.SignatureError,
        f"shares of client {swapped} do not open",
    )
    with pytest.raises(errors.SignatureError, match=f"shares of client {VICTIM} do not open"):
        world.say(swapped, world.server.outbox()[Address("client", swapped)])


def test_server_swaps_the_keys_of_two_neighbours(world) -> None:  # type: ignore[no-untyped-def]
    world.until("share")
    honest = world.honest(VICTIM)
    swapped = honest[:-64] + honest[-32:] + honest[-64:-32]
    for client, message in world.server.outbox().items():
        forged = world.forged(VICTIM, Kind.NEIGHBOURS, swapped)
        world.server.receive(world.say(client.number, forged if client.number == VICTIM else message))
    world.server.close_phase()
    refuse(world, VICTIM, Kind.MAILBOX, world.honest(VICTIM), errors.SignatureError, "do not open")


def test_server_shows_two_clients_different_lists(world) -> None:  # type: ignore[no-untyped-def]
    """With another proof the client works out another graph and other keys, and understands nobody."""
    world.until("share")
    honest = world.honest(VICTIM)
    forged = world.forged(VICTIM, Kind.NEIGHBOURS, honest[:1] + bytes(32) + honest[33:])
    for client, message in world.server.outbox().items():
        world.server.receive(world.say(client.number, forged if client.number == VICTIM else message))
    world.server.close_phase()
    refuse(world, VICTIM, Kind.MAILBOX, world.honest(VICTIM), errors.SignatureError, "do not open")


def test_the_graph_cannot_be_known_before_the_client_has_drawn_its_key(world) -> None:  # type: ignore[no-untyped-def]
    world.until("share")
    everybody = np.ones(N, bool)
    digests = {round_digest(world.server.broadcast, everybody, bytes([i] * 32)) for i in range(10)}
    assert len(digests) == 10
    first = world.server._round_digest
    world.open(6)
    world.until("share")
    assert world.server._round_digest != first


# The mailbox.


def mailbox(world, client: int, **boxes: bytes) -> bytes:  # type: ignore[no-untyped-def]
    """The honest mailbox with some boxes, by place p0 to p6, replaced."""
    body = bytearray(world.honest(client))
    for place, box in boxes.items():
        at = 1 + BOX_BYTES * int(place[1:])
        body[at : at + BOX_BYTES] = box
    return bytes(body)


def box_at(world, client: int, place: int) -> bytes:  # type: ignore[no-untyped-def]
    return world.honest(client)[1 + BOX_BYTES * place :][:BOX_BYTES]


def test_a_share_of_another_owner_is_refused(world) -> None:  # type: ignore[no-untyped-def]
    world.until("upload")
    body = mailbox(world, VICTIM, p0=box_at(world, VICTIM, 1))
    refuse(world, VICTIM, Kind.MAILBOX, body, errors.SignatureError, "do not open")


def test_a_share_meant_for_another_holder_is_refused(world) -> None:  # type: ignore[no-untyped-def]
    world.until("upload")
    body = mailbox(world, VICTIM, p0=box_at(world, OTHER, 0))
    refuse(world, VICTIM, Kind.MAILBOX, body, errors.SignatureError, "do not open")


def test_the_clients_own_box_reflected_to_it_is_refused(world) -> None:  # type: ignore[no-untyped-def]
    world.until("upload")
    own = bytes(read_frame(world.answers["share"][VICTIM]).body[32:][:BOX_BYTES])
    refuse(world, VICTIM, Kind.MAILBOX, mailbox(world, VICTIM, p0=own), errors.SignatureError, "do not open")


def test_a_share_of_an_earlier_round_is_refused(world) -> None:  # type: ignore[no-untyped-def]
    world.until("upload")
    earlier = {place: box_at(world, VICTIM, place) for place in range(K)}
    world.open(6)
    world.until("upload")
    for box in earlier.values():
        for place in range(K):
            with pytest.raises(errors.SignatureError):
                pair = world.clients[VICTIM]._pairs[place]
                pair.incoming.open(box, what="It")
    refuse(world, VICTIM, Kind.MAILBOX, mailbox(world, VICTIM, p3=earlier[3]), errors.SignatureError, "do not open")


def test_a_replayed_mailbox_of_an_earlier_round_is_refused_and_the_round_goes_on(world) -> None:  # type: ignore[no-untyped-def]
    world.until("upload")
    earlier = world.server.outbox()[Address("client", VICTIM)]
    world.open(6)
    world.until("upload")
    with pytest.raises(errors.WrongRoundError):
        world.clients[VICTIM].answer(earlier)
    assert (world.finish().values == world.expected(world.ids)).all()


def test_a_flipped_bit_in_a_box_is_refused(world) -> None:  # type: ignore[no-untyped-def]
    world.until("upload")
    box = bytearray(box_at(world, VICTIM, 2))
    box[40] ^= 4
    refuse(world, VICTIM, Kind.MAILBOX, mailbox(world, VICTIM, p2=bytes(box)), errors.SignatureError, "do not open")


def test_server_withholds_too_many_shares(world) -> None:  # type: ignore[no-untyped-def]
    world.until("upload")
    kept = T - 1
    body = write_bits(np.arange(K) < kept) + world.honest(VICTIM)[1 : 1 + BOX_BYTES * kept]
    refuse(
        world, VICTIM, Kind.MAILBOX, body, errors.TooFewClientsError, "5 of its 7 neighbours sent it their shares; 4"
    )


@pytest.mark.parametrize("extra", [b"", b"\0", bytes(BOX_BYTES)])
def test_a_mailbox_of_another_length_is_refused(world, extra: bytes) -> None:  # type: ignore[no-untyped-def]
    world.until("upload")
    body = world.honest(VICTIM) + extra if extra else world.honest(VICTIM)[:-1]
    refuse(world, VICTIM, Kind.MAILBOX, body, errors.ProtocolError, "ends 1 bytes early|bytes too many")


def test_a_place_beyond_the_last_neighbour_is_refused(world) -> None:  # type: ignore[no-untyped-def]
    world.until("upload")
    body = b"\xff" + world.honest(VICTIM)[1:] + bytes(BOX_BYTES)
    refuse(world, VICTIM, Kind.MAILBOX, body, errors.LeftoverError, "beyond the last")
