"""Where noise comes from: one secret key, and from it an independent keystream for every label, round and client."""

import hashlib
import secrets

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from numpy.typing import NDArray

from securerec.errors import PrivacyError

KEY_BYTES = 32
_MARKS = {False: b"O", True: b"S"}  # first byte of the stored form: operating system or seed
_ZEROS = memoryview(bytes(1 << 16))


class NoiseKey:
    """Thirty-two secret bytes from which all noise of a device (or of a simulated cohort) grows.

    Whoever knows the key can subtract the noise, so it never shows itself when printed and refuses to be pickled.
    `reproducible` is True when the key came from a seed: such noise protects nobody who can guess the seed and is for
    simulation only.
    """

    __slots__ = ("_secret", "reproducible")

    def __init__(self, secret: bytes, *, reproducible: bool) -> None:
        if len(secret) != KEY_BYTES:
            raise PrivacyError(f"a noise key has {KEY_BYTES} bytes, not {len(secret)}; NoiseKey.from_os() makes one")
        self._secret = bytes(secret)
        self.reproducible = reproducible

    @classmethod
    def from_os(cls) -> "NoiseKey":
        """A fresh key from the operating system's generator: the only kind that protects anybody."""
        return cls(secrets.token_bytes(KEY_BYTES), reproducible=False)

    @classmethod
    def from_seed(cls, seed: int) -> "NoiseKey":
        """The same key for the same non-negative seed: for simulations that must be repeatable."""
        if seed < 0:
            raise ValueError(f"a seed is not negative, but this one is {seed}")
        return cls(hashlib.sha256(b"securerec noise key from seed %d" % seed).digest(), reproducible=True)

    @classmethod
    def from_bytes(cls, stored: bytes) -> "NoiseKey":
        """Read what `to_bytes` wrote. Raises PrivacyError for any other length or mark."""
        for reproducible, mark in _MARKS.items():
            if len(stored) == KEY_BYTES + 1 and stored[:1] == mark:
                return cls(stored[1:], reproducible=reproducible)
        raise PrivacyError(f"a stored noise key has {KEY_BYTES + 1} bytes and a known mark; this one is damaged")

    def to_bytes(self) -> bytes:
        """The secret, 33 bytes: a mark of where it came from, so that storing it cannot hide a seed, then the key."""
        return _MARKS[self.reproducible] + self._secret

    @property
    def source(self) -> str:
        """`"seed"` or `"os"`, as the ledger writes it."""
        return "seed" if self.reproducible else "os"

    def stream(self, label: str, round_number: int, client: int) -> "KeyStream":
        """The keystream of one purpose, round and client; any other triple gives an independent one.

        HKDF-Expand with SHA-256 (RFC 5869; the key is uniform already, so its extract step is not needed), its info
        string being the length of the label, the label, the round and the client, which no two triples share.
        Asking twice gives the same words: two different updates must never be noised from one triple, for their
        difference would be bare.
        """
        name = label.encode()
        info = b"securerec noise" + b"".join(n.to_bytes(8, "big") for n in (len(name), round_number, client)) + name
        return KeyStream(HKDFExpand(hashes.SHA256(), KEY_BYTES, info).derive(self._secret))

    def __repr__(self) -> str:
        return f"NoiseKey(secret hidden, source={self.source!r})"

    def __reduce__(self) -> str:
        raise TypeError("a noise key is a secret and is not pickled")


class KeyStream:
    """An endless row of uniform 64-bit words: AES-256 in counter mode, from a key used for nothing else."""

    __slots__ = ("_encryptor",)

    def __init__(self, key: bytes) -> None:
        self._encryptor = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()

    def uint64(self, n: int) -> NDArray[np.uint64]:
        """The next n words, (n,) uint64. What they are does not depend on how the calls before cut the row."""
        words = np.empty(n + 2, dtype="<u8")  # the cipher wants room for one more block than it writes
        room = words.data.cast("B")
        size = 8 * n
        for start in range(0, size, len(_ZEROS)):
            step = min(len(_ZEROS), size - start)
            self._encryptor.update_into(_ZEROS[:step], room[start : start + step + 15])
        return words[:n].astype(np.uint64, copy=False)

    def __repr__(self) -> str:
        return "KeyStream(secret hidden)"

    def __reduce__(self) -> str:
        raise TypeError("a keystream is a secret and is not pickled")
