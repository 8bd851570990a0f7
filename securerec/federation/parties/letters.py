"""All that crosses between the server and the other parties: letters, whose insides are a protocol's own messages.

    0   magic "srel"
    4   version u8, kind u8
    6   length of what follows u64, little-endian
    14  the body

A letter proves nothing: who sent it is known to the transport, and what is in it is signed or sealed where it matters.
It is read strictly. Size and header come first, counts are held against the bytes that are there, numbers ascend, names
are of plain characters, floats are finite, and no byte is left over: whatever is read would be written as the same
bytes again.
"""

import math
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from protocols.spec import ROUNDS_PER_KEY
from securerec.federation.parties.letter_parts import (
    MAX_NAME,
    SHAPE,
    Body,
    LetterError,
    ascending,
    write_floats,
    write_name,
    write_numbered,
)
from securerec.federation.promise import attempt_label
from securerec.federation.warm_start import NoisySum

MAGIC = b"srel"
VERSION = 1

MAX_LETTER_BYTES = 1 << 30
"""No letter is longer: a silo of a thousand devices with uploads of a megabyte."""

MAX_SENTENCE = 400
"""Characters of a refusal."""

MAX_ATTEMPT = 1 << 16

_HEADER = struct.Struct("<4sBBQ")
HEADER_BYTES = _HEADER.size


class Kind(IntEnum):
    """What a letter is. Numbers are never used again."""

    ASK = 1
    REPLY = 2
    CALL = 3
    HELLO = 4
    PRESENT = 5


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """From the server to a node: one phase of one attempt at a release.

    release: its kind, such as "popularity" or "round". round_number: 1 for a release before the rounds. attempt: from
    1. opened: in the order in which they were opened, the sums that the node needs to know. table: (n_rows, width)
    float32, what is broadcast, None where it follows from `opened`. messages: of the protocol, by client; the node
    answers for these clients and no others. The first phase alone carries `opened` and `table`.
    """

    release: str
    round_number: int
    attempt: int
    opened: Mapping[str, NoisySum] = field(default_factory=dict)
    table: NDArray[np.float32] | None = None
    messages: Mapping[int, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """From a node or a decryptor: of each number it was asked about, a protocol's message or why there is none."""

    answers: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    refusals: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """From the server to a decryptor: a message of the protocol, for the sums of this kind of release."""

    release: str
    message: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Hello:
    """From the server to anybody: who are you?"""


@dataclass(frozen=True, slots=True)
class Present:
    """The answer to Hello. role: "node" or "decryptor". numbers: of its devices, or its own; ascending. version: of its
    program. setups: digests (32 bytes) of the setups it holds, by kind of release.
    """

    role: str
    numbers: tuple[int, ...]
    version: str
    setups: Mapping[str, bytes]


__all__ = [
    "HEADER_BYTES", "MAGIC", "MAX_ATTEMPT", "MAX_LETTER_BYTES", "MAX_NAME", "MAX_SENTENCE", "VERSION", "Ask", "Call",
    "Hello", "Kind", "Letter", "LetterError", "Present", "Reply", "attempt_label", "from_bytes", "protocol_round",
    "read_ask", "read_reply", "sentence", "to_bytes",
]  # fmt: skip

Letter = Ask | Reply | Call | Hello | Present


def protocol_round(round_number: int, attempt: int) -> int:
    """The number under which a protocol plays an attempt at a round: no two attempts share one, and the first at a
    round has the round's own.
    """
    return round_number + (attempt - 1) * ROUNDS_PER_KEY


def sentence(refusal: object) -> str:
    """Why something is refused, as a letter carries it: one line of printable characters, shortened where too long."""
    printable = "".join(c if c.isprintable() else " " for c in str(refusal))
    line = " ".join(printable.split()) or type(refusal).__name__
    return line if len(line) <= MAX_SENTENCE else line[: MAX_SENTENCE - 3] + "..."


def to_bytes(letter: Letter) -> bytes:
    """The one encoding of a letter. Raises LetterError for one that nobody would read."""
    kind, body = _encode(letter)
    data = _HEADER.pack(MAGIC, VERSION, kind, len(body)) + body
    if len(data) > MAX_LETTER_BYTES:
        raise LetterError(f"A letter of {len(data)} bytes is not sent: {MAX_LETTER_BYTES} are the most.")
    from_bytes(data)  # what nobody would read is a fault here, and shows here
    return data


def from_bytes(data: bytes, *, limit: int = MAX_LETTER_BYTES) -> Letter:
    """Read a letter; it does not share memory with `data`. limit: bytes. Raises LetterError."""
    if len(data) > limit:
        raise LetterError(f"A letter of {len(data)} bytes is refused: {limit} are the most that is read here.")
    if len(data) < HEADER_BYTES:
        raise LetterError(f"A letter is cut short: {len(data)} bytes, and its header alone has {HEADER_BYTES}.")
    magic, version, kind, length = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise LetterError("These bytes are no letter: they do not begin with its magic.")
    if version != VERSION:
        raise LetterError(f"A letter of version {version} is refused: this program reads version {VERSION}.")
    if kind not in _DECODERS:
        raise LetterError(f"A letter of unknown kind {kind} is refused.")
    if length != len(data) - HEADER_BYTES:
        what = "is cut short" if length > len(data) - HEADER_BYTES else "is followed by other bytes"
        raise LetterError(
            f"A letter {what}: it says {length} bytes after its header, and there are {len(data) - HEADER_BYTES}."
        )
    body = Body(memoryview(data)[HEADER_BYTES:])
    letter = _DECODERS[kind](body)
    body.end()
    return letter


def read_ask(data: bytes) -> Ask:
    """The ask in these bytes. Raises LetterError for another letter too."""
    letter = from_bytes(data)
    if not isinstance(letter, Ask):
        raise LetterError(f"A letter of kind {type(letter).__name__} came where an Ask was expected.")
    return letter


def read_reply(data: bytes, *, numbers: Iterable[int]) -> Reply:
    """The reply in these bytes. numbers: of whom it may speak. Raises LetterError for another letter, or one that
    speaks of others.
    """
    letter = from_bytes(data)
    if not isinstance(letter, Reply):
        raise LetterError(f"A letter of kind {type(letter).__name__} came where a Reply was expected.")
    strangers = (set(letter.answers) | set(letter.refusals)) - set(numbers)
    if strangers:
        raise LetterError(f"A reply speaks of number {min(strangers)}, which its sender was not asked about.")
    return letter


def _encode(letter: Letter) -> tuple[Kind, bytes]:
    match letter:
        case Ask():
            return Kind.ASK, _encode_ask(letter)
        case Reply():
            refusals = {number: text.encode() for number, text in letter.refusals.items()}
            return Kind.REPLY, write_numbered(letter.answers) + write_numbered(refusals)
        case Call():
            return Kind.CALL, write_name(letter.release) + len(letter.message).to_bytes(4, "little") + letter.message
        case Hello():
            return Kind.HELLO, b""
        case Present():
            numbers = struct.pack(f"<I{len(letter.numbers)}Q", len(letter.numbers), *letter.numbers)
            setups = [write_name(name) + digest for name, digest in sorted(letter.setups.items())]
            body = write_name(letter.role) + numbers + write_name(letter.version) + len(setups).to_bytes(4, "little")
            return Kind.PRESENT, body + b"".join(setups)


def _encode_ask(ask: Ask) -> bytes:
    if not (0 < ask.round_number < ROUNDS_PER_KEY and 0 < ask.attempt < MAX_ATTEMPT):
        raise LetterError(f"There is no attempt {ask.attempt} at round {ask.round_number}.")
    parts = [write_name(ask.release), struct.pack("<QI", ask.round_number, ask.attempt)]
    parts.append(len(ask.opened).to_bytes(4, "little"))
    for name, opened in ask.opened.items():
        parts += [write_name(name), struct.pack("<d", opened.noise), write_floats(opened.total, "<f8")]
    parts.append(bytes([ask.table is not None]))
    if ask.table is not None:
        parts.append(write_floats(ask.table, "<f4"))
    return b"".join([*parts, write_numbered(ask.messages)])


def _decode_ask(body: Body) -> Ask:
    release, round_number, attempt = body.name(), body.u64(), body.u32()
    if not (0 < round_number < ROUNDS_PER_KEY and 0 < attempt < MAX_ATTEMPT):
        raise LetterError(f"A letter asks for attempt {attempt} at round {round_number}: there is none.")
    opened: dict[str, NoisySum] = {}
    for _ in range(body.count(2 + 8 + SHAPE.size)):
        name = body.name()
        if name in opened:
            raise LetterError(f"A letter holds the opened sum {name} twice.")
        (noise,) = struct.unpack("<d", body.take(8))
        if not math.isfinite(noise) or math.copysign(1.0, noise) < 0:
            raise LetterError(f"A letter gives the opened sum {name} a noise of {noise:g}.")
        opened[name] = NoisySum(body.floats("<f8").astype(np.float64, copy=False), noise)
    has_table = body.u8()
    if has_table > 1:
        raise LetterError("A letter neither has a table nor has none.")
    table = body.floats("<f4").astype(np.float32, copy=False) if has_table else None
    return Ask(release, round_number, attempt, opened, table, body.numbered())


def _decode_reply(body: Body) -> Reply:
    answers, raw = body.numbered(), body.numbered()
    if both := answers.keys() & raw.keys():
        raise LetterError(f"A reply both answers and refuses for number {min(both)}.")
    refusals: dict[int, str] = {}
    for number, line in raw.items():
        try:
            text = line.decode()
        except UnicodeDecodeError:
            raise LetterError(f"The refusal of number {number} is no text.") from None
        if not text or len(text) > MAX_SENTENCE or not text.isprintable():
            raise LetterError(f"The refusal of number {number} is no sentence of one line.")
        refusals[number] = text
    return Reply(answers, refusals)


def _decode_call(body: Body) -> Call:
    return Call(body.name(), bytes(body.take(body.u32())))


def _decode_present(body: Body) -> Present:
    role = body.name()
    if role not in ("node", "decryptor"):
        raise LetterError(f"A party presents itself as {role!r}: there are nodes and decryptors.")
    numbers, last = [], -1
    for _ in range(body.count(8)):
        last = ascending(last, body.number())
        numbers.append(last)
    version, setups, before = body.name(), dict[str, bytes](), ""
    for _ in range(body.count(2 + 32)):
        name = body.name()
        if name <= before:
            raise LetterError(f"A party's setup {name} stands out of order.")
        setups[name], before = bytes(body.take(32)), name
    return Present(role, tuple(numbers), version, setups)


_DECODERS: dict[int, Callable[[Body], Letter]] = {
    Kind.ASK: _decode_ask,
    Kind.REPLY: _decode_reply,
    Kind.CALL: _decode_call,
    Kind.HELLO: lambda _: Hello(),
    Kind.PRESENT: _decode_present,
}
