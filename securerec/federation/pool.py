"""Processes that play groups of devices side by side."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from types import TracebackType
from typing import Self

from securerec.errors import RunError
from securerec.federation.devices import DeviceGroup, GroupResult, play


class DevicePool:
    """Plays device groups in `workers` processes, or in this one when there is one worker. Use it in a `with`."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self.workers > 1:
            self._executor = ProcessPoolExecutor(
                self.workers, mp_context=multiprocessing.get_context("spawn"), initializer=_become_worker
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=error is None, cancel_futures=True)
            self._executor = None

    def play(self, groups: Sequence[DeviceGroup]) -> list[GroupResult]:
        """The groups' results, in order. Raises what a device or adder raised."""
        if self._executor is None:
            return [play(group) for group in groups]
        try:
            return list(self._executor.map(play, groups))
        except BrokenProcessPool:
            raise RunError(
                "a process that plays devices ended, perhaps for lack of memory: go on with `securerec resume`, and "
                "take fewer --workers in a new run"
            ) from None


def _become_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it even when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def end_with_parent() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
