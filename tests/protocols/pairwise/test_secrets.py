"""Secrets: used once, shown to nobody, dropped at the end."""

import numpy as np

from protocols.codec import read_frame
from protocols.pairwise.client import PairwiseClientRound

VICTIM, K = 16, 7


def test_masks_are_never_the_same_in_two_rounds(world) -> None:  # type: ignore[no-untyped-def]
    world.finish()
    seen = {name: [bytes(read_frame(a).body) for a in answers.values()] for name, answers in world.answers.items()}
    world.open(6)
    world.until("upload")
    pairs = [pair for client in world.clients.values() for pair in client._pairs]
    assert len({pair.seed for pair in pairs}) == len(pairs) // 2
    world.finish()
    for name, answers in world.answers.items():
        again = [bytes(read_frame(a).body) for a in answers.values()]
        assert not set(again) & set(seen[name])
        if name == "upload":
            for one, other in zip(seen[name], again, strict=True):
                a, b = (np.frombuffer(body, np.uint8)[K * 16 :] for body in (one, other))
                assert np.count_nonzero(a == b) < len(a) / 8


def test_nothing_secret_shows_itself(world) -> None:  # type: ignore[no-untyped-def]
    world.until("confirm")
    client = world.clients[VICTIM]
    assert isinstance(client, PairwiseClientRound)
    pair, share = client._pairs[0], client._shares[0]
    shown = repr(client) + repr(client._pairs) + repr(world.server) + repr(world.server._opening) + repr(world.makers)
    for secret in (pair.seed, pair.outgoing._seal, pair.outgoing._tag, share):
        assert repr(secret)[2:-1] not in shown and secret.hex() not in shown
    assert "seed" not in shown and "seal" not in shown


def test_a_client_keeps_no_secret_after_the_round(world) -> None:  # type: ignore[no-untyped-def]
    world.finish()
    for client in world.clients.values():
        state = vars(client)
        assert state["_mask_key"] is None and state["_secret"] is None and state["_values"] is None
        assert state["_pairs"] == [] and state["_shares"] == []
