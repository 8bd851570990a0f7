"""The protocols there are, their numbers in frames, and where their roles are; imported only when one is played."""

from importlib import import_module
from typing import Any, NamedTuple

from protocols.errors import WrongProtocolError


class Protocol(NamedTuple):
    """number: in frames, never used again. server, client, decryptor: "module:Class", subclasses of the roles' base
    classes. decryptor: None where there are none. committee: whether there may be more than one.
    """

    number: int
    server: str
    client: str
    decryptor: str | None = None
    committee: bool = False


PROTOCOLS: dict[str, Protocol] = {
    "plain": Protocol(1, "protocols.plain:PlainServer", "protocols.plain:PlainClient"),
    "ckks": Protocol(
        2,
        "protocols.ckks.server:CkksServer",
        "protocols.ckks.client:CkksClient",
        "protocols.ckks.decryptor:CkksDecryptor",
    ),
    "pairwise": Protocol(3, "protocols.pairwise.server:PairwiseServer", "protocols.pairwise.client:PairwiseClient"),
    "ckks-committee": Protocol(
        4,
        "protocols.committee.server:CommitteeServer",
        "protocols.committee.client:CommitteeClient",
        "protocols.committee.member:Member",
        committee=True,
    ),
}
"""By name. A new protocol is a new entry."""


def name_of(number: int) -> str:
    """The name of the protocol of this number. Raises WrongProtocolError."""
    for name, protocol in PROTOCOLS.items():
        if protocol.number == number:
            return name
    raise WrongProtocolError(f"Protocol number {number} is not one that this program knows.")


def load(place: str) -> Any:
    """The class at "module:Class"."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
