"""Messages are made when they are delivered, and nothing keeps them."""

import gc
import weakref
from typing import Any

import pytest

from protocols import Address
from protocols.identity import SIGNATURE_BYTES
from protocols.roles.outbox import Outbox

ONE, TWO = Address("decryptor", 1), Address("decryptor", 2)


class Message(bytearray):
    """Bytes that can be watched: `bytes` take no weak references."""


class Maker:
    def __init__(self) -> None:
        self.alive: list[weakref.ref[Message]] = []

    def __call__(self) -> Any:
        made = Message(b"body" + bytes(range(SIGNATURE_BYTES)))
        self.alive.append(weakref.ref(made))
        return made


def test_a_message_is_made_for_each_look_up_and_gone_with_its_reader() -> None:
    maker = Maker()
    outbox = Outbox({ONE: maker, TWO: maker}, signed=True)
    assert len(outbox) == 2 and ONE in outbox and list(outbox) == [ONE, TWO] and maker.alive == []
    for to, message in outbox.items():
        assert to in (ONE, TWO) and message.startswith(b"body")
        assert sum(reference() is not None for reference in maker.alive) == 1
    del message
    gc.collect()
    assert len(maker.alive) == 2 and not any(reference() for reference in maker.alive)


def test_what_is_kept_of_a_signed_message_is_its_signature() -> None:
    maker = Maker()
    outbox = Outbox({ONE: maker}, signed=True)
    message = outbox[ONE]
    assert outbox.signature(ONE) == message[-SIGNATURE_BYTES:] and len(maker.alive) == 1


def test_the_signature_of_a_message_that_was_not_delivered_yet_is_known_too() -> None:
    outbox = Outbox({ONE: Maker()}, signed=True)
    assert outbox.signature(ONE) == bytes(range(SIGNATURE_BYTES))


def test_a_closed_outbox_is_empty() -> None:
    outbox = Outbox({ONE: Maker()})
    outbox.close()
    assert outbox == {} and ONE not in outbox
    with pytest.raises(KeyError):
        outbox[ONE]
