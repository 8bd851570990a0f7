"""Who a party is: an Ed25519 key that signs what it says and an X25519 key that others encrypt to.

RFC 8032 and RFC 7748 as `cryptography` implements them. Private keys come from the operating system's randomness.
"""

import hmac
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from protocols.errors import IdentityError, SignatureError
from protocols.transcript import transcript

Role = Literal["server", "client", "decryptor"]
ROLES: tuple[Role, ...] = ("server", "client", "decryptor")
"""A role's number in frames is its place here, from 1."""

KEY_BYTES = 32
SIGNATURE_BYTES = 64
MAX_NUMBER = (1 << 63) - 1
"""Largest number of a party or a round."""

_PRIVATE = struct.Struct("<4sBBQ32s32s")
_MAGIC = b"srid"
_VERSION = 1


class Address(NamedTuple):
    """A party: its role and its number within the role. Equal to the plain tuple, so ("client", 7) will do."""

    role: Role
    number: int

    def __str__(self) -> str:
        return "the server" if self.role == "server" else f"{self.role} {self.number}"


@dataclass(frozen=True)
class PublicIdentity:
    """What all others know of a party. signing, box: 32 bytes each, Ed25519 and X25519."""

    role: Role
    number: int
    signing: bytes
    box: bytes

    def __post_init__(self) -> None:
        if self.role not in ROLES or not 0 <= self.number <= MAX_NUMBER:
            raise IdentityError(f"There is no party {self.role!r} of number {self.number}.")
        if len(self.signing) != KEY_BYTES or len(self.box) != KEY_BYTES:
            raise IdentityError(f"The public keys of {self.address} have {KEY_BYTES} bytes each.")

    @property
    def address(self) -> Address:
        return Address(self.role, self.number)

    @cached_property
    def _verifier(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.signing)

    def verify(self, signature: bytes | memoryview, label: str, *parts: bytes | memoryview) -> None:
        """Raise SignatureError unless this party signed these parts under this label."""
        try:
            self._verifier.verify(bytes(signature), transcript(label, *parts))
        except InvalidSignature:
            raise SignatureError(f"The signature of {self.address} does not fit what it should cover.") from None


class Identity:
    """A party's private keys. They leave only through `to_bytes`."""

    def __init__(self, role: Role, number: int, signing: bytes, box: bytes) -> None:
        """signing, box: 32 private bytes each. Raises IdentityError."""
        if len(signing) != KEY_BYTES or len(box) != KEY_BYTES:
            raise IdentityError(f"Private keys have {KEY_BYTES} bytes each.")
        self._signing = Ed25519PrivateKey.from_private_bytes(signing)
        self._box = X25519PrivateKey.from_private_bytes(box)
        self._shared: dict[bytes, bytes] = {}
        self.public = PublicIdentity(
            role, number, self._signing.public_key().public_bytes_raw(), self._box.public_key().public_bytes_raw()
        )

    @classmethod
    def generate(cls, role: Role, number: int) -> "Identity":
        """With new keys from the operating system's randomness."""
        signing, box = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
        return cls(role, number, signing.private_bytes_raw(), box.private_bytes_raw())

    @property
    def address(self) -> Address:
        return self.public.address

    def __repr__(self) -> str:
        return f"Identity({self.address}, signing={self.public.signing.hex()[:16]}...)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and hmac.compare_digest(self.to_bytes(), other.to_bytes())

    def __hash__(self) -> int:
        return hash(self.public)

    def sign(self, label: str, *parts: bytes | memoryview) -> bytes:
        """64 bytes that only this party can make for these parts under this label; the same each time."""
        return self._signing.sign(transcript(label, *parts))

    def shared_key(self, peer: PublicIdentity) -> bytes:
        """32 secret bytes that this party and the peer alone can compute, always the same for the two.

        To be fed to a key derivation that is bound to what the key is for, never used as it is. Kept for each peer.
        Raises IdentityError where the peer's key is one of the few that agree on nothing (RFC 7748, section 6.1).
        """
        known = self._shared.get(peer.box)
        if known is None:
            try:
                known = self._box.exchange(X25519PublicKey.from_public_bytes(peer.box))
            except ValueError:
                raise IdentityError(f"The box key of {peer.address} is weak: no secret can be agreed on.") from None
            self._shared[peer.box] = known
        return known

    def to_bytes(self) -> bytes:
        """The private keys, 78 bytes, to be kept where only this party reads them."""
        role = ROLES.index(self.public.role) + 1
        signing, box = self._signing.private_bytes_raw(), self._box.private_bytes_raw()
        return _PRIVATE.pack(_MAGIC, _VERSION, role, self.public.number, signing, box)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Identity":
        """Inverse of `to_bytes`. Raises IdentityError; its message holds none of the bytes."""
        if len(data) != _PRIVATE.size:
            raise IdentityError(f"An identity has {_PRIVATE.size} bytes, not {len(data)}.")
        magic, version, role, number, signing, box = _PRIVATE.unpack(data)
        if magic != _MAGIC or version != _VERSION or not 1 <= role <= len(ROLES):
            raise IdentityError("These bytes are no identity that this program knows.")
        return cls(ROLES[role - 1], number, signing, box)


class EnrolmentKey:
    """Signs rosters. Held by whoever enrols people, never by the server; clients and decryptors pin its public part."""

    def __init__(self, private: bytes) -> None:
        """private: 32 bytes. Raises IdentityError."""
        if len(private) != KEY_BYTES:
            raise IdentityError(f"An enrolment key has {KEY_BYTES} bytes, not {len(private)}.")
        self._key = Ed25519PrivateKey.from_private_bytes(private)
        self.public: bytes = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> "EnrolmentKey":
        """A new key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    def __repr__(self) -> str:
        return f"EnrolmentKey(public={self.public.hex()[:16]}...)"

    def to_bytes(self) -> bytes:
        """The private key, 32 bytes."""
        return self._key.private_bytes_raw()

    def sign(self, label: str, *parts: bytes | memoryview) -> bytes:
        """64 bytes; see `verify_enrolment`."""
        return self._key.sign(transcript(label, *parts))


def verify_enrolment(public: bytes, signature: bytes | memoryview, label: str, *parts: bytes | memoryview) -> None:
    """Raise SignatureError unless the enrolment key with this public part signed; IdentityError if it is no key."""
    if len(public) != KEY_BYTES:
        raise IdentityError(f"The public enrolment key has {KEY_BYTES} bytes, not {len(public)}.")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(bytes(signature), transcript(label, *parts))
    except InvalidSignature:
        raise SignatureError("The signature is not one of the pinned enrolment key.") from None
