"""The ciphertexts inside what TenSEAL's `ckks_vector.serialize()` gives, as residues.

The outer form is a protocol-buffers message of TenSEAL (CKKSVectorProto): field 1 the number of values in each
ciphertext (packed varints), field 2 each ciphertext as SEAL saved it, field 3 the scale (double).
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attacks.errors import AttackError
from protocols.errors import ProtocolError

_SIZES, _CIPHERTEXT, _SCALE = 0x0A, 0x12, 0x19


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """c0, c1: (data primes, N) uint64, transformed. n_values: how many of its N / 2 slots TenSEAL decrypts."""

    c0: NDArray[np.uint64]
    c1: NDArray[np.uint64]
    n_values: int
    scale: float


class _Saved:
    """Bytes that SEAL saved, passed off as the object: `SealBytes` asks an object only to save itself to a path."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def save(self, path: str) -> None:
        Path(path).write_bytes(self._data)


def read_vector(data: bytes, *, degree: int, data_primes: Sequence[int]) -> list[Chunk]:
    """The chunks of a serialised ckks_vector over these data primes. Raises AttackError where it is none."""
    # TenSEAL takes a moment to load, and every listing of the attacks imports this module.
    from protocols.ckks.seal_bytes import SealBytes, make_context

    sizes, saved, scale = _fields(data)
    if len(sizes) != len(saved) or not saved or max(sizes) > degree // 2 or not 0 < scale < 2.0**1000:
        raise AttackError("these bytes are no serialised ckks_vector of this degree: give ckks_vector.serialize()")
    try:
        reader = SealBytes(make_context(degree, tuple(data_primes)))
        pairs = [reader.ciphertext(_Saved(each), len(data_primes), degree) for each in saved]
    except (ProtocolError, ValueError, RuntimeError, struct.error) as error:
        raise AttackError(f"cannot read the ckks_vector: check degree and data_primes ({error})") from None
    for pair in pairs:
        if any((pair[:, i] >= q).any() for i, q in enumerate(data_primes)):
            raise AttackError("the ckks_vector's ciphertexts are over other primes: check data_primes")
    return [Chunk(pair[0], pair[1], size, scale) for pair, size in zip(pairs, sizes, strict=True)]


def _fields(data: bytes) -> tuple[list[int], list[bytes], float]:
    sizes: list[int] = []
    saved: list[bytes] = []
    scale = 0.0
    at = 0
    try:
        while at < len(data):
            key, at = data[at], at + 1
            if key == _SCALE:
                (scale,) = struct.unpack_from("<d", data, at)
                at += 8
                continue
            length, at = _varint(data, at)
            if key not in (_SIZES, _CIPHERTEXT) or at + length > len(data):
                raise AttackError("these bytes are no serialised ckks_vector: give ckks_vector.serialize()")
            end = at + length
            if key == _CIPHERTEXT:
                saved.append(data[at:end])
                at = end
            while at < end:
                size, at = _varint(data, at)
                sizes.append(size)
    except (IndexError, struct.error):
        raise AttackError("the serialised ckks_vector is cut short") from None
    return sizes, saved, scale


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """(number, where it ends) of a base-128 number of at most 5 bytes, lowest first."""
    number = 0
    for i in range(5):
        byte = data[at + i]
        number |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return number, at + i + 1
    raise AttackError("these bytes are no serialised ckks_vector: a length is too long")
