"""What a secret seed is expanded to: AES-256 in counter mode (NIST SP 800-38A), the first counter block being number 2.

These are the bytes that AES-256-GCM makes of zeros under the nonce zero. They are asked for in that way because it
takes half of the time where the processor has wide AES instructions; the tag that comes along is not used. That no two
blocks are alike tells a stream of b blocks from a random one with a chance of b^2 / 2^129.
"""

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

SEED_BYTES = 32
_NONCE = bytes(12)
_FIRST_BLOCK = bytes(15) + b"\2"
_TAG_BYTES = 16
_GCM_INTO = hasattr(AESGCM, "encrypt_into")
"""Earlier versions of `cryptography` write into a buffer in counter mode only."""


def key_stream(seed: bytes, n: int) -> memoryview:
    """The first n bytes, up to 2**36. seed: SEED_BYTES bytes that serve this alone."""
    return memoryview(AESGCM(seed).encrypt(_NONCE, bytes(n), None))[:n]


class KeyStreams:
    """Streams of one length, each written over the one before it."""

    def __init__(self, n: int) -> None:
        self._zeros = bytes(n)
        self._held = bytearray(n + _TAG_BYTES)
        self.held = memoryview(self._held)[:n]
        """The stream of the last seed."""

    def __repr__(self) -> str:
        return f"KeyStreams({len(self._zeros)})"

    def hold(self, seed: bytes) -> None:
        """Make the stream of this seed."""
        if _GCM_INTO:
            AESGCM(seed).encrypt_into(_NONCE, self._zeros, None, self._held)
        else:
            Cipher(AES(seed), CTR(_FIRST_BLOCK)).encryptor().update_into(self._zeros, self._held)

    def erase(self) -> None:
        """Overwrite what is held."""
        self._held[:] = bytes(len(self._held))
