"""What neighbours derive and what messages hold, to the byte; and bodies that must be refused by name."""

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash

from protocols.errors import ProtocolError
from protocols.packing import Streams
from protocols.pairwise import keys, merkle, shamir
from protocols.pairwise.graph import Graph
from protocols.pairwise.masks import MaskSum
from protocols.pairwise.phases import MASKED, confirmation
from protocols.pairwise.wire import BOX_BYTES, Neighbours, read_entries, read_survivors, write_bits

FOLDER = Path(__file__).parents[1] / "vectors"
VECTORS = json.loads((FOLDER / "pairwise.json").read_text())
RUN = VECTORS["run"]
ABOUT = bytes.fromhex(RUN["round_digest"])


def raw(vector: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(vector[name])


def said(label: str, *parts: bytes) -> bytes:
    """A transcript, as the page on the wire format has it."""
    listed = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    return b"securerec protocols 2\0" + label.encode() + b"\0" + listed


def test_the_vectors_are_what_their_program_writes() -> None:
    spec = importlib.util.spec_from_file_location("make_pairwise", FOLDER / "make_pairwise.py")
    assert spec is not None and spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    assert make.everything() == VECTORS


def test_who_advertised_becomes_the_rounds_digest_and_graph() -> None:
    mask_keys = [bytes.fromhex(key) for key in RUN["mask_keys"]]
    for i, (key, path) in enumerate(zip(mask_keys, RUN["proofs"], strict=True)):
        assert merkle.root_of(key, i, bytes.fromhex(path)).hex() == RUN["root"]
    advertised = write_bits(np.array(RUN["advertised"]))
    covered = said("pairwise round", raw(RUN, "broadcast_digest"), advertised, raw(RUN, "root"))
    assert hashlib.sha256(covered).digest() == ABOUT
    assert hashlib.sha256(said("pairwise graph", ABOUT)).digest() == raw(RUN, "graph_seed")
    for vector in RUN["graphs"]:
        graph = Graph(vector["clients"], vector["degree"], raw(RUN, "graph_seed"))
        assert [graph.neighbours(i).tolist() for i in range(vector["clients"])] == vector["neighbours"]


@pytest.mark.parametrize("vector", VECTORS["pairs"], ids=lambda v: f"{v['me']} to {v['peer']}")
def test_two_neighbours_derive_the_vectors_seeds_boxes_and_tags(vector: dict[str, Any]) -> None:
    me, peer = vector["me"], vector["peer"]
    static, shared = (
        X25519PrivateKey.from_private_bytes(raw(vector, mine)).exchange(
            X25519PublicKey.from_public_bytes(raw(vector, theirs))
        )
        for mine, theirs in (("box_private", "peer_box"), ("mask_private", "peer_mask_key"))
    )
    private = X25519PrivateKey.from_private_bytes(raw(vector, "mask_private"))
    pair = keys.agree(ABOUT, me=me, peer=peer, static=static, private=private, public=raw(vector, "peer_mask_key"))
    statement = confirmation(ABOUT, np.array(vector["survivors"]))
    assert pair.adds == vector["adds"] == (me < peer)
    assert pair.seed == raw(vector, "seed")
    assert pair.outgoing.seal(raw(vector, "content")) == raw(vector, "box")
    assert pair.outgoing.tag(MASKED) == raw(vector, "masked_tag")
    assert pair.outgoing.tag(statement) == raw(vector, "survivors_tag")
    # The same again, from the standards alone.
    low, high = sorted((me, peer))
    numbers = low.to_bytes(8, "little") + high.to_bytes(8, "little")
    fixed = said("pairwise boxes and tags") + ABOUT + numbers
    okm = ConcatKDFHash(SHA512(), 128, fixed).derive(static + shared)
    seal, tag = (okm[:32], okm[64:96]) if me < peer else (okm[32:64], okm[96:128])
    about = ABOUT + (numbers if me < peer else numbers[8:] + numbers[:8])
    assert ChaCha20Poly1305(seal).decrypt(bytes(12), raw(vector, "box"), about) == raw(vector, "content")
    keyed = hashlib.blake2s(said("pairwise masked with you"), key=tag, digest_size=16)
    assert keyed.digest() == raw(vector, "masked_tag")
    assert hashlib.sha256(said("pairwise mask", ABOUT, numbers, shared)).digest() == raw(vector, "seed")


@pytest.mark.parametrize("vector", VECTORS["secrets"], ids=lambda v: f"client {v['client']}")
def test_a_secret_becomes_the_vectors_shares_commitment_and_mask(vector: dict[str, Any]) -> None:
    client, secret = vector["client"], raw(vector, "secret")
    both = raw(vector, "mask_private") + secret
    shares = shamir.split(both, threshold=vector["threshold"], holders=5, randomness=raw(vector, "randomness"))
    assert [share.tobytes().hex() for share in shares] == vector["shares"]
    assert keys.commitment(ABOUT, client, secret) == raw(vector, "commitment")
    assert keys.self_seed(ABOUT, client, secret) == raw(vector, "seed")
    masks = MaskSum(vector["width"], len(vector["mask"]))
    masks.add(raw(vector, "seed"))
    assert masks.values().tolist() == vector["mask"]
    stored = np.array([list(bytes.fromhex(share)) for share in vector["shares"]], np.uint8)
    for holders in ([1, 2, 3], [5, 3, 1], [2, 4, 5]):
        assert shamir.join(np.array(holders), stored[np.array(holders) - 1]) == both


def read(vector: dict[str, Any]) -> dict[str, Any]:
    """What the vector's body holds, as the role that it is for takes it apart."""
    body = memoryview(bytes.fromhex(vector["body"]))
    match vector["message"]:
        case "advertise":
            keys.check_public(bytes(body), 3)
            return {}
        case "neighbours":
            listed = Neighbours.read(body, vector["roster"])
            assert write_bits(listed.advertised) + listed.proof + b"".join(listed.keys) == body
            assert listed.advertised.tolist() == RUN["advertised"]
            return {"keys": len(listed.keys)}
        case "mailbox" | "confirmed":
            size = BOX_BYTES if vector["message"] == "mailbox" else keys.TAG_BYTES
            came, entries = read_entries(body, vector["places"], size, what="It")
            assert write_bits(came) + b"".join(entries) == body
            return {"came": np.flatnonzero(came).tolist()}
        case "survivors":
            survivors, tags = read_survivors(body, vector["clients"], np.array(vector["neighbours"]))
            assert write_bits(survivors) + b"".join(tags) == body
            return {"alive": np.flatnonzero(survivors).tolist(), "tags": len(tags)}
        case _:
            streams = Streams((1 << vector["width"],), vector.get("length") or len(vector["values"]))
            values = streams.zeros()
            streams.unpack(body, values, what="It")
            assert streams.pack(values) == body
            return {"values": values[0].tolist()}


@pytest.mark.parametrize("vector", VECTORS["bodies"]["good"], ids=lambda v: v["message"])
def test_good_bodies_are_read_and_written_to_the_byte(vector: dict[str, Any]) -> None:
    assert read(vector).items() <= vector.items()


@pytest.mark.parametrize("vector", VECTORS["bodies"]["bad"], ids=lambda v: f"{v['message']}: {v['why']}")
def test_bad_bodies_are_refused_by_name(vector: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="[.]$") as refusal:
        read(vector)
    assert type(refusal.value).__name__ == vector["error"]
