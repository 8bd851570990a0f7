"""The client's role, whatever the protocol: check the values, encode them, frame them."""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from protocols.codec import Kind, Session
from protocols.errors import ValuesError
from protocols.spec import SumSpec


class Client(ABC):
    """One party that contributes vectors. Holds nothing secret between calls."""

    def __init__(self, spec: SumSpec, session: Session) -> None:
        self.spec = spec
        self._session = session

    def protect(self, values: NDArray[np.int64], *, round_number: int, client_id: int) -> bytes:
        """The upload that carries `values`, (spec.length,) int64, noise already added.

        Raises ValuesError for another type or shape, or a value beyond spec.upload_bound: nothing is clamped here.
        """
        who = f"Client {client_id} in round {round_number}"
        if not isinstance(values, np.ndarray) or values.dtype != np.int64 or values.shape != (self.spec.length,):
            raise ValuesError(f"{who} must give an int64 array of shape ({self.spec.length},).")
        bound = self.spec.upload_bound
        if int(values.max()) > bound or int(values.min()) < -bound:
            raise ValuesError(f"{who} holds a value beyond {bound}, the bound that the sum was specified for.")
        body = self._encode(np.ascontiguousarray(values))
        return self._session.frame(Kind.UPLOAD, body, round_number=round_number, client_id=client_id)

    @abstractmethod
    def _encode(self, values: NDArray[np.int64]) -> bytes:
        """The body of an upload; `values` checked."""
