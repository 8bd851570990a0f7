"""A party's role from the setup and its own identity, whatever the protocol."""

from collections.abc import MutableMapping
from typing import Any

from protocols.errors import RosterError, WrongProtocolError
from protocols.identity import Identity
from protocols.registry import PROTOCOLS, Protocol, load
from protocols.roles.client import Client
from protocols.roles.decryptor import Decryptor
from protocols.roles.server import Server
from protocols.setup import Setup
from protocols.spec import SumSpec


def server(setup: bytes, identity: Identity, enrolment_public: bytes) -> Server:
    """The server's role. enrolment_public: the pinned key. Raises what `Session` raises."""
    made: Server = load(_of(setup).server)(setup, identity, enrolment_public)
    return made


def client(
    setup: bytes,
    identity: Identity,
    enrolment_public: bytes,
    *,
    min_survivors: int,
    answered: MutableMapping[int, bytes] | None = None,
) -> Client:
    """A client's role; see `Client`. Raises what the protocol's client raises."""
    made: Client = load(_of(setup).client)(
        setup, identity, enrolment_public, min_survivors=min_survivors, answered=answered
    )
    return made


def decryptor(
    setup: bytes,
    identity: Identity,
    enrolment_public: bytes,
    *,
    answered: MutableMapping[int, bytes],
    min_survivors: int = 1,
    key: Any = None,
) -> Decryptor[Any]:
    """A decryptor's role; see `Decryptor`. Raises what the protocol's decryptor raises; RosterError if it has none."""
    place = _of(setup).decryptor
    if place is None:
        raise RosterError(f"The protocol {Setup.from_bytes(setup).protocol} has no decryptors.")
    made: Decryptor[Any] = load(place)(
        setup, identity, enrolment_public, answered=answered, min_survivors=min_survivors, key=key
    )
    return made


def check(protocol: str, spec: SumSpec, *, members: int = 7, threshold: int = 5) -> str:
    """The name of the parameters with which a protocol carries a sum; nothing is made.

    members, threshold: of the committee; without meaning for protocols that have none. Raises WrongProtocolError,
    SpecError.
    """
    if protocol not in PROTOCOLS:
        raise WrongProtocolError(f"There is no protocol {protocol!r}; choose one of {', '.join(PROTOCOLS)}.")
    entry = PROTOCOLS[protocol]
    if not entry.committee:
        members, threshold = (1, 1) if entry.decryptor else (0, 0)
    server_class: type[Server] = load(entry.server)
    return server_class.parameters_for(spec, members=members, threshold=threshold)


def _of(setup: bytes) -> Protocol:
    return PROTOCOLS[Setup.from_bytes(setup).protocol]
