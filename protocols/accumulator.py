"""A running sum of packed residues, the only array that it takes: bodies are added as they lie in their messages."""

import numpy as np
from numpy.typing import NDArray

from protocols.packing import Streams


class Accumulator:
    """Adds bodies as they arrive. upload, total: the layouts of a body and of the sum, the same number of residues."""

    def __init__(self, upload: Streams, total: Streams) -> None:
        self._upload, self._layout = upload, total
        self.total: NDArray[np.uint64] = total.zeros()

    def add(self, body: memoryview | bytes, *, what: str) -> None:
        """Add one body; a refused one changes nothing. Raises WrongLengthError, ResidueError, LeftoverError."""
        self._upload.add_packed(self.total, body, self._layout.moduli, what=what)

    def remove(self, body: memoryview | bytes, *, what: str) -> None:
        """Take a body out again that was added before. Raises what `add` raises."""
        self._upload.take_packed(self.total, body, self._layout.moduli, what=what)

    def pack(self) -> bytes:
        """The sum, in the total's layout."""
        return self._layout.pack(self.total)
