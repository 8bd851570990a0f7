"""Secure sums of integer vectors over a cohort, as roles that exchange bytes.

    key = decryptor("ckks", SumSpec(length=1000, max_clients=50, min_clients=10, value_bound=100), run_id=b"demo")
    upload = client(key.bundle()).protect(values, round_number=0, client_id=7)
    collector = server(key.bundle(), round_number=0)
    collector.add(upload)
    total = key.open(collector.aggregate())

Every protocol returns the integers that a plain sum would give, or refuses with a `ProtocolError` that says why.
"""

from importlib import import_module
from typing import Any, NamedTuple

from protocols.codec import Session, read_bundle, tag
from protocols.errors import ProtocolError, SpecError, WrongProtocolError
from protocols.roles.client import Client
from protocols.roles.decryptor import Decryptor
from protocols.roles.server import Server
from protocols.spec import SumSpec

__all__ = ["PROTOCOLS", "Client", "Decryptor", "ProtocolError", "Server", "SumSpec", "client", "decryptor", "server"]


class _Protocol(NamedTuple):
    """A protocol's number in frames, and where its three roles are made; imported only when that role is played."""

    number: int
    client: str
    server: str
    decryptor: str


PROTOCOLS: dict[str, _Protocol] = {
    "plain": _Protocol(
        1,
        client="protocols.plain:PlainClient.from_bundle",
        server="protocols.plain:server_from_bundle",
        decryptor="protocols.plain:PlainDecryptor.create",
    ),
    "ckks": _Protocol(
        2,
        client="protocols.ckks.client:CkksClient.from_bundle",
        server="protocols.ckks.server:server_from_bundle",
        decryptor="protocols.ckks.decryptor:CkksDecryptor.create",
    ),
}
"""By name. A new protocol is a new line: its server is `Server` over its own moduli, or a class with those methods."""


def decryptor(name: str, spec: SumSpec, *, run_id: bytes) -> Decryptor:
    """A decryptor with a new key from the operating system's randomness. run_id: 1 to 255 bytes that name the run.

    Raises WrongProtocolError for an unknown name, SpecError where no parameter set carries the sum.
    """
    if name not in PROTOCOLS:
        raise WrongProtocolError(f"There is no protocol {name!r}; choose one of {', '.join(PROTOCOLS)}.")
    if not 1 <= len(run_id) <= 255:
        raise SpecError(f"A run id has 1 to 255 bytes, not {len(run_id)}.")
    protocol = PROTOCOLS[name]
    made: Decryptor = _find(protocol.decryptor)(spec, protocol=protocol.number, run_tag=tag("run", run_id))
    return made


def client(bundle: bytes) -> Client:
    """The client's role, from a decryptor's bundle. Raises a ProtocolError where the bundle is malformed."""
    session, spec, public_key = read_bundle(bundle)
    made: Client = _find(_by_number(session).client)(spec, session, public_key)
    return made


def server(bundle: bytes, *, round_number: int) -> Server:
    """The server's role for one round, from a decryptor's bundle. Raises a ProtocolError where it is malformed."""
    session, spec, public_key = read_bundle(bundle)
    made: Server = _find(_by_number(session).server)(spec, session, public_key, round_number=round_number)
    return made


def _by_number(session: Session) -> _Protocol:
    for protocol in PROTOCOLS.values():
        if protocol.number == session.protocol:
            return protocol
    raise WrongProtocolError(f"The bundle names protocol number {session.protocol}, which this program does not know.")


def _find(place: str) -> Any:
    module, _, path = place.partition(":")
    found: Any = import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return found
