"""How far a node has gone in a run, on its disk before an answer leaves: it never goes back."""

import json
from dataclasses import dataclass, field, replace

from securerec.device.ledger import LedgerMark
from securerec.device.store import Store, StoreError
from securerec.federation.parties.answers import Position
from securerec.federation.parties.letters import Ask, LetterError, from_bytes, to_bytes
from securerec.federation.warm_start import NoisySum

PROGRESS, OPENED = "progress", "opened"

START: Position = (-1, 0, 0)
"""Before anything was answered."""


@dataclass(frozen=True, slots=True)
class Progress:
    """position: of the last attempt that was answered. broadcast: digest of its broadcast, hex; an attempt is answered
    for one. answered: by device and digest of a table, what the device has answered it with, as of `check_once`.
    ledger: of the device's ledger, as far as the store knows it.
    """

    position: Position = START
    broadcast: str = ""
    answered: dict[tuple[int, bytes], str] = field(default_factory=dict, repr=False)
    ledger: LedgerMark = LedgerMark()

    def at(self, position: Position, broadcast: str, answered: dict[tuple[int, bytes], str]) -> "Progress":
        """The same further on."""
        return replace(self, position=position, broadcast=broadcast, answered=dict(answered))


def write_progress(store: Store, progress: Progress) -> None:
    """Keep it, in place of what was there."""
    answered = [[client, table.hex(), update] for (client, table), update in progress.answered.items()]
    values = {
        "position": progress.position, "broadcast": progress.broadcast, "answered": answered,
        "ledger": [progress.ledger.lines, progress.ledger.digest],
    }  # fmt: skip
    store.write(PROGRESS, json.dumps(values).encode())


def read_progress(store: Store) -> Progress | None:
    """None before the first answer. Raises StoreError for what cannot be understood."""
    data = store.read(PROGRESS)
    if data is None:
        return None
    try:
        values = json.loads(data)
        release, round_number, attempt = map(int, values["position"])
        answered = {(int(client), bytes.fromhex(table)): str(update) for client, table, update in values["answered"]}
        lines, digest = values["ledger"]
        mark = LedgerMark(int(lines), str(digest))
        return Progress((release, round_number, attempt), str(values["broadcast"]), answered, mark)
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{store.path}: the entry {PROGRESS} is damaged: restore it") from None


def write_opened(store: Store, opened: dict[str, NoisySum]) -> None:
    """Keep the sums that the devices have gone on from."""
    store.write(OPENED, to_bytes(Ask(OPENED, 1, 1, opened)))


def read_opened(store: Store) -> dict[str, NoisySum]:
    """In the order in which they were opened; none before the first. Raises StoreError."""
    data = store.read(OPENED)
    if data is None:
        return {}
    try:
        letter = from_bytes(data)
    except LetterError as error:
        raise StoreError(f"{store.path}: the entry {OPENED} is damaged: {error}") from None
    if not isinstance(letter, Ask):
        raise StoreError(f"{store.path}: the entry {OPENED} holds no sums")
    return dict(letter.opened)
