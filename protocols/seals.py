"""Seals: how server and client know that a message between them is the other's, where nobody else is to be convinced.

A seal is a fresh nonce, 12 bytes, and the tag of AES-256-GCM (NIST SP 800-38D) over associated data alone, 16. Its key
comes by HKDF-SHA256 (RFC 5869) from the static X25519 keys of both parties, bound to the run's setup, to who sends and
who receives: a seal of another run, or one turned back to its maker, does not fit. A key lasts for a run; with random
nonces it may make 2^32 seals, and a round takes five.
"""

import hmac
import struct
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocols.errors import SignatureError
from protocols.identity import ROLES, Address, Identity, PublicIdentity
from protocols.transcript import transcript

NONCE_BYTES = 12
SEAL_BYTES = NONCE_BYTES + 16

_LABEL = "frame seal"
_ADDRESS = struct.Struct("<BQ")


@dataclass(frozen=True, slots=True)
class SealKey:
    """The key of one sender towards one recipient in one run."""

    _key: bytes = field(repr=False)

    def seal(self, data: bytes, nonce: bytes) -> bytes:
        """SEAL_BYTES bytes. nonce: NONCE_BYTES random bytes, used once."""
        return nonce + AESGCM(self._key).encrypt(nonce, b"", data)

    def check(self, data: memoryview, seal: bytes) -> None:
        """Raise SignatureError unless this seal was made over these data with this key."""
        try:
            AESGCM(self._key).decrypt(seal[:NONCE_BYTES], seal[NONCE_BYTES:], data)
        except InvalidTag:
            raise SignatureError("A seal does not fit what it should cover.") from None


def fingerprint(key: bytes, data: memoryview) -> bytes:
    """16 bytes by which its holder knows data again. key: 32 random bytes, for this alone.

    The same tag without a fresh nonce, at a tenth of the time of SHA-256. Equal data have equal ones; others with
    probability below 2^-100 for data up to 1 GB, as long as nobody else learns the key or any fingerprint: they are
    compared where they were made, and never sent.
    """
    return AESGCM(key).encrypt(bytes(NONCE_BYTES), b"", data)


def seal_key(identity: Identity, peer: PublicIdentity, *, setup: bytes, sender: Address, recipient: Address) -> SealKey:
    """The key of messages from `sender` to `recipient`, one of whom is this identity, the other the peer.

    setup: the setup's digest. Raises IdentityError where the peer's box key is weak.
    """
    parties = (_ADDRESS.pack(ROLES.index(party.role) + 1, party.number) for party in (sender, recipient))
    extracted = hmac.digest(setup, identity.shared_key(peer), "sha256")
    return SealKey(hmac.digest(extracted, transcript(_LABEL, *parties) + b"\1", "sha256"))
