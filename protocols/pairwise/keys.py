"""What two neighbours agree on in a round.

Two secrets go into it: the one between their enrolled box keys (X25519, the same in all rounds), which no server can
stand in the middle of, and the one between their ephemeral mask keys. The mask's seed comes from the latter alone, for
it must be open to the server when one of the two leaves. Boxes and tags come from both (`derive`): a mask key opened to
the server opens no box, and a box key stolen later opens no box between clients that stayed. Since a box opens only
where both sides hold the same two mask keys, opening one proves the neighbour's key to be its own.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from protocols.errors import SignatureError, WrongKeyError
from protocols.transcript import digest, transcript

TAG_BYTES = 16
SEAL_BYTES = 16
"""What a box is longer than its content."""

_P = 2**255 - 19
_LOW_ORDER = frozenset(
    (
        0,
        1,
        _P - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    )
)
"""Points of Curve25519 and its twist whose order divides 8: with them, and no others, every exchange gives zero
(Bernstein, Curve25519, 2006; RFC 7748, section 6.1).
"""

_PAIR = struct.Struct("<QQ")
_NONCE = bytes(12)
_LABEL = transcript("pairwise boxes and tags")


@dataclass(frozen=True, slots=True)
class Direction:
    """Keys of one sender towards one neighbour in one round. about: who speaks to whom in which round."""

    about: bytes
    _seal: bytes = field(repr=False)
    _tag: bytes = field(repr=False)

    def seal(self, content: bytes) -> bytes:
        """A box (ChaCha20-Poly1305), at most once: the key serves one box, so its nonce is constant."""
        return ChaCha20Poly1305(self._seal).encrypt(_NONCE, content, self.about)

    def open(self, box: bytes | memoryview, *, what: str) -> bytes:
        """Raises SignatureError, beginning with `what`."""
        try:
            return ChaCha20Poly1305(self._seal).decrypt(_NONCE, bytes(box), self.about)
        except InvalidTag:
            raise SignatureError(
                f"{what} do not open: they were made by somebody else, for somebody else, for another round, or with "
                "another mask key than the one shown here."
            ) from None

    def tag(self, statement: bytes) -> bytes:
        """TAG_BYTES bytes by which the neighbour knows who made this statement (keyed BLAKE2s, RFC 7693)."""
        return hashlib.blake2s(statement, key=self._tag, digest_size=TAG_BYTES).digest()

    def check(self, statement: bytes, tag: bytes | memoryview, *, what: str) -> None:
        """Raises SignatureError, beginning with `what`."""
        if not hmac.compare_digest(self.tag(statement), tag):
            raise SignatureError(f"{what} is not from that client, or says something else.")


@dataclass(frozen=True, slots=True)
class Pair:
    """All keys of a client with one neighbour. adds: whether this client adds their mask, which the other subtracts."""

    number: int
    adds: bool
    seed: bytes = field(repr=False)
    outgoing: Direction
    incoming: Direction


def agree(round_digest: bytes, *, me: int, peer: int, static: bytes, private: X25519PrivateKey, public: bytes) -> Pair:
    """The keys between clients `me` and `peer`.

    round_digest: 32 bytes that cover the broadcast and all mask keys. static: `Identity.shared_key`. private: my mask
    key; public: the peer's, 32 bytes. Raises WrongKeyError for a weak one.
    """
    shared = exchange(private, public, peer)
    low, high = _PAIR.pack(min(me, peer), max(me, peer)), _PAIR.pack(max(me, peer), min(me, peer))
    boxes, tags = derive(static + shared, _LABEL + round_digest + low)
    upward = Direction(round_digest + low, boxes[:32], tags[:32])
    downward = Direction(round_digest + high, boxes[32:], tags[32:])
    seed = mask_seed(round_digest, me, peer, shared)
    if me < peer:
        return Pair(peer, True, seed, upward, downward)
    return Pair(peer, False, seed, downward, upward)


def derive(secret: bytes, about: bytes) -> tuple[bytes, bytes]:
    """Two blocks of 64 bytes: SHA-512 over the block's number u32, big-endian, the secret, and what it is for.

    The one-step derivation of NIST SP 800-56C, section 4, option 1, at a quarter of the time of HKDF. secret: 64 bytes,
    two exchanges one after the other; about: of one length for all, so that inputs cannot be read in two ways.
    """
    both = secret + about
    return hashlib.sha512(b"\0\0\0\1" + both).digest(), hashlib.sha512(b"\0\0\0\2" + both).digest()


def exchange(private: X25519PrivateKey, public: bytes, owner: int) -> bytes:
    """32 secret bytes between two mask keys. Raises WrongKeyError where the public one agrees on nothing."""
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise _weak(owner) from None


def check_public(public: bytes, owner: int) -> None:
    """Raise WrongKeyError for a mask key with which `exchange` would raise it, whoever tries."""
    # X25519 ignores the highest bit, and takes the rest modulo p.
    if (int.from_bytes(public, "little") & (2**255 - 1)) % _P in _LOW_ORDER:
        raise _weak(owner)


def _weak(owner: int) -> WrongKeyError:
    return WrongKeyError(f"The mask key of client {owner} is weak: no secret can be agreed on.")


def mask_seed(round_digest: bytes, one: int, other: int, shared: bytes) -> bytes:
    """The seed of the mask between two clients, 32 bytes; `shared` is their mask keys' exchange."""
    return digest("pairwise mask", round_digest, _PAIR.pack(min(one, other), max(one, other)), shared)


def self_seed(round_digest: bytes, client: int, secret: bytes) -> bytes:
    """The seed of a client's own mask, 32 bytes, from its secret of this round."""
    return digest("pairwise own mask", round_digest, struct.pack("<Q", client), secret)


def commitment(round_digest: bytes, client: int, secret: bytes) -> bytes:
    """What a client says about its secret beforehand, so that wrong shares are noticed. It hides 32 random bytes."""
    return digest("pairwise commitment", round_digest, struct.pack("<Q", client), secret)
