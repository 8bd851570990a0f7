"""Everything for a run whose parties are all in one process: simulations, experiments, tests.

In a deployment each party makes its own identity and shows only its public part to whoever holds the enrolment key.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from protocols import parties
from protocols.errors import RosterError, WrongProtocolError
from protocols.identity import EnrolmentKey, Identity
from protocols.registry import PROTOCOLS, load
from protocols.roles.client import Client
from protocols.roles.decryptor import Decryptor
from protocols.roles.server import Server
from protocols.roster import Roster
from protocols.setup import Setup
from protocols.spec import SumSpec


@dataclass(frozen=True)
class Enrolled:
    """A run's setup, the pinned enrolment key, and the private keys of all parties, which no repr shows.

    decryptors: by number, each with its own record of answered rounds in memory.
    """

    setup: bytes = field(repr=False)
    enrolment: EnrolmentKey
    server_identity: Identity
    client_identities: dict[int, Identity] = field(repr=False)
    decryptors: dict[int, Decryptor] = field(repr=False)

    @property
    def protocol(self) -> str:
        return Setup.from_bytes(self.setup).protocol

    def server(self) -> Server:
        """The server's role."""
        return parties.server(self.setup, self.server_identity, self.enrolment.public)

    def client(self, number: int, *, min_survivors: int = 1) -> Client:
        """A client's role. Each call makes one that has taken part in no round yet."""
        identity = self.client_identities[number]
        return parties.client(self.setup, identity, self.enrolment.public, min_survivors=min_survivors)


def enrol(
    protocol: str,
    spec: SumSpec,
    *,
    run_id: bytes,
    client_ids: Collection[int],
    members: int = 7,
    threshold: int = 5,
    tolerated: int = 2,
    options: bytes = b"",
) -> Enrolled:
    """New identities and keys, from the operating system's randomness, for every party of a run.

    members, threshold, tolerated: of the committee; without meaning for protocols that have none. options: what a
    protocol without decryptors reads from the setup's public keys, such as `pairwise.graph.Tolerance.encode()`. Raises
    WrongProtocolError, RosterError, SetupError, SpecError.
    """
    if protocol not in PROTOCOLS:
        raise WrongProtocolError(f"There is no protocol {protocol!r}; choose one of {', '.join(PROTOCOLS)}.")
    entry = PROTOCOLS[protocol]
    if len(set(client_ids)) != len(client_ids):
        raise RosterError("A client cannot be enrolled twice.")
    if not entry.committee:
        members, threshold, tolerated = (1, 1, 0) if entry.decryptor else (0, 0, 0)
    enrolment = EnrolmentKey.generate()
    server = Identity.generate("server", 0)
    clients = {number: Identity.generate("client", number) for number in sorted(client_ids)}
    holders = {number: Identity.generate("decryptor", number) for number in range(members)}
    roster = Roster(
        server.public,
        tuple(identity.public for identity in clients.values()),
        tuple(identity.public for identity in holders.values()),
        threshold,
        tolerated,
    )
    decryptor_class: type[Decryptor] | None = load(entry.decryptor) if entry.decryptor else None
    published, keys = options if decryptor_class is None else b"", {}
    if decryptor_class is not None:
        for number, identity in holders.items():
            public, keys[number] = decryptor_class.new_key(spec, run_id=run_id, roster=roster, identity=identity)
            published += public
    setup = Setup(protocol, spec, run_id, roster.sign(enrolment), published).signed(enrolment).to_bytes()
    decryptors: dict[int, Decryptor] = {}
    if decryptor_class is not None:
        for number, identity in holders.items():
            decryptors[number] = decryptor_class(setup, identity, enrolment.public, answered={}, key=keys[number])
    return Enrolled(setup, enrolment, server, clients, decryptors)
