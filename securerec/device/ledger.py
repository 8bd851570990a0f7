"""What has left a device: when, for whom, and under which promise; on disk before the answer leaves.

A line of JSON for each letter that was answered. The first of an attempt at a release holds its privacy event, so that
epsilons add up as in the server's ledger (`securerec.privacy.ledger`); later letters of the same attempt cost nothing
more. A silo's devices are charged together: whoever of them answered, the event counts for all.

The device's store keeps a mark of the ledger, so that one that was lost or shortened is noticed: without it the whole
epsilon would be free again.
"""

import hashlib
import hmac
import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from securerec.errors import PrivacyError
from securerec.files import write_atomic
from securerec.privacy.accounting import central_epsilon, local_epsilon
from securerec.privacy.event_json import from_json, to_json
from securerec.privacy.events import Event

DAY = 86_400.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One letter that was answered.

    when: seconds since 1970. run: its identifier, hex. release, round_number, attempt: what was asked. server: signing
    key, hex. protocol: of the sum. cohort: the fewest devices whose sum it could open; enrolled: how many there are.
    devices: client numbers whose answers left. size: bytes of those answers. event: what it cost, None where an earlier
    letter of the attempt has paid. central_epsilon, local_epsilon: of everything up to here, at `delta`.
    """

    when: float
    run: str
    release: str
    round_number: int
    attempt: int
    server: str
    protocol: str
    cohort: int
    enrolled: int
    devices: tuple[int, ...]
    size: int
    event: Event | None
    central_epsilon: float = 0.0
    local_epsilon: float = 0.0
    delta: float = 1e-5

    @property
    def what(self) -> tuple[str, str, int, int]:
        """The attempt that it belongs to."""
        return self.run, self.release, self.round_number, self.attempt


@dataclass(frozen=True, slots=True)
class LedgerMark:
    """A ledger as it once was: how many lines, and the hex digest of those."""

    lines: int = 0
    digest: str = hashlib.sha256(b"").hexdigest()


class DeviceLedger:
    """A file of lines. One process writes it; a crash leaves the old file or the new one."""

    def __init__(self, path: Path) -> None:
        """Raises PrivacyError for a file that cannot be understood."""
        self.path = path
        self._lines = path.read_bytes() if path.exists() else b""
        self._sent = _parsed(path, self._lines)

    def sent(self) -> tuple[Sent, ...]:
        """Oldest first."""
        return tuple(self._sent)

    def events(self, *, since: float = -math.inf, run: str | None = None) -> tuple[Event, ...]:
        """What was paid, oldest first. since: seconds since 1970; run: only of this one."""
        return tuple(
            each.event
            for each in self._sent
            if each.event is not None and each.when >= since and run in (None, each.run)
        )

    def no_earlier(self, when: float) -> float:
        """`when`, or the last line's time where that is later."""
        return max(when, self._sent[-1].when) if self._sent else when

    def charged(self, what: tuple[str, str, int, int]) -> Event | None:
        """What an attempt has cost; None where it has not left."""
        return next((each.event for each in self._sent if each.what == what and each.event is not None), None)

    def mark(self) -> LedgerMark:
        """Of the ledger as it is."""
        return LedgerMark(len(self._sent), hashlib.sha256(self._lines).hexdigest())

    def check(self, known: LedgerMark) -> None:
        """Raise PrivacyError unless the ledger goes on from where `known` was taken, by one line at most.

        One more is what a crash leaves that comes after the line and before its mark. More are of another store.
        """
        lines = self._lines.splitlines(keepends=True)
        if len(lines) < known.lines:
            raise PrivacyError(
                f"{self.path} has {len(lines)} lines and the store knows of {known.lines}: restore the ledger; without "
                "it nobody knows what these devices have spent, and they take no part"
            )
        digest = hashlib.sha256(b"".join(lines[: known.lines])).hexdigest()
        if not hmac.compare_digest(digest, known.digest):
            raise PrivacyError(f"{self.path} is not the ledger that the store knows of: restore the right one")
        if len(lines) > known.lines + 1:
            raise PrivacyError(
                f"{self.path} has {len(lines)} lines and the store knows of {known.lines}: the store is an older copy "
                "and does not know what these devices have answered; restore the latest one"
            )

    def append(self, sent: Sent) -> Sent:
        """Write a line, with the epsilons that hold after it, and return it. It is stamped no earlier than the line
        before it: a clock that was set back wins nothing.

        Raises PrivacyError for an event of an attempt that has paid another.
        """
        event = sent.event
        paid = self.charged(sent.what)
        if paid is not None and event is not None:
            if paid != event:
                raise PrivacyError(f"{self.path}: {event.label} was paid with another event; that is never rewritten")
            event = None
        events = (*self.events(), *(() if event is None else (event,)))
        values = {field.name: getattr(sent, field.name) for field in fields(Sent)}
        values |= {
            "when": self.no_earlier(sent.when),
            "event": event,
            "central_epsilon": central_epsilon(events, delta=sent.delta).epsilon,
            "local_epsilon": local_epsilon(events, delta=sent.delta).epsilon,
        }
        written = Sent(**values)
        lines = self._lines + _line(written)
        write_atomic(self.path, lines, private=True)
        self._lines = lines
        self._sent.append(written)
        return written


def _line(sent: Sent) -> bytes:
    return json.dumps(as_json(sent), allow_nan=False).encode() + b"\n"


def as_json(sent: Sent) -> dict[str, Any]:
    """One line of the ledger as JSON has it; infinite epsilons are null."""
    values: dict[str, Any] = {field.name: getattr(sent, field.name) for field in fields(Sent)}
    for name in ("central_epsilon", "local_epsilon"):
        values[name] = values[name] if math.isfinite(values[name]) else None
    return values | {
        "devices": list(sent.devices),
        "event": None if sent.event is None else json.loads(to_json(sent.event)),
    }


def _parsed(path: Path, content: bytes) -> list[Sent]:
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError:
        raise PrivacyError(f"{path} is not text; it is no ledger or it is damaged") from None
    if lines.pop():
        raise PrivacyError(f"{path} line {len(lines) + 1}: the line is cut short, so the ledger cannot be trusted")
    found: list[Sent] = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(_of(json.loads(line)))
        except PrivacyError as error:
            raise PrivacyError(f"{path} line {number}: {error}") from None
        except (ValueError, TypeError, KeyError):
            raise PrivacyError(f"{path} line {number}: this is no line of a device's ledger") from None
    return found


def _of(values: dict[str, Any]) -> Sent:
    if set(values) != {field.name for field in fields(Sent)}:
        raise ValueError
    for name in ("central_epsilon", "local_epsilon"):
        values[name] = math.inf if values[name] is None else float(values[name])
    event = None if values["event"] is None else from_json(json.dumps(values["event"]))
    for name in ("when", "delta"):
        values[name] = float(values[name])
    for name in ("round_number", "attempt", "cohort", "enrolled", "size"):
        values[name] = int(values[name])
    return Sent(**(values | {"event": event, "devices": tuple(int(number) for number in values["devices"])}))
