"""Writes the vectors of pairwise masks beside it: `python tests/protocols/vectors/make_pairwise.py`.

What two neighbours derive, and the bodies of all messages, by names as in `protocols/pairwise/wire.py`. Keys and
secrets are SHA-256 of what they are for, so the bytes are the same each time.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from protocols.identity import Identity
from protocols.packing import Streams
from protocols.pairwise import keys, merkle, shamir
from protocols.pairwise.graph import Graph
from protocols.pairwise.masks import MaskSum
from protocols.pairwise.phases import MASKED, confirmation, graph_seed
from protocols.pairwise.wire import BOX_BYTES, write_bits
from protocols.transcript import digest

FILE = Path(__file__).parent / "pairwise.json"
CLIENTS = (3, 7, 20, 2**63 - 1, 11, 12)
"""On the roster, in the order of their numbers once sorted; client 11 does not advertise."""

ROSTER = sorted(CLIENTS)
ADVERTISED = [number != 11 for number in ROSTER]
WIDTH, LENGTH = 11, 9


def seed(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def identity(number: int) -> Identity:
    return Identity("client", number, seed(f"client {number} signing"), seed(f"client {number} box"))


def mask_key(number: int) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(seed(f"client {number} mask key"))


def public(number: int) -> bytes:
    return mask_key(number).public_key().public_bytes_raw()


BROADCAST = seed("broadcast")
PRESENT = [number for number, there in zip(ROSTER, ADVERTISED, strict=True) if there]
TREE = merkle.tree([public(number) for number in PRESENT])
ABOUT = digest("pairwise round", BROADCAST, write_bits(np.array(ADVERTISED)), TREE[-1][0])


def run() -> dict[str, Any]:
    """From the broadcast's digest and the mask keys to the graph."""
    return {
        "roster": ROSTER,
        "advertised": ADVERTISED,
        "broadcast_digest": BROADCAST.hex(),
        "mask_keys": [public(number).hex() for number in PRESENT],
        "root": TREE[-1][0].hex(),
        "proofs": [merkle.proof(TREE, i).hex() for i in range(len(PRESENT))],
        "round_digest": ABOUT.hex(),
        "graph_seed": graph_seed(ABOUT).hex(),
        "graphs": [
            {"clients": n, "degree": k, "neighbours": [Graph(n, k, graph_seed(ABOUT)).neighbours(i).tolist()
                                                        for i in range(n)]}
            for n, k in ((5, 4), (12, 4))
        ],
    }  # fmt: skip


def pair(me: int, peer: int) -> keys.Pair:
    static = identity(me).shared_key(identity(peer).public)
    return keys.agree(ABOUT, me=me, peer=peer, static=static, private=mask_key(me), public=public(peer))


def pairs() -> list[dict[str, Any]]:
    """What two clients derive; `box` and the tags are what the first sends the second."""
    found = []
    for me, peer in ((3, 7), (7, 3), (20, 2**63 - 1)):
        made = pair(me, peer)
        content = seed(f"{me} to {peer}") * 2
        survivors = np.array([True, True, False, True, True])
        found.append(
            {
                "me": me,
                "peer": peer,
                "box_private": seed(f"client {me} box").hex(),
                "peer_box": identity(peer).public.box.hex(),
                "mask_private": mask_key(me).private_bytes_raw().hex(),
                "peer_mask_key": public(peer).hex(),
                "adds": made.adds,
                "seed": made.seed.hex(),
                "content": content.hex(),
                "box": made.outgoing.seal(content).hex(),
                "masked_tag": made.outgoing.tag(MASKED).hex(),
                "survivors": survivors.tolist(),
                "survivors_tag": made.outgoing.tag(confirmation(ABOUT, survivors)).hex(),
            }
        )
    return found


def secrets() -> list[dict[str, Any]]:
    """A client's own secret, its shares among five holders, and the mask that grows from it."""
    found = []
    for number in (3, 2**63 - 1):
        secret = seed(f"client {number} secret")
        randomness = b"".join(seed(f"client {number} coefficients {i}") for i in range(4))
        both = mask_key(number).private_bytes_raw() + secret
        masks = MaskSum(WIDTH, LENGTH)
        masks.add(keys.self_seed(ABOUT, number, secret))
        found.append(
            {
                "client": number,
                "mask_private": mask_key(number).private_bytes_raw().hex(),
                "secret": secret.hex(),
                "commitment": keys.commitment(ABOUT, number, secret).hex(),
                "seed": keys.self_seed(ABOUT, number, secret).hex(),
                "width": WIDTH,
                "mask": masks.values().tolist(),
                "threshold": 3,
                "randomness": randomness.hex(),
                "shares": [
                    s.tobytes().hex() for s in shamir.split(both, threshold=3, holders=5, randomness=randomness)
                ],
            }
        )
    return found


def bodies() -> dict[str, Any]:
    """Bodies as they are read: what a message holds for a reader who knows these numbers."""
    k = 4
    proof = merkle.proof(TREE, 0)
    advertised = write_bits(np.array(ADVERTISED))
    mask_keys = [public(number) for number in PRESENT[1:]]
    neighbours = b"".join((advertised, proof, *mask_keys))
    boxes = [seed(f"box {i}") * 3 for i in range(k)]
    boxes = [box[:BOX_BYTES] for box in boxes]
    tags = [seed(f"tag {i}")[:16] for i in range(k)]
    three = bytes([0b1101])
    mailbox, confirmed = three + boxes[0] + boxes[2] + boxes[3], three + tags[0] + tags[2] + tags[3]
    survivors = bytes([0b10011]) + tags[0] + tags[1]
    masked = np.arange(LENGTH, dtype=np.uint64)[None, :] * np.uint64(227)
    packed = Streams((1 << WIDTH,), LENGTH).pack(masked)
    weak = keys._LOW_ORDER
    p = 2**255 - 19

    def numbers(*values: int) -> list[bytes]:
        return [value.to_bytes(32, "little") for value in values]

    good = [
        ("advertise", {}, public(3)),
        ("neighbours", {"roster": len(ROSTER), "keys": k}, neighbours),
        ("mailbox", {"places": k, "came": [0, 2, 3]}, mailbox),
        ("mailbox", {"places": k, "came": []}, b"\0"),
        ("confirmed", {"places": k, "came": [0, 2, 3]}, confirmed),
        ("survivors", {"clients": 5, "neighbours": [4, 1, 2], "alive": [0, 1, 4], "tags": 2}, survivors),
        ("vector", {"width": WIDTH, "values": masked[0].tolist()}, packed),
    ]
    bad = [
        *(("advertise", "a weak key", {}, key, "WrongKeyError") for key in numbers(*sorted(weak))),
        *(
            ("advertise", "a weak key, not reduced or with the ignored bit", {}, key, "WrongKeyError")
            for key in numbers(p, p + 1, 2**255, 2**255 + 1, 2**255 + p, 2**255 + p - 1)
        ),
        ("neighbours", "nothing", {"roster": 6}, b"", "WrongLengthError"),
        ("neighbours", "a client beyond the roster", {"roster": 6}, bytes([advertised[0] | 0x40]) + neighbours[1:],
         "LeftoverError"),
        ("neighbours", "half a proof", {"roster": 6}, neighbours[:50], "WrongLengthError"),
        ("neighbours", "a byte too few", {"roster": 6}, neighbours[:-1], "LeftoverError"),
        ("neighbours", "a byte too many", {"roster": 6}, neighbours + b"\0", "LeftoverError"),
        ("neighbours", "more keys than clients", {"roster": 6}, neighbours + bytes(32 * 3), "WrongLengthError"),
        *(
            (message, why, {"places": k}, body, error)
            for message, whole, size in (("mailbox", mailbox, BOX_BYTES), ("confirmed", confirmed, 16))
            for why, body, error in (
                ("nothing", b"", "WrongLengthError"),
                ("a place beyond the last", b"\x1d" + whole[1:] + bytes(size), "LeftoverError"),
                ("an entry that no bit announces", b"\x05" + whole[1:], "LeftoverError"),
                ("a bit without its entry", b"\x0f" + whole[1:], "WrongLengthError"),
                ("a byte too few", whole[:-1], "WrongLengthError"),
                ("a byte too many", whole + b"\0", "LeftoverError"),
            )
        ),
        *(
            ("survivors", why, {"clients": 5, "neighbours": [4, 1, 2]}, body, error)
            for why, body, error in (
                ("nothing", b"", "WrongLengthError"),
                ("a client beyond the last", b"\x33" + survivors[1:], "LeftoverError"),
                ("a neighbour without its tag", b"\x17" + survivors[1:], "WrongLengthError"),
                ("a tag without its neighbour", b"\x03" + survivors[1:], "LeftoverError"),
                ("a byte too few", survivors[:-1], "WrongLengthError"),
                ("a byte too many", survivors + b"\0", "LeftoverError"),
            )
        ),
        ("vector", "a byte too few", {"width": WIDTH, "length": LENGTH}, packed[:-1], "WrongLengthError"),
        ("vector", "a byte too many", {"width": WIDTH, "length": LENGTH}, packed + b"\0", "WrongLengthError"),
        ("vector", "a padding bit", {"width": WIDTH, "length": LENGTH}, packed[:-1] + b"\x80", "LeftoverError"),
    ]  # fmt: skip
    return {
        "good": [{"message": m, **known, "body": b.hex()} for m, known, b in good],
        "bad": [{"message": m, "why": w, **known, "body": b.hex(), "error": e} for m, w, known, b, e in bad],
    }


def everything() -> dict[str, Any]:
    return {"run": run(), "pairs": pairs(), "secrets": secrets(), "bodies": bodies()}


if __name__ == "__main__":
    FILE.write_text(json.dumps(everything(), indent=1) + "\n")
