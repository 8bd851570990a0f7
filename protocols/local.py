"""All parties of a run in one process: what `conduct` needs to deliver a message to any of them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from protocols.codec import Kind, read_frame
from protocols.enrolment import Enrolled
from protocols.errors import ProtocolError
from protocols.identity import Address
from protocols.roles.client import Client, ClientRound


class LocalParties:
    """Delivers messages to a run's clients and decryptors.

    values: by client, its vector in the round to come, (length,) int64. refusals: by party, the last error it raised.
    """

    def __init__(self, enrolled: Enrolled, *, min_survivors: int = 1) -> None:
        """min_survivors: every client's own floor."""
        self._decryptors = enrolled.decryptors
        self._clients: dict[int, Client] = {
            number: enrolled.client(number, min_survivors=min_survivors) for number in enrolled.client_identities
        }
        self._rounds: dict[int, ClientRound] = {}
        self.values: Mapping[int, NDArray[np.int64]] = {}
        self.refusals: dict[Address, ProtocolError] = {}

    def __call__(self, to: Address, message: bytes) -> bytes | None:
        """The party's answer, or None if it refuses."""
        try:
            if to.role == "decryptor":
                return self._decryptors[to.number].answer(message)
            if read_frame(message).header.kind is Kind.BROADCAST:
                self._rounds[to.number] = self._clients[to.number].join(message)
            joined = self._rounds[to.number]
            if joined.uploads_next:
                joined.provide(self.values[to.number])
            return joined.answer(message)
        except ProtocolError as refusal:
            self.refusals[to] = refusal
            return None
