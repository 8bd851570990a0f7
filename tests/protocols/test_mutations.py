"""Many mutated messages for each decoder: none accepted, none crashing, none slow.

A longer run: SECUREREC_MUTATIONS=10000 python -m pytest tests/protocols/test_mutations.py
"""

import os
import time
import tracemalloc
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from protocols import Address, LocalParties, ProtocolError, Roster, Setup, SumSpec, enrol

MUTATIONS = int(os.environ.get("SECUREREC_MUTATIONS", "1000"))


@lru_cache
def decoders() -> dict[str, tuple[bytes, Callable[[bytes], Any]]]:
    """By name, an honest message and who reads it."""
    run = enrol("ckks", SumSpec(20, 4, 2, 100), run_id=b"run", client_ids=range(4))
    parties = LocalParties(run)
    parties.values = {client: np.full(20, client) for client in range(4)}
    opened = run.server().open_round(0, context=bytes(32), min_survivors=2)
    upload = parties(Address("client", 0), opened.broadcast.data)
    second = run.server().open_round(1, context=bytes(32), min_survivors=2)
    for client in range(4):
        second.receive(parties(Address("client", client), second.broadcast.data) or b"")
    second.close_phase()
    ((to, request),) = second.outbox().items()
    opening = parties(to, request)
    assert upload is not None and opening is not None
    roster = Setup.from_bytes(run.setup).roster

    def read_setup(data: bytes) -> None:
        # Bits of a setup may be other honest facts; a party finds that they are not what was signed.
        run_client = type(run.client(1))
        run_client(data, run.client_identities[1], run.enrolment.public, min_survivors=2)

    return {
        "broadcast": (opened.broadcast.data, lambda data: run.client(1).join(data)),
        "upload": (upload, opened.receive),
        "request": (request, run.decryptors[0].answer),
        "opening": (opening, second.receive),
        "roster": (roster, lambda data: Roster.verify(data, run.enrolment.public)),
        "setup": (run.setup, read_setup),
    }


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Bits flipped, bytes set, a piece cut out, put twice or moved, the end cut or padded."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        # Half of the changes hit the head, where most of the decisions fall.
        at = int(rng.integers(0, len(changed) if rng.integers(2) else min(len(changed), 200)))
        piece = slice(at, at + int(rng.integers(1, 40)))
        match rng.integers(6):
            case 0:
                changed[at] ^= 1 << int(rng.integers(8))
            case 1:
                changed[piece] = rng.bytes(len(changed[piece]))
            case 2 if len(changed) > 100:
                del changed[piece]
            case 3:
                changed[at:at] = changed[piece]
            case 4:
                changed[piece] = b"\xff" * len(changed[piece])
            case _:
                changed += rng.bytes(int(rng.integers(1, 9)))
    return bytes(changed)


@pytest.mark.parametrize("name", ["broadcast", "upload", "request", "opening", "roster", "setup"])
def test_mutated_messages_are_refused_in_a_sentence_and_at_once(name: str) -> None:
    data, read = decoders()[name]
    rng = np.random.default_rng(1)
    slowest = 0.0
    for _ in range(MUTATIONS):
        message = mutated(data, rng)
        if message == data:
            continue
        started = time.perf_counter()
        with pytest.raises(ProtocolError, match="[.]$"):
            read(message)
        slowest = max(slowest, time.perf_counter() - started)
    assert slowest < 1


@pytest.mark.parametrize("name", ["broadcast", "upload", "request", "opening", "roster", "setup"])
def test_lengths_that_lie_take_no_memory(name: str) -> None:
    data, read = decoders()[name]
    tracemalloc.start()
    try:
        for at in range(len(data) - 8 if len(data) < 600 else 600):
            with pytest.raises(ProtocolError):
                read(data[:at] + b"\xff" * 8 + data[at + 8 :])
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
