"""What server and clients have in common: the phases, and what the round's digests and tags cover."""

import numpy as np
from numpy.typing import NDArray

from protocols.broadcast import Broadcast
from protocols.codec import Kind
from protocols.pairwise.wire import write_bits
from protocols.roles.phase import Phase
from protocols.transcript import digest, transcript

PHASES = (
    Phase("advertise", "client", Kind.BROADCAST, Kind.ADVERTISE),
    Phase("share", "client", Kind.NEIGHBOURS, Kind.SHARE),
    Phase("upload", "client", Kind.MAILBOX, Kind.VECTOR),
    Phase("confirm", "client", Kind.SURVIVORS, Kind.CONFIRM),
    Phase("unmask", "client", Kind.CONFIRMED, Kind.UNMASK),
)

MASKED = transcript("pairwise masked with you")
"""The statement of an upload's tags."""


def round_digest(broadcast: Broadcast, advertised: NDArray[np.bool_], keys_root: bytes) -> bytes:
    """32 bytes that cover the broadcast, who advertised, and all their mask keys."""
    return digest("pairwise round", broadcast.digest, write_bits(advertised), keys_root)


def graph_seed(about: bytes) -> bytes:
    """32 bytes from the round's digest."""
    return digest("pairwise graph", about)


def confirmation(about: bytes, survivors: NDArray[np.bool_]) -> bytes:
    """The statement by which a client confirms the one survivor set that it has seen in this round."""
    return transcript("pairwise survivors", about, write_bits(survivors))
