"""The paper's local differential privacy, as an experiment: Laplace noise of a fixed strength on every value uploaded.

"Dual Personalization on Federated Recommendation", IJCAI 2023, adds Laplace(0, strength) to the item embeddings that a
client uploads. Nothing is clipped, so one user can move the upload without bound, and no finite epsilon holds.
"""

import numpy as np

from securerec.federation.summing import OpenedSum
from securerec.models.pfedrec import ScoreFunctions
from securerec.training.updates import Table, Updates


class LaplaceSum:
    """Sums updates in the clear, each with noise of its own. The noise comes from a seed: for experiments only."""

    scale = float(1 << 16)
    """Uploads are rounded to this many steps a unit, far below the noise."""

    def __init__(self, strength: float, seed: int, n_clients: int) -> None:
        """strength: the Laplace distribution's scale, in units of the item table."""
        self.strength, self._seed, self._n_clients = strength, seed, n_clients

    def __call__(
        self, table: Table, updates: Updates, round_number: int, *, functions: ScoreFunctions | None = None,
        record: bool = False,
    ) -> OpenedSum:  # fmt: skip
        rng, n = np.random.default_rng([self._seed, round_number]), self._n_clients
        if record:
            return self._recorded(table, updates, rng)
        total = np.zeros(table.shape)
        for client in range(n):
            rows, delta = updates.of(client)
            total[rows] += delta
        # A Laplace variable is sqrt(2 E) times a normal one, E exponential; so a sum of n is sqrt(2 G) times a normal
        # one, G the sum of n exponentials, which is Gamma(n).
        total += self.strength * np.sqrt(2 * rng.gamma(n, size=total.shape)) * rng.normal(size=total.shape)
        return OpenedSum(np.rint(total * self.scale).astype(np.int64).ravel(), n, None)

    def _recorded(self, table: Table, updates: Updates, rng: np.random.Generator) -> OpenedSum:
        n = self._n_clients
        recorded = np.empty((n, table.size), np.int32)
        for client in range(n):
            rows, delta = updates.of(client)
            upload = rng.laplace(0, self.strength, table.shape)
            upload[rows] += delta
            recorded[client] = np.rint(upload.ravel() * self.scale)
        return OpenedSum(recorded.sum(axis=0, dtype=np.int64), n, None, recorded=recorded)
