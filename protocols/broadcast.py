"""The message that opens a round, the same bytes for everybody. What answers it carries its digest.

Body: digest of what the server sends along (the item table) 32, minimum number of survivors u32, nonce 32. The nonce
is a digest of a secret, so that the server can show later that it drew the secret before anybody answered.
"""

import hashlib
import struct
from dataclasses import dataclass

from protocols.codec import FRAME_BYTES, Kind
from protocols.errors import TooFewClientsError, WrongLengthError
from protocols.session import Session
from protocols.transcript import DIGEST_BYTES, digest

_BODY = struct.Struct("<32sI32s")
NONCE_BYTES = 32
SECRET_BYTES = 32
BROADCAST_BYTES = FRAME_BYTES[Kind.BROADCAST] + _BODY.size


def nonce_of(secret: bytes) -> bytes:
    """NONCE_BYTES bytes that commit to a round's secret, SECRET_BYTES random bytes. Raises WrongLengthError."""
    if len(secret) != SECRET_BYTES:
        raise WrongLengthError(f"The secret of a round has {SECRET_BYTES} bytes, not {len(secret)}.")
    return digest("round nonce", secret)


@dataclass(frozen=True)
class Broadcast:
    """A broadcast whose signature and place in the run were checked. data: its bytes; digest: their SHA-256."""

    round_number: int
    context: bytes
    min_survivors: int
    nonce: bytes
    data: bytes
    digest: bytes

    @classmethod
    def make(
        cls, session: Session, *, round_number: int, context: bytes, min_survivors: int, nonce: bytes
    ) -> "Broadcast":
        """The server's broadcast. context: 32 bytes. nonce: 32 fresh random bytes.

        Raises WrongLengthError, TooFewClientsError, FrameError (a round that no frame holds).
        """
        if len(context) != DIGEST_BYTES or len(nonce) != NONCE_BYTES:
            raise WrongLengthError(f"A broadcast's context and nonce have {DIGEST_BYTES} bytes each.")
        spec = session.setup.spec
        if not spec.min_clients <= min_survivors <= spec.max_clients:
            raise TooFewClientsError(
                f"A round needs from {spec.min_clients} to {spec.max_clients} survivors, not {min_survivors}."
            )
        body = _BODY.pack(context, min_survivors, nonce)
        data = session.write(Kind.BROADCAST, None, body, round_number=round_number)
        return cls(round_number, context, min_survivors, nonce, data, hashlib.sha256(data).digest())

    @classmethod
    def read(
        cls, session: Session, data: bytes | memoryview, *, floor: int, round_number: int | None = None
    ) -> "Broadcast":
        """A broadcast of this run's server, for this round unless that is None.

        floor: the fewest survivors that the reader accepts. Raises what `Session.read` raises, WrongLengthError,
        SignatureError, TooFewClientsError.
        """
        frame = session.read(data, kinds=(Kind.BROADCAST,), sender_role="server", round_number=round_number)
        if len(frame.body) != _BODY.size:
            raise WrongLengthError(f"{frame} has a body of {len(frame.body)} bytes; {_BODY.size} were expected.")
        session.authenticate(frame)
        context, min_survivors, nonce = _BODY.unpack(frame.body)
        floor = max(floor, session.setup.spec.min_clients)
        if min_survivors < floor:
            raise TooFewClientsError(
                f"{frame} would open a sum of {min_survivors} clients; {session.me} takes part in sums of at least "
                f"{floor}."
            )
        if min_survivors > session.setup.spec.max_clients:
            raise TooFewClientsError(f"{frame} asks for more survivors than the sum was sized for.")
        data = bytes(data)
        return cls(frame.header.round_number, context, min_survivors, nonce, data, hashlib.sha256(data).digest())
