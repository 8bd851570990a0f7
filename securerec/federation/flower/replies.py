"""A node's reply, taken from the SuperLink piece by piece: whatever a node announced, nobody waits for it."""

from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from flwr.app import Message
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

from securerec.federation.flower.supernode import MOST_OBJECTS
from securerec.federation.parties.letters import MAX_LETTER_BYTES

_MOST_BYTES = MAX_LETTER_BYTES + (1 << 20)
"""Of all pieces of one reply: a letter, and what Flower says of its pieces."""


class ReplyError(ValueError):
    """What a node announced is no reply that can be read."""


class Pieces(Protocol):
    """Where pieces are. `OperatorGrid` is one."""

    def piece(self, number: str) -> bytes | None:
        """A piece by its number, None where it was announced and has not come. Raises ReplyError, httpx.HTTPError."""
        ...

    def received(self, number: str) -> None:
        """Say that all pieces of this message are here. Raises httpx.HTTPError."""
        ...


@dataclass(slots=True)
class Reply:
    """answers: the number of the message that it answers, as the SuperLink says and not the node. number: its own.
    missing: the numbers of the pieces that have not come.
    """

    answers: str
    number: str
    missing: list[str]
    _found: dict[str, bytes] = field(default_factory=dict)
    _size: int = 0

    @classmethod
    def announced(cls, message: MessageProto, tree: ObjectTree) -> "Reply":
        """One of which the SuperLink has told. Of too many pieces, so many are noted that `take` refuses it."""
        pieces = (node.object_id for node in islice(iterate_object_tree(tree), MOST_OBJECTS + 1))
        metadata = message.metadata
        return cls(metadata.reply_to_message_id, metadata.message_id, list(dict.fromkeys(pieces)))

    def take(self, source: Pieces) -> bool:
        """Ask for one more piece. Whether it was there. Raises ReplyError for too much, and what `source` does."""
        if len(self._found) + len(self.missing) > MOST_OBJECTS:
            raise ReplyError(f"it has more than {MOST_OBJECTS} pieces")
        if not self.missing:
            return True
        piece = source.piece(self.missing[0])
        if piece is None:
            return False
        self._size += len(piece)
        if self._size > _MOST_BYTES:
            raise ReplyError(f"its pieces have more than {_MOST_BYTES} bytes")
        self._found[self.missing.pop(0)] = piece
        return True

    def message(self) -> Message:
        """The message, once nothing is missing. Raises ReplyError for anything else that was announced."""
        try:
            whole = inflate_object_from_contents(self.number, self._found)
        except Exception as error:  # Flower's classes raise whatever they stumble over
            raise ReplyError(f"its pieces are no message ({type(error).__name__})") from None
        if not isinstance(whole, Message):
            raise ReplyError(f"it is a {type(whole).__name__} and no message")
        return whole
