"""What a lying server, a lying client or a stranger can send, each with the refusal it meets."""

import copy

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from protocols import errors
from protocols.codec import Kind, read_frame
from protocols.identity import Address
from protocols.pairwise import shamir
from protocols.pairwise.wire import BOX_BYTES, read_bits, write_bits

# Eight clients, 10, 13, ... 31; everybody's neighbours are the seven others; five of them are needed.
VICTIM, OTHER = 16, 22
N, K, T = 8, 7, 5


def survivors_without(world, client: int, gone: set[int]) -> bytes:  # type: ignore[no-untyped-def]
    """A survivors message to this client in which some that are alive are declared gone; tags as they belong there."""
    honest = world.honest(client)
    alive = read_bits(honest[:1], N, what="")
    server = world.server
    i = server._index[client]
    there = alive.copy()
    there[[world.ids.index(g) for g in gone]] = False
    near = there[server._places[i]]
    tags = server._masked.delivered(i)[near].tobytes()
    return write_bits(there) + tags


def refuse(world, client: int, kind: Kind, body: bytes, error: type[Exception], match: str) -> None:  # type: ignore[no-untyped-def]
    """The client refuses this message of its server, and answers nothing after."""
    with pytest.raises(error, match=match):
        world.say(client, world.forged(client, kind, body))
    with pytest.raises(errors.PhaseError, match="takes no further part"):
        world.say(client, world.forged(client, kind, world.honest(client)))
    secrets = vars(world.clients[client])
    assert secrets["_mask_key"] is None and secrets["_secret"] is None
    assert secrets["_pairs"] == [] and secrets["_shares"] == []


# The survivors.


def test_server_declares_the_client_itself_gone(world) -> None:  # type: ignore[no-untyped-def]
    world.until("confirm")
    body = survivors_without(world, VICTIM, {VICTIM})
    refuse(world, VICTIM, Kind.SURVIVORS, body, errors.SurvivorsError, "declared gone, though it uploaded")


def test_server_declares_a_nonexistent_client_alive(new_world) -> None:  # type: ignore[no-untyped-def]
    world = new_world(7)
    world.until("confirm")
    body = bytes([world.honest(VICTIM)[0] | 0x80]) + world.honest(VICTIM)[1:]
    refuse(world, VICTIM, Kind.SURVIVORS, body, errors.LeftoverError, "beyond the last")


def test_server_declares_too_many_neighbours_gone(world) -> None:  # type: ignore[no-untyped-def]
    world.until("confirm")
    body = survivors_without(world, VICTIM, {10, 13, 19})
    refuse(world, VICTIM, Kind.SURVIVORS, body, errors.TooFewClientsError, "5 of its 7 neighbours survived; 4 did")


def test_server_keeps_fewer_than_it_promised(new_world) -> None:  # type: ignore[no-untyped-def]
    world = new_world(min_survivors=8)
    world.until("confirm")
    body = survivors_without(world, VICTIM, {OTHER})
    refuse(world, VICTIM, Kind.SURVIVORS, body, errors.TooFewClientsError, "sum over 7 clients; 8 were promised")


def test_a_client_has_a_minimum_of_its_own(world) -> None:  # type: ignore[no-untyped-def]
    strict = world.run.client(VICTIM, min_survivors=3)
    with pytest.raises(errors.TooFewClientsError, match="at least 3"):
        strict.join(world.server.broadcast.data)


def test_server_declares_one_alive_that_never_uploaded(world) -> None:  # type: ignore[no-untyped-def]
    """Nobody is alive who cannot prove to each neighbour that it uploaded, masked with that very neighbour."""
    world.step()
    world.step()
    world.step(gone={OTHER})
    honest = world.honest(VICTIM)
    there = read_bits(honest[:1], N, what="")
    there[world.ids.index(OTHER)] = True
    server, i = world.server, world.ids.index(VICTIM)
    near = there[server._places[i]]
    tags = server._masked.delivered(i)[near].tobytes()
    refuse(world, VICTIM, Kind.SURVIVORS, write_bits(there) + tags, errors.SignatureError, f"client {OTHER} says")


def test_server_declares_one_alive_whose_shares_it_withheld(world) -> None:  # type: ignore[no-untyped-def]
    """Else the two would not be masked with each other, and one could be had without the other."""
    world.until("upload")
    i = world.ids.index(VICTIM)
    place = int(np.flatnonzero(world.server._places[i] == world.ids.index(OTHER))[0])
    honest = world.honest(VICTIM)
    body = write_bits(np.arange(K) != place) + honest[1 : 1 + BOX_BYTES * place] + honest[1 + BOX_BYTES * (place + 1) :]
    world.say(VICTIM, world.forged(VICTIM, Kind.MAILBOX, body))
    world.step(gone={VICTIM})
    alive = read_bits(world.honest(OTHER)[:1], N, what="")
    alive[i] = True
    near = alive[world.server._places[i]]
    tags = world.server._masked.delivered(i)[near].tobytes()
    with pytest.raises(errors.SurvivorsError, match=f"client {OTHER} survived, whose shares it was never sent"):
        world.say(VICTIM, world.forged(VICTIM, Kind.SURVIVORS, write_bits(alive) + tags))
    # And the other one is not told by any tag that the victim is masked with it.
    forged = write_bits(alive) + bytes(16 * (K))
    with pytest.raises(errors.SignatureError, match="says that it uploaded"):
        world.say(OTHER, world.forged(OTHER, Kind.SURVIVORS, forged))


def test_server_tells_different_clients_different_survivors(world) -> None:  # type: ignore[no-untyped-def]
    """Half are told that the victim is gone, half that another one is: nobody finds five who confirmed the same."""
    world.until("confirm")
    confirmed = {}
    for number, client in enumerate(world.ids):
        if client in (VICTIM, OTHER):
            continue
        forged = survivors_without(world, client, {VICTIM if number % 2 else OTHER})
        answer = world.say(client, world.forged(client, Kind.SURVIVORS, forged))
        confirmed[client] = bytes(read_frame(answer).body)
    client = 13
    # Tags of those who saw the other set are worth nothing to this one, which saw the victim gone.
    i = world.ids.index(client)
    alive = [p for p in world.server._places[i].tolist() if world.ids[p] != VICTIM]
    there, tags = [], b""
    for p in alive:
        giver = world.ids[p]
        there.append(giver in confirmed)
        if giver in confirmed:
            # The giver's tags are by its own places, without whom it was told is gone.
            gone = VICTIM if p % 2 else OTHER
            order = [q for q in world.server._places[p].tolist() if world.ids[q] != gone]
            tags += confirmed[giver][16 * order.index(i) :][:16]
    body = write_bits(np.array(there)) + tags
    with pytest.raises(errors.SignatureError, match="of the same survivors"):
        world.say(client, world.forged(client, Kind.CONFIRMED, body))


def test_a_second_survivor_set_is_never_confirmed(world) -> None:  # type: ignore[no-untyped-def]
    """A victim listed as alive and later as gone: each phase is answered once."""
    world.until("confirm")
    first = world.forged(13, Kind.SURVIVORS, world.honest(13))
    second = world.forged(13, Kind.SURVIVORS, survivors_without(world, 13, {VICTIM}))
    world.say(13, first)
    for again in (second, first):
        with pytest.raises(errors.PhaseError):
            world.say(13, again)


# The confirmations, and the shares themselves.


def confirmed_by(world, client: int, keep: int) -> bytes:  # type: ignore[no-untyped-def]
    return write_bits(np.arange(K) < keep) + world.honest(client)[1 : 1 + 16 * keep]


def test_server_passes_on_too_few_confirmations(world) -> None:  # type: ignore[no-untyped-def]
    world.until("unmask")
    body = confirmed_by(world, VICTIM, T - 1)
    refuse(world, VICTIM, Kind.CONFIRMED, body, errors.TooFewClientsError, "confirmed the same survivors; 4 did")


def test_server_invents_confirmations(world) -> None:  # type: ignore[no-untyped-def]
    world.until("unmask")
    body = world.honest(VICTIM)[:-16] + bytes(16)
    refuse(world, VICTIM, Kind.CONFIRMED, body, errors.SignatureError, "of the same survivors")


def test_server_repeats_one_confirmation_for_another(world) -> None:  # type: ignore[no-untyped-def]
    world.until("unmask")
    honest = world.honest(VICTIM)
    body = honest[:17] + honest[1:17] + honest[33:]
    refuse(world, VICTIM, Kind.CONFIRMED, body, errors.SignatureError, "of the same survivors")


def test_a_masked_tag_does_not_pass_for_a_confirmation(world) -> None:  # type: ignore[no-untyped-def]
    world.until("confirm")
    masked = world.honest(VICTIM)[1:]
    world.until("unmask")
    refuse(world, VICTIM, Kind.CONFIRMED, world.honest(VICTIM)[:1] + masked, errors.SignatureError, "same survivors")


def test_a_client_gives_one_kind_of_share_for_each_neighbour(world) -> None:  # type: ignore[no-untyped-def]
    """One share for each box that came; whose mask key and whose own secret follows from the one confirmed set."""
    world.step()
    world.step()
    world.step(gone={OTHER})
    world.step()
    held = list(world.clients[VICTIM]._shares)
    alive = world.clients[VICTIM]._alive
    i = world.ids.index(VICTIM)
    answer = bytes(read_frame(world.say(VICTIM, world.server.outbox()[Address("client", VICTIM)])).body)
    assert len(answer) == 32 * K
    for place, share in enumerate(held):
        mask_share, own_share = share[:32], share[32:]
        gone = world.ids[world.server._places[i][place]] == OTHER
        assert alive[place] != gone
        given = answer[32 * place :][:32]
        assert given == (mask_share if gone else own_share)
        assert (own_share if gone else mask_share) not in answer
    with pytest.raises(errors.PhaseError, match="no further part"):
        world.say(VICTIM, world.server.outbox()[Address("client", VICTIM)])


def test_a_server_with_every_answer_cannot_open_a_survivors_mask_key(world) -> None:  # type: ignore[no-untyped-def]
    """The shares of both kinds that it ever gets for one client: those of one kind alone."""
    world.until("unmask")
    server = world.server
    for client in world.ids:
        server.receive(world.say(client, server.outbox()[Address("client", client)]))
    post = copy.deepcopy(server._opening._post)
    post.sort()
    for i, client in enumerate(world.ids):
        xs, shares = np.arange(1, K + 1), post.delivered(i)
        secrets = {shamir.join(xs[s : s + T], shares[s : s + T]) for s in range(K - T + 1)}
        assert len(secrets) == 1
        public = X25519PrivateKey.from_private_bytes(secrets.pop()).public_key().public_bytes_raw()
        assert public != server._keys[client]
    server.close_phase()
    assert server.result.survivors == set(world.ids)
