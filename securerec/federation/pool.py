"""Processes that play devices side by side. A device stays in the process it began in, as its state does."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from securerec.errors import RunError
from securerec.federation.devices import Answers, DeviceHost, Enrolment, LocalUpdates
from securerec.worker import become_worker

AT_ONCE = 32
"""Devices asked at a time: their answers are added while others still work, and never lie about all at once."""


class DevicePool:
    """Plays devices in `workers` processes, or in this one when there is one worker. Use it in a `with`."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._executors: list[ProcessPoolExecutor] = []

    def __enter__(self) -> Self:
        if self.workers > 1:
            context = multiprocessing.get_context("spawn")
            self._executors = [
                ProcessPoolExecutor(1, mp_context=context, initializer=become_worker) for _ in range(self.workers)
            ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for executor in self._executors:
            executor.shutdown(wait=error is None, cancel_futures=True)
        self._executors = []
        # Where this process played the devices, their keys go with them.
        _hosts.clear()

    def parts(self, clients: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Which clients each worker plays, dealt in turn; the same for the same clients."""
        return [clients[worker :: self.workers] for worker in range(self.workers)]

    def enrol(self, name: str, enrolments: list[Enrolment]) -> None:
        """Start the devices of a sum, a list entry for each worker."""
        self._everywhere(_enrol, [(name, enrolment) for enrolment in enrolments])

    def begin(self, name: str, work: list[LocalUpdates]) -> None:
        """Hand each worker's devices what they trained."""
        self._everywhere(_begin, [(name, each) for each in work])

    def answers(self, name: str, messages: list[dict[int, bytes]]) -> Iterator[Answers]:
        """Each worker's devices answer their messages; pieces come as they are done. Raises what a device raised."""
        pieces = [
            (worker, dict(items[start : start + AT_ONCE]))
            for worker, items in ((worker, list(part.items())) for worker, part in enumerate(messages))
            for start in range(0, len(items), AT_ONCE)
        ]
        if not self._executors:
            for _, piece in pieces:
                yield _answer(name, piece)
            return
        with _explained():
            # No other reference to the futures is kept, so an answer is let go of once it was added.
            for future in as_completed(
                self._executors[worker].submit(_answer, name, piece) for worker, piece in pieces
            ):
                yield future.result()

    def _everywhere(self, function: Callable[..., None], arguments: list[tuple[Any, ...]]) -> None:
        if not self._executors:
            for each in arguments:
                function(*each)
            return
        with _explained():
            futures = [
                executor.submit(function, *each) for executor, each in zip(self._executors, arguments, strict=True)
            ]
            for future in futures:
                future.result()


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        raise RunError(
            "a process that plays devices ended, perhaps for lack of memory: go on with `securerec resume`, and take "
            "fewer --workers in a new run"
        ) from None


# In the process that plays the devices: by name of the sum.
_hosts: dict[str, DeviceHost] = {}


def _enrol(name: str, enrolment: Enrolment) -> None:
    _hosts[name] = DeviceHost(enrolment)


def _begin(name: str, work: LocalUpdates) -> None:
    _hosts[name].begin(work)


def _answer(name: str, messages: dict[int, bytes]) -> Answers:
    return _hosts[name].answer(messages)
