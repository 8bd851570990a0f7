"""What a server lets be seen while it runs: its letters' times, its metrics, its log. Never what a letter holds."""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from securerec.deploy.metrics import Metrics
from securerec.federation.parties.attempt import PhasePlayed
from securerec.federation.parties.exchange import Exchange
from securerec.federation.parties.letters import Ask, Call, LetterError, Present, from_bytes

_logger = logging.getLogger("securerec.server")

METRICS = {
    "securerec_rounds_planned": ("gauge", "Rounds of the run."),
    "securerec_round": ("gauge", "The last round whose sum was opened."),
    "securerec_attempts_total": ("counter", "Attempts at a release that are over, by outcome."),
    "securerec_survivors": ("gauge", "Clients in the last sum that was opened."),
    "securerec_central_epsilon": ("gauge", "Central epsilon of everything in the ledger."),
    "securerec_phase_seconds": ("gauge", "How long a phase of a release took the last time."),
    "securerec_phase_heard": ("gauge", "Parties that answered in a phase the last time."),
    "securerec_letters_total": ("counter", "Letters, by direction."),
    "securerec_letter_bytes_total": ("counter", "Bytes of letters, by direction."),
    "securerec_parties": ("gauge", "Parties that have presented themselves, by role."),
    "securerec_refusals_total": ("counter", "What was refused, by name."),
}


@dataclass(frozen=True, slots=True)
class Span:
    """One letter on its way: when it was handed over and when its answer came, seconds since 1970; None if it did not.

    kind: "ask", "call" or "hello". phase: counts the deliveries of an attempt.
    """

    kind: str
    release: str
    round_number: int
    attempt: int
    phase: int
    party: str
    sent: float
    answered: float | None
    bytes_out: int
    bytes_in: int


class WatchedExchange:
    """An exchange whose letters leave a line each in a file, and figures in the metrics."""

    def __init__(self, inner: Exchange, path: Path, metrics: Metrics) -> None:
        """path: of the lines; it grows."""
        self._inner, self._path, self._metrics = inner, path, metrics
        self._what: tuple[str, int, int] = ("", 0, 0)
        self._phase = 0

    def parties(self) -> dict[str, Present]:
        found = self._inner.parties()
        for role in ("node", "decryptor"):
            count = sum(present.role == role for present in found.values())
            self._metrics.set("securerec_parties", count, role=role)
        return found

    def deliver(self, letters: Mapping[str, bytes], *, deadline: float) -> Iterator[tuple[str, bytes]]:
        kind = self._described(letters)
        started = time.time()
        answered: dict[str, tuple[float, int]] = {}
        for letter in letters.values():
            self._metrics.add("securerec_letters_total", direction="out")
            self._metrics.add("securerec_letter_bytes_total", len(letter), direction="out")
        try:
            for party, answer in self._inner.deliver(letters, deadline=deadline):
                self._metrics.add("securerec_letters_total", direction="in")
                self._metrics.add("securerec_letter_bytes_total", len(answer), direction="in")
                answered.setdefault(party, (time.time(), len(answer)))
                yield party, answer
        finally:
            spans = []
            for party, letter in letters.items():
                when, size = answered.get(party, (None, 0))
                spans.append(Span(kind, *self._what, self._phase, party, started, when, len(letter), size))
            with self._path.open("a") as file:
                file.write("".join(json.dumps(asdict(span)) + "\n" for span in spans))

    def _described(self, letters: Mapping[str, bytes]) -> str:
        """The letters' kind; what they are about is taken note of."""
        try:
            letter = from_bytes(next(iter(letters.values()), b""))
        except LetterError:
            return "letter"
        if isinstance(letter, Ask):
            what = (letter.release, letter.round_number, letter.attempt)
            self._phase = self._phase + 1 if what == self._what else 0
            self._what = what
            return "ask"
        self._phase += 1
        return "call" if isinstance(letter, Call) else "hello"


def observer(metrics: Metrics) -> Any:
    """Told of every phase that is over."""

    def observe(phase: PhasePlayed) -> None:
        metrics.set("securerec_phase_seconds", phase.seconds, phase=phase.phase)
        metrics.set("securerec_phase_heard", phase.heard, phase=phase.phase)
        fields = asdict(phase) | {"seconds": round(phase.seconds, 3)}
        _logger.info("phase over", extra={"fields": fields})

    return observe


def teller(metrics: Metrics) -> Any:
    """Told of every attempt that is over."""

    def tell(line: dict[str, Any]) -> None:
        metrics.add("securerec_attempts_total", outcome=line["outcome"])
        if line["outcome"] == "opened":
            metrics.set("securerec_survivors", line["survivors"])
            if line["release"] == "round":
                metrics.set("securerec_round", line["round"])
        if line["central_epsilon"] is not None:
            metrics.set("securerec_central_epsilon", line["central_epsilon"])
        for name, count in line["complaints"].items():
            metrics.add("securerec_refusals_total", count, what=name)
        wanted = (
            "attempt", "release", "round", "outcome", "reason", "survivors", "upload_bytes", "sent", "received",
            "central_epsilon",
        )  # fmt: skip
        seconds = round(sum(line["seconds"].values()), 3)
        _logger.info("attempt over", extra={"fields": {name: line[name] for name in wanted} | {"seconds": seconds}})
        for sentence in line["sentences"]:
            _logger.warning("refused", extra={"fields": {"because": sentence}})

    return tell


def read_spans(path: Path) -> list[Span]:
    """The lines of a `WatchedExchange`; what a crash has cut off is left out."""
    spans = []
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            spans.append(Span(**json.loads(text)))
        except (ValueError, TypeError):
            continue
    return spans
