"""Numbers uniform modulo a prime, from a public digest or a secret seed: the same for everybody who has it."""

from collections.abc import Callable
from functools import lru_cache
from hashlib import shake_128

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from numba import njit
from numpy.typing import NDArray

from protocols.committee.parameters import SEED_BYTES
from protocols.transcript import tag


@njit(cache=True, nogil=True)
def _accept(words, mask, q, out, at):  # type: ignore[no-untyped-def]
    """Fill out[at:] with those words, cut to the mask, that are below q; returns how many `out` then holds."""
    for word in words:
        if at == out.shape[0]:
            break
        value = word & mask
        if value < q:
            out[at] = value
            at += 1
    return at


def _uniform(stream: Callable[[int], bytes], primes: tuple[int, ...], count: int) -> NDArray[np.uint64]:
    """(primes, count) uint64, uniform below each prime if the stream is. stream(n): its next n bytes."""
    out = np.empty((len(primes), count), np.uint64)
    for row, q in zip(out, primes, strict=True):
        mask = np.uint64((1 << (q - 1).bit_length()) - 1)
        at = 0
        while at < count:
            words = np.frombuffer(stream(8 * (count - at)), "<u8").astype(np.uint64, copy=False)
            at = _accept(words, mask, np.uint64(q), row, at)
    return out


@lru_cache(maxsize=2)
def common_polynomials(digest: bytes, primes: tuple[int, ...], n_ciphertexts: int, degree: int) -> NDArray[np.uint64]:
    """The round's public a, (primes, n_ciphertexts, degree) uint64, transformed, from the digest of its broadcast.

    SHAKE-128 as a random oracle, as ML-KEM expands its matrix (FIPS 203). Read only: kept for the next client here.
    """
    a = _from_oracle("committee common polynomials", digest, primes, n_ciphertexts * degree)
    a = a.reshape(len(primes), n_ciphertexts, degree)
    a.setflags(write=False)
    return a


def projection_weights(digest: bytes, primes: tuple[int, ...], checks: int, degree: int) -> NDArray[np.uint64]:
    """What a round's shares are weighed with, (primes, checks, degree) uint64, from the digest of its challenge."""
    return _from_oracle("committee projection", digest, primes, checks * degree).reshape(len(primes), checks, degree)


def share_from_seed(seed: bytes, primes: tuple[int, ...], count: int) -> NDArray[np.uint64]:
    """(primes, count) uint64 from a secret seed of SEED_BYTES bytes: the key stream of ChaCha20."""
    if len(seed) != SEED_BYTES:
        raise ValueError(f"A seed has {SEED_BYTES} bytes, not {len(seed)}.")
    encryptor = Cipher(algorithms.ChaCha20(seed, bytes(16)), mode=None).encryptor()
    return _uniform(lambda n: encryptor.update(bytes(n)), primes, count)


def _from_oracle(label: str, digest: bytes, primes: tuple[int, ...], count: int) -> NDArray[np.uint64]:
    """(primes, count) uint64, each prime's row from SHAKE-128 of a tag over label, digest and prime."""
    return np.vstack([_uniform(_shake(tag(label, digest, str(q).encode())), (q,), count) for q in primes])


def _shake(label: bytes) -> Callable[[int], bytes]:
    """The output of SHAKE-128, piece by piece; asked twice at most but for a chance that needs no speed."""
    oracle = shake_128(label)
    done = 0

    def stream(n: int) -> bytes:
        nonlocal done
        done += n
        return oracle.digest(done)[done - n :]

    return stream
