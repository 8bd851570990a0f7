"""What a server remembers across a crash of the attempt it is in: written down before anything follows from it.

An attempt is one protocol round: its secret, then phase by phase what was answered. What goes out in a phase is a
function of the secret and of the answers before it. So a server that starts again plays the phases that were closed
with the very same answers, and says again what it said; nobody is asked for them again. In the phase that it died in,
it sends the very same bytes to clients, as the seals of a new message would be others and a device answers the same
bytes alone. Should it have to say something else, the attempt is given up, and its budget stays spent.
"""

import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from protocols.broadcast import SECRET_BYTES
from protocols.identity import Address
from securerec.errors import RunError
from securerec.federation.parties.letters import LetterError, Reply, attempt_label, from_bytes, to_bytes
from securerec.federation.stored import read_object
from securerec.files import write_atomic

_LENGTH = struct.Struct("<I")

FORGOTTEN = "the server's journal of it was lost"


@dataclass(frozen=True, slots=True)
class ClosedPhase:
    """name: of the phase. heard: numbers of the parties whose answers were accepted, ascending; of clients or of
    decryptors, as the phase has it.
    """

    name: str
    role: str
    heard: tuple[int, ...]

    def addresses(self) -> frozenset[Address]:
        return frozenset(Address(self.role, number) for number in self.heard)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Attempt:
    """release: its kind; label: its name in the ledger, without the attempt's number; secret: of the protocol round.

    phases: that are closed. asked: digest of what decryptors are asked to open, hex, once it is known; empty before.
    """

    release: str
    label: str
    round_number: int
    number: int
    secret: bytes = field(repr=False)
    phases: tuple[ClosedPhase, ...] = ()
    asked: str = ""

    @property
    def name(self) -> str:
        """In the ledger."""
        return attempt_label(self.label, self.number)


class Journal:
    """One file, `journal.json`, and beside it what the present attempt's later phases have sent and heard."""

    def __init__(self, folder: Path) -> None:
        """Raises RunError for a damaged file."""
        self._path, self._letters = folder / "journal.json", folder / "attempt"
        self._given_up: dict[str, list[str]] = {}
        self._attempt: Attempt | None = None
        if self._path.exists():
            self._read(read_object(self._path))

    @property
    def attempt(self) -> Attempt | None:
        """The one that is not over."""
        return self._attempt

    def given_up(self, label: str) -> tuple[str, ...]:
        """Why earlier attempts at a release were given up, oldest first."""
        return tuple(self._given_up.get(label, ()))

    def begin(self, release: str, label: str, round_number: int, *, charged: int = 0) -> Attempt:
        """The attempt at this release that goes on, or else a new one with a secret of the operating system's.

        charged: attempts at it in the ledger; what this journal does not know of them counts as given up. Raises
        RunError where another attempt is under way.
        """
        known = self._attempt
        if known is not None:
            if known.label != label:
                raise RunError(f"{self._path} is in {known.name}, and the run is at {label}: restore the run's files")
            return known
        reasons = self._given_up.setdefault(label, [])
        reasons += [FORGOTTEN] * (charged - len(reasons))
        self._drop_letters()
        return self._write(Attempt(release, label, round_number, len(reasons) + 1, os.urandom(SECRET_BYTES)))

    @contextmanager
    def hearing(self) -> Iterator[Callable[[bytes], None]]:
        """What keeps each answer that is accepted in the next phase to be closed; on the disk when it ends.

        Raises RunError where there is no room.
        """
        path = self._heard(len(self._present().phases))
        try:
            self._letters.mkdir(mode=0o700, exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:

                def keep(message: bytes) -> None:
                    file.write(_LENGTH.pack(len(message)) + message)

                yield keep
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunError(f"answers cannot be kept in {self._letters} ({error.strerror}): make room there") from None

    def close_phase(self, name: str, heard: Iterable[Address]) -> Attempt:
        """Note who answered in a phase of the present attempt; what, `hearing` has kept."""
        attempt, parties = self._present(), sorted(heard)
        role = parties[0].role if parties else "client"
        closed = ClosedPhase(name, role, tuple(party.number for party in parties))
        return self._write(replace(attempt, phases=(*attempt.phases, closed)))

    def answers(self, place: int) -> Iterator[bytes]:
        """What was accepted in a closed phase, by its place. Raises RunError where it is gone or cut short."""
        path = self._heard(place)
        try:
            with open(path, "rb") as file:
                while header := file.read(_LENGTH.size):
                    length = _LENGTH.unpack(header)[0] if len(header) == _LENGTH.size else -1
                    message = file.read(max(length, 0))
                    if len(message) != length:
                        raise RunError(f"{path} is cut short: restore it, the attempt cannot go on without it")
                    yield message
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}") from None

    def send(self, place: int, messages: Mapping[int, bytes]) -> dict[int, bytes]:
        """What clients are sent in the phase at this place: these messages, or those that it was begun with."""
        path = self._letters / f"sent-{place:03d}.letter"
        if not path.exists():
            write_atomic(path, to_bytes(Reply(messages)), private=True)
            return dict(messages)
        try:
            letter = from_bytes(path.read_bytes())
        except (OSError, LetterError) as error:
            raise RunError(f"{path} cannot be read: {error}") from None
        if not isinstance(letter, Reply):
            raise RunError(f"{path} is damaged: restore it")
        return dict(letter.answers)

    def ask(self, digest: str) -> None:
        """Note what decryptors are about to be asked to open."""
        self._write(replace(self._present(), asked=digest))

    def give_up(self, reason: str) -> None:
        """The present attempt is over without a sum."""
        attempt = self._present()
        self._given_up.setdefault(attempt.label, []).append(reason)
        self._end()

    def done(self) -> None:
        """The present attempt's sum is written where it belongs."""
        self._end()

    def _end(self) -> None:
        self._attempt = None
        self._save()
        self._drop_letters()

    def _present(self) -> Attempt:
        if self._attempt is None:
            raise ValueError("no attempt is under way")
        return self._attempt

    def _write(self, attempt: Attempt) -> Attempt:
        self._attempt = attempt
        self._save()
        return attempt

    def _save(self) -> None:
        attempt = self._attempt
        described = None if attempt is None else asdict(attempt) | {"secret": attempt.secret.hex()}
        content = {"given_up": self._given_up, "attempt": described}
        write_atomic(self._path, json.dumps(content).encode(), private=True)

    def _read(self, content: dict[str, Any]) -> None:
        try:
            self._given_up = {str(label): list(map(str, reasons)) for label, reasons in content["given_up"].items()}
            found = content["attempt"]
            if found is not None:
                phases = tuple(
                    ClosedPhase(str(each["name"]), str(each["role"]), tuple(map(int, each["heard"])))
                    for each in found["phases"]
                )
                self._attempt = Attempt(**found | {"secret": bytes.fromhex(found["secret"]), "phases": phases})
        except (KeyError, TypeError, ValueError, AttributeError):
            raise RunError(f"{self._path} is damaged: the run cannot go on without it") from None

    def _heard(self, place: int) -> Path:
        return self._letters / f"heard-{place:03d}.answers"

    def _drop_letters(self) -> None:
        for old in (*self._letters.glob("*.letter"), *self._letters.glob("*.answers")):
            old.unlink()
