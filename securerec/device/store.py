"""A device's own disk: interactions and private state in files that only its key opens.

    store/lock        how the store's data key is wrapped, and by what it is unwrapped
    store/NAME.box    one entry each: nonce 12, then ChaCha20-Poly1305 (RFC 8439) of its bytes

The data key is random. What wraps it comes from a passphrase, by scrypt (RFC 7914), or from a file of 32 random bytes
that only its owner can read. An operating system's keyring would add that the file's key opens only while its owner is
logged in, and that a copy of the disk does not hold it; whoever has one puts its passphrase there and hands it over at
the start.

Each entry is bound to its store and its name: one that was changed, cut, renamed or taken from another store does not
open. Not seen is an *older* entry put back in its place, which takes somebody who can write the owner's files: nothing
on the same disk could tell.
"""

import fcntl
import os
import re
import secrets
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from securerec.errors import SecurerecError
from securerec.files import write_atomic

KEY_BYTES, NONCE_BYTES, TAG_BYTES, SALT_BYTES = 32, 12, 16, 16
SCRYPT_N, SCRYPT_R, SCRYPT_P = 1 << 16, 8, 2
"""64 MiB and some tenths of a second for each guess; one of the settings that OWASP advises for
passwords."""

MAX_ENTRY_BYTES = 1 << 30
LOCK = "lock"

_MAGIC, _VERSION = b"srst", 1
_LOCK = struct.Struct(f"<4sBB{SALT_BYTES}s{NONCE_BYTES}s{KEY_BYTES + TAG_BYTES}s")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


class StoreError(SecurerecError):
    """A device's store is missing, locked with another key, or was tampered with."""

    exit_code = 5


@dataclass(frozen=True, slots=True)
class Passphrase:
    """Opens a store by what somebody knows."""

    text: str = field(repr=False)
    kind = 1

    def key(self, salt: bytes) -> bytes:
        """32 bytes. Raises StoreError for an empty passphrase."""
        if not self.text:
            raise StoreError("a passphrase must not be empty")
        return Scrypt(salt=salt, length=KEY_BYTES, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P).derive(self.text.encode())


@dataclass(frozen=True, slots=True)
class KeyFile:
    """Opens a store by a file of 32 random bytes that its owner alone can read."""

    path: Path
    kind = 2

    @classmethod
    def make(cls, path: Path) -> Self:
        """Write a new key. Raises StoreError where there is a file already."""
        if path.exists():
            raise StoreError(f"{path} exists: a key is never written over")
        write_atomic(path, secrets.token_bytes(KEY_BYTES), private=True)
        return cls(path)

    def key(self, salt: bytes) -> bytes:
        """32 bytes. Raises StoreError for a file that is missing, of another size, or that others may read."""
        try:
            if self.path.stat().st_mode & 0o077:
                raise StoreError(f"{self.path} can be read by others: chmod 600 {self.path}")
            key = self.path.read_bytes()
        except OSError as error:
            raise StoreError(f"{self.path} cannot be read: {error.strerror}") from None
        if len(key) != KEY_BYTES:
            raise StoreError(f"{self.path} is no key: it has {len(key)} bytes, not {KEY_BYTES}")
        return key


Unlock = Passphrase | KeyFile


class Store:
    """An open store. Every write is whole or not at all, and on the disk when it returns."""

    def __init__(self, path: Path, key: bytes) -> None:
        """Use `create` or `open`. key: the data key."""
        self.path = path
        self._cipher = ChaCha20Poly1305(key)

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}, key hidden)"

    @classmethod
    def create(cls, path: Path, unlock: Unlock) -> Self:
        """An empty store. Raises StoreError where there is one."""
        if (path / LOCK).exists():
            raise StoreError(f"{path} holds a store already")
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o700)
        key = secrets.token_bytes(KEY_BYTES)
        _write_lock(path, key, unlock)
        return cls(path, key)

    @classmethod
    def open(cls, path: Path, unlock: Unlock) -> Self:
        """Raises StoreError where there is none, or the key or passphrase is another."""
        return cls(path, _read_lock(path, unlock))

    @classmethod
    def rewrap(cls, path: Path, old: Unlock, new: Unlock) -> Self:
        """Let another passphrase or key file open it; entries stay as they are. Raises as `open`."""
        key = _read_lock(path, old)
        _write_lock(path, key, new)
        return cls(path, key)

    def read(self, name: str) -> bytes | None:
        """An entry, None where there is none. Raises StoreError for one that does not open."""
        file = self._file(name)
        try:
            if file.stat().st_size > MAX_ENTRY_BYTES + NONCE_BYTES + TAG_BYTES:
                raise StoreError(f"{file} is too large to be an entry of a store")
            sealed = file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{file} cannot be read: {error.strerror}") from None
        try:
            if len(sealed) < NONCE_BYTES + TAG_BYTES:
                raise InvalidTag
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], self._bound(name))
        except InvalidTag:
            raise StoreError(f"{file} was changed, or is not this store's own: restore it from a copy") from None

    def write(self, name: str, data: bytes) -> None:
        """Put an entry in its place. Raises StoreError for a name or size that no entry has."""
        if len(data) > MAX_ENTRY_BYTES:
            raise StoreError(f"an entry of {len(data)} bytes is too large for a store")
        nonce = os.urandom(NONCE_BYTES)
        write_atomic(self._file(name), nonce + self._cipher.encrypt(nonce, data, self._bound(name)), private=True)

    def remove(self, name: str) -> None:
        """Nothing happens where there is no such entry."""
        self._file(name).unlink(missing_ok=True)

    def names(self, prefix: str = "") -> list[str]:
        """Of all entries that begin so, sorted."""
        return sorted(file.stem for file in self.path.glob("*.box") if file.stem.startswith(prefix))

    def _file(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise StoreError(f"{name!r} is no name of an entry: small letters, digits, dots, dashes")
        return self.path / f"{name}.box"

    @staticmethod
    def _bound(name: str) -> bytes:
        return b"securerec store entry\0" + name.encode()


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep a folder for this process alone. Raises StoreError when another has it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(path / ".held", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"{path} is in use by another process: stop that one first") from None
        for stale in path.rglob(".*.tmp"):
            stale.unlink()
        yield


def _write_lock(path: Path, key: bytes, unlock: Unlock) -> None:
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
    wrapped = ChaCha20Poly1305(unlock.key(salt)).encrypt(nonce, key, _lock_bound(unlock.kind, salt))
    write_atomic(path / LOCK, _LOCK.pack(_MAGIC, _VERSION, unlock.kind, salt, nonce, wrapped), private=True)


def opened_with(path: Path) -> int:
    """The `kind` of what opens a store: of `Passphrase` or of `KeyFile`. Raises StoreError where there is no store."""
    return int(_lock(path)[0])


def _read_lock(path: Path, unlock: Unlock) -> bytes:
    kind, salt, nonce, wrapped = _lock(path)
    if kind != unlock.kind:
        way = "a passphrase" if kind == Passphrase.kind else "a key file"
        raise StoreError(f"{path} is opened with {way}")
    try:
        return ChaCha20Poly1305(unlock.key(salt)).decrypt(nonce, wrapped, _lock_bound(kind, salt))
    except InvalidTag:
        raise StoreError(f"{path} does not open with this passphrase or key") from None


def _lock(path: Path) -> tuple[int, bytes, bytes, bytes]:
    """kind, salt, nonce, wrapped key. Raises StoreError."""
    file = path / LOCK
    try:
        data = file.read_bytes() if file.stat().st_size == _LOCK.size else b""
    except OSError as error:
        raise StoreError(f"{path} holds no store of a device: {error.strerror}") from None
    if len(data) != _LOCK.size:
        raise StoreError(f"{file} is damaged: restore it, or the store cannot be opened")
    magic, version, kind, salt, nonce, wrapped = _LOCK.unpack(data)
    if magic != _MAGIC or version != _VERSION:
        raise StoreError(f"{file} is damaged, or of another version: this program reads version {_VERSION}")
    return kind, salt, nonce, wrapped


def _lock_bound(kind: int, salt: bytes) -> bytes:
    return b"securerec store lock\0" + bytes([_VERSION, kind]) + salt
