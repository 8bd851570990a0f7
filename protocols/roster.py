"""Who takes part in a run, signed by an enrolment key that the server does not hold.

Bytes, little-endian: magic "srro", version u8, threshold u16, tolerated u16, clients u32, decryptors u16; then the
server, the clients and the decryptors, each number u64, signing key 32, box key 32, numbers rising within a role; then
the enrolment key's signature, 64, over all before it.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from types import MappingProxyType

from protocols.errors import RosterError, SignatureError
from protocols.identity import SIGNATURE_BYTES, Address, EnrolmentKey, PublicIdentity, Role, verify_enrolment
from protocols.transcript import digest

_MAGIC = b"srro"
_VERSION = 1
_LABEL = "roster"
_HEADER = struct.Struct("<4sBHHIH")
_PARTY = struct.Struct("<Q32s32s")
MAX_CLIENTS = 1 << 20
MAX_DECRYPTORS = 1 << 10


@dataclass(frozen=True)
class Roster:
    """All parties of a run. threshold: decryptors needed to open; tolerated: decryptors that may be corrupt.

    For n decryptors threshold > (n + tolerated) / 2, so that two sets of that size share an honest one, who answers
    for one survivor set a round. Both are 0 where there are none. Raises RosterError for anything else, for numbers
    that do not rise, and for keys that appear twice.
    """

    server: PublicIdentity
    clients: tuple[PublicIdentity, ...]
    decryptors: tuple[PublicIdentity, ...] = ()
    threshold: int = 0
    tolerated: int = 0

    def __post_init__(self) -> None:
        if not 1 <= len(self.clients) <= MAX_CLIENTS or len(self.decryptors) > MAX_DECRYPTORS:
            raise RosterError(f"A roster names 1 to {MAX_CLIENTS} clients and up to {MAX_DECRYPTORS} decryptors.")
        for role, parties in (("server", (self.server,)), ("client", self.clients), ("decryptor", self.decryptors)):
            if any(party.role != role for party in parties):
                raise RosterError(f"A roster lists a party as {role} whose identity is of another role.")
            for earlier, later in pairwise(parties):
                if earlier.number == later.number:
                    raise RosterError(f"The roster names {later.address} twice.")
                if earlier.number > later.number:
                    raise RosterError(f"The roster does not list {role}s by rising number.")
        seen: dict[bytes, Address] = {}
        for party in self:
            for key in (party.signing, party.box):
                if key in seen:
                    raise RosterError(f"A key of {party.address} is also one of {seen[key]}.")
                seen[key] = party.address
        n, t, f = len(self.decryptors), self.threshold, self.tolerated
        if (n == 0 and (t, f) != (0, 0)) or (n > 0 and not (0 <= f < t <= n and 2 * t > n + f)):
            raise RosterError(
                f"{t} of {n} decryptors with {f} corrupt is no safe committee: the threshold must be more than half of "
                f"decryptors and corrupt ones together ({(n + f) / 2:g}), and at most {n}."
            )

    def __iter__(self) -> Iterator[PublicIdentity]:
        yield self.server
        yield from self.clients
        yield from self.decryptors

    def __repr__(self) -> str:
        return f"Roster({len(self.clients)} clients, {self.threshold} of {len(self.decryptors)} decryptors)"

    @cached_property
    def parties(self) -> MappingProxyType[Address, PublicIdentity]:
        """All parties by address."""
        return MappingProxyType({party.address: party for party in self})

    def of(self, role: Role, number: int) -> PublicIdentity | None:
        """The party of this role and number, if the roster names it."""
        return self.parties.get(Address(role, number))

    @cached_property
    def digest(self) -> bytes:
        """32 bytes that differ for different rosters."""
        return digest("roster digest", self._body)

    @cached_property
    def _body(self) -> bytes:
        counts = len(self.clients), len(self.decryptors)
        header = _HEADER.pack(_MAGIC, _VERSION, self.threshold, self.tolerated, *counts)
        return header + b"".join(_PARTY.pack(party.number, party.signing, party.box) for party in self)

    def sign(self, enrolment: EnrolmentKey) -> bytes:
        """The roster's bytes with the enrolment key's signature."""
        return self._body + enrolment.sign(_LABEL, self._body)

    @staticmethod
    def verify(data: bytes, enrolment_public: bytes) -> "Roster":
        """The roster in these bytes, if the enrolment key signed them. Raises RosterError."""
        return _verify(bytes(data), bytes(enrolment_public))


# Hundreds of clients in one process hold the same roster: it is checked once, and its loaded keys are shared.
@lru_cache(maxsize=8)
def _verify(data: bytes, enrolment_public: bytes) -> Roster:
    if len(data) < _HEADER.size or data[:4] != _MAGIC:
        raise RosterError("These bytes are no roster.")
    _, version, threshold, tolerated, n_clients, n_decryptors = _HEADER.unpack_from(data)
    if version != _VERSION:
        raise RosterError(f"The roster is of version {version}; this program reads version {_VERSION}.")
    expected = _HEADER.size + (1 + n_clients + n_decryptors) * _PARTY.size + SIGNATURE_BYTES
    if len(data) != expected:
        raise RosterError(f"The roster has {len(data)} bytes; its header says {expected}.")
    body = data[:-SIGNATURE_BYTES]
    try:
        verify_enrolment(enrolment_public, data[-SIGNATURE_BYTES:], _LABEL, body)
    except SignatureError:
        raise RosterError("The roster is not signed by the pinned enrolment key.") from None
    roles: tuple[Role, ...] = ("server",) + ("client",) * n_clients + ("decryptor",) * n_decryptors
    entries = _PARTY.iter_unpack(body[_HEADER.size :])
    parties = [PublicIdentity(role, *entry) for role, entry in zip(roles, entries, strict=True)]
    split = 1 + n_clients
    return Roster(parties[0], tuple(parties[1:split]), tuple(parties[split:]), threshold, tolerated)
