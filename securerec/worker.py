"""What a process that works for another does first."""

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection, wait

# Linear algebra has to be loaded before its threads can be limited.
import numpy.linalg  # noqa: F401
import scipy.linalg  # noqa: F401
from threadpoolctl import threadpool_limits


def become_worker(stop: Connection | None = None) -> None:
    """Leave Ctrl-C to the parent, and end at once with it, even when it is killed, or when it closes the other end of
    `stop`: files are whole at any instant.

    One thread for linear algebra: processes share the cores, and sums of floats must not depend on how many there are.
    """
    threadpool_limits(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    ends: list[Connection | int] = [] if stop is None else [stop]
    if parent is not None:
        ends.append(parent.sentinel)
    if not ends:
        return

    def end() -> None:
        wait(ends)
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
