"""Hashes and signatures are taken over transcripts: a label that says what for, then parts, each behind its length.

Two transcripts are equal only if their labels and all their parts are, so nothing signed for one purpose passes for
another. The labels in use are listed in docs/wire-format.md.
"""

import hashlib
import struct

PREFIX = b"securerec protocols 2\0"
DIGEST_BYTES = 32
TAG_BYTES = 16


def transcript(label: str, *parts: bytes | memoryview) -> bytes:
    """The bytes that a signature or a key derivation covers."""
    pieces: list[bytes | memoryview] = [PREFIX, label.encode(), b"\0"]
    for part in parts:
        pieces += (struct.pack("<Q", len(part)), part)
    return b"".join(pieces)


def digest(label: str, *parts: bytes | memoryview) -> bytes:
    """SHA-256 of a transcript, 32 bytes."""
    return hashlib.sha256(transcript(label, *parts)).digest()


def tag(label: str, *parts: bytes) -> bytes:
    """The first 16 bytes of SHA-256 over a label and length-prefixed parts: a short name, not a commitment."""
    short = hashlib.sha256(label.encode() + b"\0")
    for part in parts:
        short.update(struct.pack("<Q", len(part)))
        short.update(part)
    return short.digest()[:TAG_BYTES]
