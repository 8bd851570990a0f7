"""Feeds a target its mutants and counts what becomes of them."""

import resource
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from protocols.errors import ProtocolError
from protocols.fuzzing.targets import Mutant, Reader, Target, WronglyAccepted

MAX_SECONDS = 1.0
"""Of processor time, so that a busy machine makes no finding."""

MAX_BYTES = 64 << 20
CHECK_EVERY = 250
"""After as many mutants, the honest message must still be accepted."""

MAX_FINDINGS = 20


@dataclass(frozen=True)
class Finding:
    """A mutant that did harm. what: accepted, crashed, spoiled, slow or large."""

    what: str
    message: bytes
    sentence: str


@dataclass(frozen=True)
class Report:
    """One target's counts.

    refused: with a ProtocolError. well_formed: taken in because its sender may say so. Findings: accepted, forged or
    malformed as it was; crashed, with any other error; spoiled, an honest message refused after refused mutants; slow,
    over MAX_SECONDS; large, over MAX_BYTES. slowest: seconds of processor time; peak: bytes allocated by one mutant.
    """

    target: str
    seed: int
    mutants: int
    refused: int
    well_formed: int
    accepted: int
    crashed: int
    spoiled: int
    slow: int
    large: int
    slowest: float
    peak: int
    seconds: float
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        return not (self.accepted or self.crashed or self.spoiled or self.slow or self.large)


def campaign(target: Target, *, mutants: int, seed: int, progress: Callable[[int], None] = lambda done: None) -> Report:
    """Feed `mutants` mutants. progress: called now and then with how many are done.

    A reader goes on until it has accepted something, or refused what its sender signed where that ends its part. All
    allocations that Python sees are measured, those of native code by the process's largest size.
    """
    rng = np.random.default_rng([seed, *target.name.encode()])
    started = time.perf_counter()
    target.make()(target.sample)
    run = _Run(target)
    largest = _largest()
    tracing = tracemalloc.is_tracing()
    if not tracing:
        tracemalloc.start()
    try:
        for done in range(mutants):
            if done % CHECK_EVERY == 0:
                run.check()
                progress(done)
            run.feed(target.mutant(rng))
        run.check()
    finally:
        if not tracing:
            tracemalloc.stop()
    # tracemalloc's own records are in this as well, a few MB.
    if _largest() - largest > MAX_BYTES and not run.counts["large"]:
        run.found("large", b"", f"the process grew by {(_largest() - largest) >> 20} MB")
    progress(mutants)
    return Report(
        target.name,
        seed,
        mutants,
        **run.counts,
        slowest=run.slowest,
        peak=run.peak,
        seconds=time.perf_counter() - started,
        findings=tuple(run.findings),
    )


class _Run:
    def __init__(self, target: Target) -> None:
        self._target = target
        self._reader: Reader | None = None
        self._seen: set[str] = set()
        self.counts = dict.fromkeys(("refused", "well_formed", "accepted", "crashed", "spoiled", "slow", "large"), 0)
        self.slowest, self.peak = 0.0, 0
        self.findings: list[Finding] = []

    def found(self, what: str, message: bytes, sentence: str) -> None:
        self.counts[what] += 1
        if len(self.findings) < MAX_FINDINGS and f"{what} {sentence}" not in self._seen:
            self._seen.add(f"{what} {sentence}")
            self.findings.append(Finding(what, message, sentence))

    def check(self) -> None:
        """The honest message to the present reader, which is used up by it."""
        if self._reader is not None:
            try:
                self._reader(self._target.sample)
            except Exception as error:
                self.found("spoiled", self._target.sample, _sentence(error))
        self._reader = None

    def feed(self, mutant: Mutant) -> None:
        reader = self._reader = self._reader or self._target.make()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        at = time.process_time()
        try:
            reader(mutant.data)
        except ProtocolError:
            self.counts["refused"] += 1
            if mutant.signed and not self._target.forgiving:
                self._reader = None
        except WronglyAccepted as accepted:
            self.found("accepted", mutant.data, str(accepted))
            self._reader = None
        except Exception as error:
            self.found("crashed", mutant.data, _sentence(error))
            self._reader = None
        else:
            self._reader = None
            if mutant.acceptable:
                self.counts["well_formed"] += 1
            else:
                self.found("accepted", mutant.data, "signed for another place" if mutant.signed else "not signed")
        seconds, size = time.process_time() - at, tracemalloc.get_traced_memory()[1] - before
        self.slowest, self.peak = max(self.slowest, seconds), max(self.peak, size)
        if seconds > MAX_SECONDS:
            self.found("slow", mutant.data, f"{seconds:.1f} s")
        if size > MAX_BYTES:
            self.found("large", mutant.data, f"{size >> 20} MB")


def _sentence(error: Exception) -> str:
    """The error and where it was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" ({trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno})" if trace else ""
    return f"{type(error).__name__}: {error}{where}"


def _largest() -> int:
    """The largest size of this process so far, bytes."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else 1024 * size
