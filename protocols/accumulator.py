"""A running sum of packed residues: one array for what came so far, one for what is being added."""

import numpy as np
from numpy.typing import NDArray

from protocols.packing import Streams


class Accumulator:
    """Adds bodies as they arrive. upload, total: the layouts of a body and of the sum, the same number of residues."""

    def __init__(self, upload: Streams, total: Streams) -> None:
        self._upload, self._layout = upload, total
        self.total: NDArray[np.uint64] = total.zeros()
        self._scratch = upload.zeros()

    def add(self, body: memoryview | bytes, *, what: str) -> None:
        """Add one body; a refused one changes nothing. Raises WrongLengthError, ResidueError, LeftoverError."""
        self._upload.unpack(body, self._scratch, what=what)
        self._layout.add(self.total, self._scratch)

    def remove(self, body: memoryview | bytes, *, what: str) -> None:
        """Take a body out again that was added before. Raises what `add` raises."""
        self._upload.unpack(body, self._scratch, what=what)
        for row, modulus in zip(self._scratch, self._layout.moduli, strict=True):
            np.subtract(np.uint64(modulus), row, out=row, where=row != 0)
        self._layout.add(self.total, self._scratch)

    def pack(self) -> bytes:
        """The sum, in the total's layout."""
        return self._layout.pack(self.total)
