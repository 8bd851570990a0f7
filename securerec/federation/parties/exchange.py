"""How letters get to parties and answers back: what the server's run needs of a network, and one in this process.

`LocalExchange` plays nodes and decryptors beside the server, for tests and for `securerec bench chaos`. It can lose
what a network loses, and worse: each letter may meet a fault, and a party that was killed starts anew from its disk.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from securerec.federation.parties.letters import Hello, LetterError, Present, from_bytes, to_bytes


class Exchange(Protocol):
    """Carries letters between the server and whoever is connected. An address names a node or a decryptor."""

    def parties(self) -> dict[str, Present]:
        """Who is there, by address, as each says itself: what they say is checked by whoever deals with them."""
        ...

    def deliver(self, letters: Mapping[str, bytes], *, deadline: float) -> Iterator[tuple[str, bytes]]:
        """Hand letters over, one an address, and give answers as they come, with the address each came from.

        Ends when everybody has answered or `deadline` seconds have passed. An answer to an earlier letter may be
        among them, or one that was damaged: the server tells them apart.
        """
        ...


class Party(Protocol):
    """A node or a decryptor."""

    def answer(self, letter: bytes) -> bytes:
        """The answer to a letter. Raises LetterError for bytes that are none."""
        ...


FaultKind = Literal["kill before", "kill after", "restart", "pause", "cut", "delay", "duplicate", "replay", "flip"]
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
"""What happens to one letter or its answer.

kill before, kill after: the party dies with the letter unread, or with its answer made and not sent. restart: it dies
and starts anew from its disk before it reads the letter. pause: it reads the letter when the next ones are delivered,
and its answer comes late. cut: the letter never arrives. delay: the answer comes when the next letters are delivered.
duplicate: the answer comes twice. replay: an earlier answer of this party comes before the new one. flip: some bits of
the answer are others.
"""


@dataclass(frozen=True, slots=True)
class Fault:
    """lasts: in how many deliveries a killed party is gone, the present one among them. place: where in the answer bits
    are flipped, a fraction of its length.
    """

    kind: FaultKind
    lasts: int = 1
    place: float = 0.5


Faults = Callable[[str, bytes], Fault | None]
"""Asked about every letter that is about to be delivered: what happens to it at this address."""


class LocalExchange:
    """Parties in this process. Answers come in the order of the letters, and at once."""

    def __init__(self, start: Mapping[str, Callable[[], Party]], *, faults: Faults | None = None) -> None:
        """start: by address, what makes the party from what lies on its disk, each time it starts."""
        self._start, self._faults = dict(start), faults
        self._running: dict[str, Party] = {address: make() for address, make in self._start.items()}
        self._gone: dict[str, int] = {}
        self._late: list[tuple[str, bytes]] = []
        self._unread: list[tuple[str, bytes]] = []
        self._answered: dict[str, bytes] = {}
        self.met: Counter[FaultKind] = Counter()
        """Faults so far, by kind."""

    def party(self, address: str) -> Party | None:
        """Who runs there now; None while it is gone."""
        return self._running.get(address)

    def parties(self) -> dict[str, Present]:
        self._come_back()
        found = {}
        for address, party in self._running.items():
            letter = from_bytes(party.answer(to_bytes(Hello())))
            if isinstance(letter, Present):
                found[address] = letter
        return found

    def deliver(self, letters: Mapping[str, bytes], *, deadline: float) -> Iterator[tuple[str, bytes]]:
        end = time.monotonic() + deadline
        self._come_back()
        late, self._late = self._late, []
        yield from late
        unread, self._unread = self._unread, []
        for address, letter in unread:
            if (answer := self._ask(address, letter)) is not None:
                yield address, answer
        for address, letter in letters.items():
            if time.monotonic() > end:
                return
            if address not in self._running:
                continue
            fault = self._faults(address, letter) if self._faults else None
            if fault is not None:
                self.met[fault.kind] += 1
            for answer in self._answers(address, letter, fault):
                yield address, answer

    def restart(self, address: str) -> None:
        """The party dies, if it lives, and starts from its disk."""
        self._gone.pop(address, None)
        self._running[address] = self._start[address]()

    def _come_back(self) -> None:
        for address in list(self._gone):
            self._gone[address] -= 1
            if self._gone[address] < 0:
                self.restart(address)

    def _kill(self, address: str, lasts: int) -> None:
        del self._running[address]
        self._gone[address] = lasts - 1

    def _ask(self, address: str, letter: bytes) -> bytes | None:
        party = self._running.get(address)
        if party is None:
            return None
        with suppress(LetterError):
            return party.answer(letter)
        return None

    def _answers(self, address: str, letter: bytes, fault: Fault | None) -> Iterator[bytes]:
        """What arrives of a party's answer to this letter, in this delivery."""
        kind = fault.kind if fault is not None else None
        if kind == "cut":
            return
        if kind == "pause":
            self._unread.append((address, letter))
            return
        if fault is not None and kind == "kill before":
            self._kill(address, fault.lasts)
            return
        if kind == "restart":
            self.restart(address)
        answer = self._ask(address, letter)
        if answer is None:
            return
        earlier = self._answered.get(address)
        self._answered[address] = answer
        if fault is not None and kind == "kill after":
            self._kill(address, fault.lasts)
        elif kind == "delay":
            self._late.append((address, answer))
        elif kind == "duplicate":
            yield answer
            yield answer
        elif kind == "replay":
            if earlier is not None:
                yield earlier
            yield answer
        elif fault is not None and kind == "flip":
            yield flipped(answer, fault.place)
        else:
            yield answer


def flipped(data: bytes, place: float) -> bytes:
    """The same bytes but for one, at this fraction of their length, all of whose bits are turned."""
    damaged = bytearray(data)
    damaged[min(int(place * len(data)), len(data) - 1)] ^= 0xFF
    return bytes(damaged)
