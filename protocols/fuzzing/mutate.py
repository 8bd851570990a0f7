"""From an honest message to hostile ones. All choices come from the given generator: a seed repeats a run."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from protocols.broadcast import BROADCAST_BYTES
from protocols.codec import Frame, Header, Kind, read_frame
from protocols.identity import MAX_NUMBER, ROLES, Address, Identity, PublicIdentity
from protocols.seals import seal_key

HEAD = 200
"""Half of all changes hit the first bytes, where most decisions fall."""

OVERSIZED = 16 << 20
"""Bytes of padding in the rare message that is far too long: what takes a few times as much is found."""

_BLOCKS = (8, 16, 32, 64, 80, 104)
"""Sizes at which entries of lists repeat: keys, tags, boxes, lines of a manifest."""


def mutated(data: bytes, rng: np.random.Generator, others: Sequence[bytes] = ()) -> bytes:
    """`data` after one to four changes; others: messages to splice with. May be `data` again by chance."""
    changed = bytearray(data)
    # Most decoders ask for one length and look no further at others.
    changes = _SAME_LENGTH if rng.integers(3) else _SAME_LENGTH + _OTHER_LENGTH
    for _ in range(rng.integers(1, 5)):
        changes[rng.integers(len(changes))](changed, rng)
    if others and rng.random() < 0.05:
        _splice(changed, others[int(rng.integers(len(others)))], rng)
    if rng.random() < 0.0005:
        changed += bytes(OVERSIZED)
    return bytes(changed)


def written(header: Header, body: bytes, identity: Identity, reader: PublicIdentity) -> bytes:
    """The frame that this identity can make for that reader, whatever header it writes: signed, sealed, or both."""
    if not header.bears_seal:
        return header.write(identity, body)
    to = header.recipient or reader.address
    key = seal_key(identity, reader, setup=header.setup, sender=header.sender, recipient=to)
    return header.write(identity, body, key=key)


def signed_nested(frame: Frame, identity: Identity, rng: np.random.Generator) -> bytes:
    """The server's message with another broadcast of its in front of the body, and named in the header."""
    inner = read_frame(frame.body[:BROADCAST_BYTES])
    body = bytearray(inner.body)
    _SAME_LENGTH[rng.integers(len(_SAME_LENGTH))](body, rng)
    nested = inner.header.write(identity, bytes(body))
    header = replace(frame.header, broadcast=hashlib.sha256(nested).digest())
    return header.write(identity, nested + bytes(frame.body[BROADCAST_BYTES:]))


def signed_header(frame: Frame, identity: Identity, reader: PublicIdentity, rng: np.random.Generator) -> bytes:
    """The frame with one header field changed, then signed or sealed. No reader may accept it, whoever did that.

    A broadcast's round is left alone: the server may open any.
    """
    header = frame.header
    changes: list[Callable[[Header, np.random.Generator], Any]] = [
        lambda h, g: {"kind": list(Kind)[g.integers(len(Kind))]},
        lambda h, g: {"protocol": int(g.integers(256))},
        lambda h, g: {"sender": _address(h.sender, g)},
        lambda h, g: {"recipient": _address(h.recipient, g) if g.integers(4) else None},
        lambda h, g: {"setup": _other(h.setup, g)},
        lambda h, g: {"run_tag": _other(h.run_tag, g)},
        lambda h, g: {"broadcast": _other(h.broadcast, g)},
    ]
    if header.kind is not Kind.BROADCAST:
        changes.append(lambda h, g: {"round_number": _number(h.round_number, g)})
    while (changed := replace(header, **changes[rng.integers(len(changes))](header, rng))) == header:
        pass
    return written(changed, bytes(frame.body), identity, reader)


def _flip(data: bytearray, rng: np.random.Generator) -> None:
    if data:
        data[_at(data, rng)] ^= 1 << int(rng.integers(8))


def _randomise(data: bytearray, rng: np.random.Generator) -> None:
    piece = _piece(data, rng)
    data[piece] = rng.bytes(len(data[piece]))


def _extreme(data: bytearray, rng: np.random.Generator) -> None:
    """Overwrite a field of 1, 2, 4 or 8 bytes with a number on some edge."""
    size = 1 << int(rng.integers(4))
    edge = 1 << int(rng.integers(8 * size + 1))
    number = (edge + int(rng.integers(-1, 2))) % (1 << 8 * size)
    at = _at(data, rng)
    if rng.integers(2):
        at -= at % size
    data[at : at + size] = number.to_bytes(size, "little")[: len(data) - at]


def _fill(data: bytearray, rng: np.random.Generator) -> None:
    piece = _piece(data, rng)
    data[piece] = (b"\x00", b"\xff", b"\x80", b"\x7f")[rng.integers(4)] * len(data[piece])


def _delete(data: bytearray, rng: np.random.Generator) -> None:
    del data[_piece(data, rng)]


def _duplicate(data: bytearray, rng: np.random.Generator) -> None:
    piece = _piece(data, rng)
    data[piece.start : piece.start] = data[piece]


def _swap(data: bytearray, rng: np.random.Generator) -> None:
    """Exchange two neighbouring pieces of equal length."""
    piece = _piece(data, rng)
    size = piece.stop - piece.start
    following = slice(piece.stop, piece.stop + size)
    data[piece.start : following.stop] = data[following] + data[piece]


def _truncate(data: bytearray, rng: np.random.Generator) -> None:
    del data[_at(data, rng) if rng.integers(2) else max(0, len(data) - int(rng.integers(1, 65))) :]


def _pad(data: bytearray, rng: np.random.Generator) -> None:
    data += rng.bytes(int(rng.integers(1, 65)))


_SAME_LENGTH = (_flip, _randomise, _extreme, _extreme, _fill, _swap)
_OTHER_LENGTH = (_delete, _duplicate, _truncate, _pad)


def _splice(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    """Go on with another message from some place; half the time from the same one."""
    at = _at(data, rng)
    data[at:] = other[at if rng.integers(2) else int(rng.integers(len(other) + 1)) :]


def _at(data: bytearray, rng: np.random.Generator) -> int:
    n = len(data) if rng.integers(2) else min(len(data), HEAD)
    return int(rng.integers(n)) if n else 0


def _piece(data: bytearray, rng: np.random.Generator) -> slice:
    """A few bytes anywhere, or a whole entry of a list, counted from the front or the end."""
    at = _at(data, rng)
    if rng.integers(2):
        return slice(at, at + int(rng.integers(1, 40)))
    size = _BLOCKS[rng.integers(len(_BLOCKS))]
    at -= at % size
    if rng.integers(2):
        at += len(data) % size
    return slice(at, at + size)


def _number(now: int, rng: np.random.Generator) -> int:
    return (max(0, now - 1), min(MAX_NUMBER, now + 1), 0, MAX_NUMBER, int(rng.integers(MAX_NUMBER)))[rng.integers(5)]


def _address(now: Address | None, rng: np.random.Generator) -> Address:
    number = 0 if now is None else now.number
    return Address(ROLES[rng.integers(len(ROLES))], _number(number, rng) if rng.integers(2) else number)


def _other(field: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(field)
    changed[rng.integers(len(changed))] ^= 1 << int(rng.integers(8))
    return bytes(changed)
