"""What a client sends to one member of the committee: a share, encrypted and authenticated.

The key comes from the static X25519 keys of both, bound by HKDF (RFC 5869) to the round's broadcast and parameters, to
both parties, and to a salt that the client draws for each upload. So a box opens only for that member, as a message of
that client, in that round, on that broadcast. The salt makes each key new, even where a client has lost its memory of
an earlier upload: a key encrypts one message, and the nonce of ChaCha20-Poly1305 (RFC 8439) can be zero.
"""

import hmac
import struct
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from protocols.transcript import transcript

_NONCE = bytes(12)
_PAIR = struct.Struct("<QQQQ")
"""Client and member between the lengths of the two and of the salt."""


def extracted(shared: bytes) -> bytes:
    """32 secret bytes that two parties may keep for all their boxes. shared: what X25519 gave the two."""
    return hmac.digest(bytes(32), shared, "sha256")


def box_key(agreed: bytes, *, round_digest: bytes, client: int, member: int, salt: bytes) -> bytes:
    """32 secret bytes. agreed: `extracted`. round_digest: see `wire`. salt: of the client's upload."""
    info = _head(round_digest) + _PAIR.pack(16, client, member, len(salt)) + salt
    # Both halves are HKDF-SHA256 of one block. `cryptography` has it too, at twice the time.
    return hmac.digest(agreed, info + b"\1", "sha256")


@lru_cache(maxsize=4)
def _head(round_digest: bytes) -> bytes:
    """How the transcript of a round's boxes begins: the parts that differ, behind their lengths, are added to it."""
    return transcript("committee box", round_digest)


def close_box(key: bytes, share: bytes) -> bytes:
    """`share` and 16 bytes more. A key closes one box only."""
    return ChaCha20Poly1305(key).encrypt(_NONCE, share, None)


def open_box(key: bytes, box: bytes | memoryview) -> bytes | None:
    """The share, or None if the box was not closed with this key or was changed since."""
    try:
        return ChaCha20Poly1305(key).decrypt(_NONCE, box, None)
    except InvalidTag:
        return None
