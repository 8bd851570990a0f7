"""Measures the cells that a folder lacks, side by side. Each is kept as it is finished, so a sweep that was stopped, or
a larger one in the same folder, measures only what is missing.
"""

import fcntl
import json
import multiprocessing
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

from attacks.errors import AttackError
from protocols.errors import ProtocolError
from securerec.data import sources
from securerec.data.dataset import Dataset
from securerec.errors import RunError, SecurerecError
from securerec.experiments.sweeps.cells import Cell, Measured, read_cell, write_cell
from securerec.experiments.sweeps.play import play
from securerec.files import write_atomic
from securerec.worker import become_worker

_MARK = "sweep.json"
_MARKED = {"format": 1, "holds": "cells of a sweep of securerec"}

Done = Callable[[Cell, bool], None]
"""Told of each cell that is settled, and whether it was there already."""


@dataclass(frozen=True, slots=True)
class Swept:
    """measured: by digest. failed: by digest, why, in a line."""

    measured: dict[str, Measured]
    failed: dict[str, str]


def sweep(
    folder: Path, cells: Sequence[Cell], datasets: Mapping[str, Dataset], *, workers: int,
    done: Done = lambda cell, kept: None,
) -> Swept:  # fmt: skip
    """Measure what is missing of `cells` in `folder`, which is made if need be and holds nothing else.

    datasets: by name. workers: processes, each with a cell at a time; with 1 all is done in this process. A cell that
    fails is reported and the others go on. Raises RunError for a folder of something else, one that another sweep is
    at, a cell's file that is not sound, and a process that was killed.
    """
    with _claimed(folder):
        unique = {cell.digest(): cell for cell in cells}
        measured: dict[str, Measured] = {}
        for digest, cell in unique.items():
            kept = read_cell(folder, cell)
            if kept is not None:
                measured[digest] = kept
                done(cell, True)
        missing = {digest: cell for digest, cell in unique.items() if digest not in measured}
        failed: dict[str, str] = {}
        with closing(_play_all(folder, missing, datasets, workers)) as settled:
            for digest, reason in settled:
                kept = None if reason else read_cell(folder, missing[digest])
                if kept is not None:
                    measured[digest] = kept
                else:
                    failed[digest] = reason or "its file was gone at once"
                done(missing[digest], False)
        return Swept(measured, failed)


def _play_all(
    folder: Path, cells: Mapping[str, Cell], datasets: Mapping[str, Dataset], workers: int
) -> Generator[tuple[str, str | None], None, None]:
    """Each cell's digest as it is settled, and why it failed if it did."""
    if workers == 1 or len(cells) < 2:
        for digest, cell in cells.items():
            yield digest, _settle(cell, datasets[cell.dataset], folder)
        return
    context = multiprocessing.get_context("spawn")
    # Its other end is closed when this process is done with the pool, or gone: then the workers end at once.
    stop, alive = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(
        min(workers, len(cells)), mp_context=context, initializer=become_worker, initargs=(stop,)
    )
    finished = False
    try:
        digests = {executor.submit(_settle_by_name, cell, folder): digest for digest, cell in cells.items()}
        pending: set[Future[str | None]] = set(digests)
        while pending:
            settled, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in settled:
                yield digests[future], future.result()
        finished = True
    except BrokenProcessPool:
        raise RunError(
            "a process of the sweep ended, perhaps for lack of memory: run the same command again with fewer --workers"
        ) from None
    finally:
        if not finished:
            alive.close()
        executor.shutdown(wait=True, cancel_futures=True)
        alive.close()
        stop.close()


def _settle(cell: Cell, dataset: Dataset, folder: Path) -> str | None:
    """Measure and keep a cell; return why it failed, in a line, if it did."""
    try:
        if dataset.digest() != cell.dataset_digest:
            raise RunError(f"data set {cell.dataset} changed while the sweep went on")
        write_cell(folder, cell, play(cell, dataset, folder))
    except (SecurerecError, AttackError, ProtocolError) as error:
        return " ".join(str(error).split())
    except (ValueError, ArithmeticError, OSError, MemoryError) as error:
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None


_loaded: dict[str, Dataset] = {}


def _settle_by_name(cell: Cell, folder: Path) -> str | None:
    """`_settle` in a process of its own, which keeps the data sets that it has loaded."""
    try:
        if cell.dataset not in _loaded:
            _loaded[cell.dataset] = sources.load(cell.dataset)
    except SecurerecError as error:
        return " ".join(str(error).split())
    # One thread a process, for libraries too that were loaded since it began.
    with threadpool_limits(1):
        return _settle(cell, _loaded[cell.dataset], folder)


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Make the folder this program's and this process' own."""
    _mark(folder)
    with open(folder / ".lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{folder} is being swept by another process: wait for it or stop it") from None
        # What processes that were killed have left.
        for stale in (*folder.glob(".*.tmp"), *(folder / "cells").glob(".*.tmp")):
            stale.unlink()
        for draft in (folder / "running").glob(".*.draft"):
            shutil.rmtree(draft, ignore_errors=True)
        yield


def _mark(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise RunError(f"{folder} is not a folder: give --out another") from None
    mark = folder / _MARK
    if not mark.exists():
        if any(not each.name.startswith(f".{_MARK}") for each in folder.iterdir()):
            raise RunError(f"{folder} holds something else: give --out a new folder")
        write_atomic(mark, json.dumps(_MARKED).encode())
    try:
        known = json.loads(mark.read_bytes())
    except ValueError:
        known = None
    if known != _MARKED:
        raise RunError(f"{mark} is not what a sweep wrote: give --out a new folder")
