"""Drives a round with every party at hand: a simulation, a test, or a transport that delivers and waits."""

from collections.abc import Callable
from contextlib import suppress

from protocols.errors import ProtocolError
from protocols.identity import Address
from protocols.roles.server import OpenedSum, ServerRound


def conduct(server_round: ServerRound, deliver: Callable[[Address, bytes], bytes | None]) -> OpenedSum:
    """Deliver each phase's messages, hand the answers to the round, until it is done.

    deliver: gives a message to a party and returns its answer; None for a party that is gone or refuses. An answer
    that the round refuses is noted in the result's complaints, and the round goes on without it. Raises RoundAborted.
    """
    while not server_round.done:
        for to, message in server_round.outbox().items():
            answer = deliver(to, message)
            if answer is None:
                continue
            # Refusals are the round's own to note.
            with suppress(ProtocolError):
                server_round.receive(answer)
        server_round.close_phase()
    return server_round.result
