"""The public facts of a run's sums, which every party is made from.

Bytes, little-endian: magic "srsu", version u8, protocol u8, run id length u8, roster length u32, public keys length
u32; then the specification of the sum, 32; the run id; the signed roster; the protocol's public keys; the enrolment
key's signature, 64, over all before it.

Were it not signed, whoever hands setups out could name a weaker protocol, or none. Its digest is in every frame, so
parties who hold different ones do not understand each other, and each party has its own floor for the survivors.
"""

import struct
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

from protocols.errors import SetupError, SignatureError, WrongProtocolError
from protocols.identity import SIGNATURE_BYTES, EnrolmentKey, verify_enrolment
from protocols.registry import PROTOCOLS, name_of
from protocols.roster import Roster
from protocols.spec import ENCODED_BYTES, SumSpec
from protocols.transcript import digest, tag

_MAGIC = b"srsu"
_VERSION = 2
_LABEL = "setup signature"
_HEADER = struct.Struct("<4sBBBII")


@dataclass(frozen=True)
class Setup:
    """protocol: a name in PROTOCOLS. run_id: 1 to 255 bytes. roster: signed bytes. public_keys: what the protocol's
    decryptors publish. signature: the enrolment key's, zeros before `signed`. Raises SetupError, WrongProtocolError.
    """

    protocol: str
    spec: SumSpec
    run_id: bytes
    roster: bytes = field(repr=False)
    public_keys: bytes = field(default=b"", repr=False)
    signature: bytes = field(default=bytes(SIGNATURE_BYTES), repr=False)

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise WrongProtocolError(f"There is no protocol {self.protocol!r}; choose one of {', '.join(PROTOCOLS)}.")
        if not 1 <= len(self.run_id) <= 255:
            raise SetupError(f"A run id has 1 to 255 bytes, not {len(self.run_id)}.")

    @property
    def number(self) -> int:
        """The protocol's number in frames."""
        return PROTOCOLS[self.protocol].number

    @cached_property
    def run_tag(self) -> bytes:
        """16 bytes that name the run in frames."""
        return tag("run", self.run_id)

    @cached_property
    def digest(self) -> bytes:
        """32 bytes that differ for different setups."""
        return digest("setup", self.to_bytes())

    def to_bytes(self) -> bytes:
        """The same bytes for equal setups."""
        return self._body + self.signature

    @cached_property
    def _body(self) -> bytes:
        header = _HEADER.pack(_MAGIC, _VERSION, self.number, len(self.run_id), len(self.roster), len(self.public_keys))
        return b"".join((header, self.spec.encode(), self.run_id, self.roster, self.public_keys))

    def signed(self, enrolment: EnrolmentKey) -> "Setup":
        """The same with the enrolment key's signature."""
        return replace(self, signature=enrolment.sign(_LABEL, self._body))

    @staticmethod
    def from_bytes(data: bytes) -> "Setup":
        """Inverse of `to_bytes`. Raises SetupError, WrongProtocolError, SpecError."""
        return _from_bytes(bytes(data))

    def verify(self, enrolment_public: bytes) -> Roster:
        """The roster, if the enrolment key signed it and this setup. Raises RosterError, SetupError."""
        return _verify(self, bytes(enrolment_public))


# Hundreds of clients in one process are made from the same bytes.
@lru_cache(maxsize=8)
def _verify(setup: Setup, enrolment_public: bytes) -> Roster:
    roster = Roster.verify(setup.roster, enrolment_public)
    try:
        verify_enrolment(enrolment_public, setup.signature, _LABEL, setup._body)
    except SignatureError:
        raise SetupError(
            "The setup is not signed by the pinned enrolment key: its protocol or specification may be forged."
        ) from None
    return roster


@lru_cache(maxsize=8)
def _from_bytes(data: bytes) -> Setup:
    if len(data) < _HEADER.size + ENCODED_BYTES or data[:4] != _MAGIC:
        raise SetupError("These bytes are no setup of a secure sum.")
    _, version, number, run_bytes, roster_bytes, key_bytes = _HEADER.unpack_from(data)
    if version != _VERSION:
        raise SetupError(f"The setup is of version {version}; this program reads version {_VERSION}.")
    run_at = _HEADER.size + ENCODED_BYTES
    roster_at = run_at + run_bytes
    keys_at = roster_at + roster_bytes
    signature_at = keys_at + key_bytes
    if len(data) != signature_at + SIGNATURE_BYTES:
        raise SetupError(f"The setup has {len(data)} bytes; its header says {signature_at + SIGNATURE_BYTES}.")
    spec = SumSpec.decode(data[_HEADER.size : run_at])
    return Setup(
        name_of(number),
        spec,
        data[run_at:roster_at],
        data[roster_at:keys_at],
        data[keys_at:signature_at],
        data[signature_at:],
    )
