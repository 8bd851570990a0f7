"""The sum that any protocol would open, added up in this process: no messages, the same integers."""

from securerec.federation.devices import Quantiser, own_label
from securerec.federation.summing import OpenedSum, SecureSum, clear_sum
from securerec.models.pfedrec import ScoreFunctions
from securerec.privacy.randomness import KeyStream, NoiseKey
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

        def stream_of(client: int) -> KeyStream:
            return self._noise_key.stream(own_label(self.label, updates.of(client)), round_number, client)

        return clear_sum(self.quantiser, updates, self._cohort, stream_of, record=record)
