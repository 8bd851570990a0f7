"""What a decryptor is shown before it opens a sum: the broadcast, and for each survivor the digest and signature of its
upload. All signatures cover the broadcast's digest, so all survivors saw the same table.

Bytes, little-endian: the broadcast, 253; number of survivors u32; for each, by rising id: id u64, SHA-256 of the
upload's body 32, signature 64.

What it does not prove: that the sum asked for is the sum of these uploads. Only a protocol whose decryptor works on
material bound to each upload (`ckks-committee`) has that.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from protocols.broadcast import BROADCAST_BYTES, Broadcast
from protocols.codec import Kind
from protocols.errors import (
    DuplicateError,
    FrameError,
    SignatureError,
    TooFewClientsError,
    TooManyClientsError,
    WrongBroadcastError,
    WrongLengthError,
)
from protocols.identity import Address
from protocols.session import Session

_COUNT = struct.Struct("<I")
_ENTRY = struct.Struct("<Q32s64s")
ENTRY_BYTES = _ENTRY.size


@dataclass(frozen=True, slots=True)
class UploadRecord:
    """All that is kept of an upload once it is in the sum. body_digest: as its client states and signs it."""

    body_digest: bytes
    signature: bytes


@dataclass(frozen=True)
class Manifest:
    """uploads: by client id, in rising order."""

    broadcast: Broadcast
    uploads: Mapping[int, UploadRecord]

    @cached_property
    def survivors(self) -> frozenset[int]:
        return frozenset(self.uploads)

    def to_bytes(self) -> bytes:
        """The same bytes for equal manifests."""
        entries = (_ENTRY.pack(i, r.body_digest, r.signature) for i, r in sorted(self.uploads.items()))
        return b"".join((self.broadcast.data, _COUNT.pack(len(self.uploads)), *entries))

    @classmethod
    def read(
        cls, session: Session, data: memoryview, *, what: str, round_number: int, broadcast: bytes, floor: int
    ) -> tuple["Manifest", memoryview]:
        """(manifest, the bytes that follow it). Signatures of uploads are left to `check_signatures`.

        broadcast: the digest that the manifest's broadcast must have; floor: the reader's own fewest survivors.
        Raises what `Broadcast.read` raises; WrongBroadcastError, WrongLengthError, TooFewClientsError,
        TooManyClientsError, DuplicateError, FrameError, UnknownSenderError.
        """
        at = BROADCAST_BYTES + _COUNT.size
        if len(data) < at:
            raise WrongLengthError(f"{what} is too short to hold a manifest.")
        opened = Broadcast.read(session, data[:BROADCAST_BYTES], floor=floor, round_number=round_number)
        if opened.digest != broadcast:
            raise WrongBroadcastError(f"{what} shows another broadcast than the one it names.")
        (count,) = _COUNT.unpack_from(data, BROADCAST_BYTES)
        spec = session.setup.spec
        if count < opened.min_survivors:
            raise TooFewClientsError(f"{what} names {count} survivors; its broadcast promised {opened.min_survivors}.")
        if count > spec.max_clients:
            raise TooManyClientsError(f"{what} names {count} survivors; the sum was sized for {spec.max_clients}.")
        end = at + count * ENTRY_BYTES
        if len(data) < end:
            raise WrongLengthError(f"{what} ends within its manifest.")
        uploads: dict[int, UploadRecord] = {}
        digests: dict[bytes, int] = {}
        last = -1
        for client, body_digest, signature in _ENTRY.iter_unpack(data[at:end]):
            if client == last:
                raise DuplicateError(f"{what} counts client {client} twice.")
            if client < last:
                raise FrameError(f"{what} does not list its survivors in rising order.")
            session.identity_of(Address("client", client), what)
            if body_digest in digests:
                raise DuplicateError(f"{what} counts one upload for clients {digests[body_digest]} and {client}.")
            digests[body_digest] = last = client
            uploads[client] = UploadRecord(body_digest, signature)
        return cls(opened, uploads), data[end:]

    def check_signatures(self, session: Session, *, body_bytes: int, what: str) -> None:
        """Raise SignatureError unless each survivor signed its upload, of `body_bytes` bytes, for this broadcast."""
        for client, record in self.uploads.items():
            sender = Address("client", client)
            header = session.header(
                Kind.UPLOAD,
                sender,
                session.server,
                body_bytes,
                round_number=self.broadcast.round_number,
                broadcast=self.broadcast.digest,
            )
            try:
                header.check_signature(session.identity_of(sender, what), record.body_digest, record.signature)
            except SignatureError:
                raise SignatureError(f"{what} names an upload that client {client} did not sign.") from None
