"""What neighbours send each other through the server: one entry for each, handed out once all have sent theirs."""

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from protocols.pairwise.graph import Graph
from protocols.roles.server import Spool

_AT_ONCE = 64
"""Recipients for whom entries are sorted at a time."""


class Post:
    """Entries of `size` bytes from each client to each of its neighbours: `put`, then `sort`, then `delivered`.

    They wait in the spool, first as they came, by sender, then by recipient. Recipients who stand side by side on the
    graph's ring share most of their neighbours, so few senders' entries are in memory at a time.
    """

    def __init__(self, graph: Graph, size: int, spool: Spool, first: int) -> None:
        """first: the spool's numbers from here on, two for each client, belong to this object."""
        self._graph, self._spool = graph, spool
        self._from, self._to = first, first + graph.n_clients
        self._shape = len(graph.mirror), size

    def __repr__(self) -> str:
        return f"Post{self._shape}"

    def put(self, sender: int, to: NDArray[np.bool_], entries: memoryview) -> None:
        """One entry of the sender's for each of its neighbours in `to`, (k,) bool by place, one after the other."""
        degree, size = self._shape
        if len(entries) == degree * size:
            self._spool[self._from + sender] = bytes(entries)
            return
        rows = np.zeros(self._shape, np.uint8)
        rows[to] = np.frombuffer(entries, np.uint8).reshape(-1, size)
        self._spool[self._from + sender] = rows.tobytes()

    def sort(self) -> None:
        """Everybody has put what it had. Of those who put nothing, entries are zeros."""
        graph = self._graph
        for start in range(0, graph.n_clients, _AT_ONCE):
            recipients = graph.ring[start : start + _AT_ONCE]
            senders, places = np.unique(graph.neighbours(recipients), return_inverse=True)
            rows = np.zeros((len(senders), *self._shape), np.uint8)
            for row, sender in zip(rows, senders.tolist(), strict=True):
                with suppress(KeyError):
                    row[:] = np.frombuffer(self._spool[self._from + sender], np.uint8).reshape(self._shape)
            sorted_ = rows[places.reshape(len(recipients), -1), graph.mirror]
            for recipient, entries in zip(recipients.tolist(), sorted_, strict=True):
                self._spool[self._to + recipient] = entries.tobytes()
        self._drop(self._from)

    def delivered(self, recipient: int) -> NDArray[np.uint8]:
        """(k, size): by the place that the sender has with the recipient."""
        return np.frombuffer(self._spool[self._to + recipient], np.uint8).reshape(self._shape)

    def clear(self) -> None:
        """Nobody will be sent anything more."""
        self._drop(self._to)

    def _drop(self, first: int) -> None:
        for number in range(first, first + self._graph.n_clients):
            with suppress(KeyError):
                del self._spool[number]
