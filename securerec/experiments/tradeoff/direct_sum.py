"""The sum that any protocol would open, added up in this process: no messages, the same integers."""

import time

import numpy as np
from numpy.typing import NDArray

from securerec.federation.devices import Quantiser
from securerec.federation.summing import OpenedSum, SecureSum
from securerec.models.pfedrec import ScoreFunctions
from securerec.privacy.mechanism import Mechanism
from securerec.privacy.randomness import NoiseKey
from securerec.training.cohort import Table
from securerec.training.updates import Updates


class DirectSum(SecureSum):
    """Stands in for `SecureSum` in sweeps, "as if summed securely": each client's upload, noise included, from the
    stream that its device would use, so the total is the same to the bit.
    """

    def __init__(self, quantiser: Quantiser, noise_key: NoiseKey, clients: int, label: str) -> None:
        self.quantiser, self._noise_key, self._cohort, self.label = quantiser, noise_key, clients, label

    def __call__(
        self, table: Table, updates: Updates, round_number: int, *, functions: ScoreFunctions | None = None,
        record: bool = False,
    ) -> OpenedSum:  # fmt: skip
        """The exact sum of all clients' privatised updates. record: keep each client's integers in the result."""
        clock = time.perf_counter()
        label = f"{self.label} {updates.digest()}"
        total = np.zeros(self.quantiser.dimension, np.int64)
        recorded: NDArray[np.int32] | None = None
        if record:
            recorded = np.empty((self._cohort, self.quantiser.dimension), np.int32)
        saturated = 0
        for client in range(self._cohort):
            rows, delta = updates.of(client)
            if not isinstance(self.quantiser, Mechanism):
                saturated += self.quantiser.saturated(delta)
            values = self.quantiser.privatise(rows, delta, self._noise_key.stream(label, round_number, client))
            total += values
            if recorded is not None:
                recorded[client] = values
        seconds = {"privatise": time.perf_counter() - clock}
        return OpenedSum(total, self._cohort, None, saturated, seconds, recorded)
