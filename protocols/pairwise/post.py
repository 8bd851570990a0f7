"""What neighbours send each other through the server: one entry for each, handed out once all have sent theirs."""

import numpy as np
from numpy.typing import NDArray


class Post:
    """Entries of `size` bytes from each client to each of its neighbours.

    They are kept as they come, by sender, and sorted by recipient all at once: doing it entry by entry would wait for
    memory each time.
    """

    def __init__(self, places: NDArray[np.int64], mirror: NDArray[np.int64], size: int) -> None:
        """places (n, k): neighbours of each client by place; mirror (k,): see `Graph`."""
        self._places, self._mirror = places, mirror
        self._sent = np.zeros((*places.shape, size), np.uint8)

    def __repr__(self) -> str:
        return f"Post{self._sent.shape}"

    def put(self, sender: int, to: NDArray[np.bool_], entries: memoryview) -> None:
        """One entry of the sender's for each of its neighbours in `to`, (k,) bool by place, one after the other."""
        self._sent[sender][to] = np.frombuffer(entries, np.uint8).reshape(-1, self._sent.shape[2])

    def delivered(self) -> NDArray[np.uint8]:
        """(n, k, size): by recipient, and the place that the sender has with it. Nothing is kept here."""
        sorted_ = self._sent[self._places, self._mirror]
        self._sent = self._sent[:0]
        return sorted_
