"""The answers that a node has given in the present attempt at a release, on its disk before they leave.

A retry gets the same bytes, after a crash too: a device that answered twice with other randomness would show the server
two ciphertexts of one vector, and one that forgot that it has answered might be led to answer another broadcast.
"""

import hashlib

from securerec.device.store import Store, StoreError
from securerec.federation.parties.letters import Ask, LetterError, Reply, from_bytes, to_bytes

Position = tuple[int, int, int]
"""Place of the release in the run, round, attempt: a later one is larger."""

_PREFIX = "answers-"
_LENGTH_BYTES = 8


class StoredAnswers:
    """Of the attempt at `position`; those of earlier ones are thrown away when another begins."""

    def __init__(self, store: Store, position: Position) -> None:
        """What lies in the store of this attempt. Raises StoreError for what cannot be read."""
        self._store = store
        self._places: dict[tuple[int, bytes], str] = {}
        for name in store.names(_PREFIX):
            asked, reply = _read(store, name)
            if (asked.round_number, asked.attempt) == position[1:] and asked.release == str(position[0]):
                self._note(name, asked, reply)

    def find(self, client: int, message: bytes) -> bytes | None:
        """What a client has answered to a message; None if nothing."""
        name = self._places.get((client, hashlib.sha256(message).digest()))
        return None if name is None else _read(self._store, name)[1].answers[client]

    def keep(self, position: Position, messages: dict[int, bytes], answers: dict[int, bytes]) -> None:
        """Write answers down, with the messages that they answer."""
        digests = {client: hashlib.sha256(messages[client]).digest() for client in answers}
        asked = Ask(str(position[0]), position[1], position[2], messages=digests)
        first = to_bytes(asked)
        name = _PREFIX + hashlib.sha256(first).hexdigest()[:32]
        reply = Reply(answers)
        self._store.write(name, len(first).to_bytes(_LENGTH_BYTES, "little") + first + to_bytes(reply))
        self._note(name, asked, reply)

    def forget(self) -> None:
        """Throw everything away, since another attempt begins."""
        for name in self._store.names(_PREFIX):
            self._store.remove(name)
        self._places = {}

    def _note(self, name: str, asked: Ask, reply: Reply) -> None:
        for client, digest in asked.messages.items():
            if client in reply.answers:
                self._places[client, digest] = name


def _read(store: Store, name: str) -> tuple[Ask, Reply]:
    data = store.read(name) or b""
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    try:
        asked = from_bytes(data[_LENGTH_BYTES : _LENGTH_BYTES + length])
        reply = from_bytes(data[_LENGTH_BYTES + length :])
    except LetterError as error:
        raise StoreError(f"{store.path}: the entry {name} is damaged: {error}") from None
    if not isinstance(asked, Ask) or not isinstance(reply, Reply):
        raise StoreError(f"{store.path}: the entry {name} holds no answers")
    return asked, reply
