"""Numbers uniform modulo a prime, from a public digest or a secret seed: the same for everybody who has it."""

from collections.abc import Callable
from functools import lru_cache, partial
from hashlib import shake_128

import numpy as np
from numba import njit
from numpy.typing import NDArray

from protocols.key_stream import SEED_BYTES, key_stream
from protocols.transcript import tag


@njit(cache=True, nogil=True)
def _accept(words, mask, q, out, at):  # type: ignore[no-untyped-def]
    """Fill out[at:] with those words, cut to the mask, that are below q; returns how many `out` then holds.

    There are no more words than there is room for.
    """
    # Primes lie just below a power of two, so nearly always all are: a loop without branches finds out.
    bad = 0
    for i in range(words.shape[0]):
        value = words[i] & mask
        out[at + i] = value
        bad += value >= q
    if bad == 0:
        return at + words.shape[0]
    for word in words:
        if at == out.shape[0]:
            break
        value = word & mask
        if value < q:
            out[at] = value
            at += 1
    return at


def _uniform(stream: Callable[[int], bytes | memoryview], primes: tuple[int, ...], count: int) -> NDArray[np.uint64]:
    """(primes, count) uint64, uniform below each prime if the stream is. stream(n): its first n bytes."""
    out = np.empty((len(primes), count), np.uint64)
    used = 0
    for row, q in zip(out, primes, strict=True):
        mask = np.uint64((1 << (q - 1).bit_length()) - 1)
        at = 0
        while at < count:
            left = count - at
            words = np.frombuffer(stream(used + 8 * left), "<u8", left, used)
            at = _accept(words, mask, np.uint64(q), row, at)
            used += 8 * left
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
    """(primes, count) uint64 from a secret seed of SEED_BYTES bytes, by its key stream."""
    if len(seed) != SEED_BYTES:
        raise ValueError(f"A seed has {SEED_BYTES} bytes, not {len(seed)}.")
    return _uniform(partial(key_stream, seed), primes, count)


def _from_oracle(label: str, digest: bytes, primes: tuple[int, ...], count: int) -> NDArray[np.uint64]:
    """(primes, count) uint64, each prime's row from SHAKE-128 of a tag over label, digest and prime."""
    return np.vstack([_uniform(shake_128(tag(label, digest, str(q).encode())).digest, (q,), count) for q in primes])
