"""A phase's messages, made one after the other as they are delivered, and not kept."""

from collections.abc import Callable, Iterator, Mapping

from protocols.identity import SIGNATURE_BYTES, Address


class Outbox(Mapping[Address, bytes]):
    """By recipient. Each look-up makes the message anew: whoever delivers one looks it up once, and drops it then.

    It is empty once its phase is over: what a message is made of is gone then.
    """

    def __init__(self, makers: Mapping[Address, Callable[[], bytes]], *, signed: bool = False) -> None:
        """makers: what makes each message. signed: whether messages end with a signature, to be asked for later."""
        self._makers = makers
        self._signed = signed
        self._signatures: dict[Address, bytes] = {}

    def __getitem__(self, to: Address) -> bytes:
        message = self._makers[to]()
        if self._signed:
            self._signatures[to] = message[-SIGNATURE_BYTES:]
        return message

    def __contains__(self, to: object) -> bool:
        return to in self._makers

    def __iter__(self) -> Iterator[Address]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def signature(self, to: Address) -> bytes:
        """The signature of the message to this party, which is the same each time it is made."""
        if to not in self._signatures:
            _ = self[to]
        return self._signatures[to]

    def close(self) -> None:
        """Nothing more is to be sent."""
        self._makers = {}
