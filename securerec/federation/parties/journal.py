"""What a server remembers across a crash of the attempt it is in: written down before anything follows from it.

An attempt is one protocol round: its secret, then phase by phase who answered. What goes out in a phase is a function
of the secret and of the answers before it. So a server that starts again plays the phases that were closed with the
very same parties, and says again what it said; where one of them is gone, the attempt is given up and its budget stays
spent. Decryptors' answers are kept here, as a decryptor need not be able to give them twice; so is what clients are
sent after the broadcast, as its seals would be others the next time, and a device answers the same bytes alone.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from protocols.broadcast import SECRET_BYTES
from protocols.identity import Address
from securerec.errors import RunError
from securerec.federation.parties.letters import LetterError, Reply, attempt_label, from_bytes, to_bytes
from securerec.federation.stored import read_object
from securerec.files import write_atomic

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

    def close_phase(self, name: str, heard: Iterable[Address], answers: Mapping[int, bytes] | None = None) -> Attempt:
        """Note who answered in a phase of the present attempt. answers: by decryptor, in a phase of theirs."""
        attempt = self._present()
        numbers = sorted(heard)
        role = numbers[0].role if numbers else "client"
        if answers is not None:
            role = "decryptor"
            self._keep("heard", len(attempt.phases), answers)
        closed = ClosedPhase(name, role, tuple(address.number for address in numbers))
        return self._write(replace(attempt, phases=(*attempt.phases, closed)))

    def answers(self, place: int) -> dict[int, bytes]:
        """The decryptors' answers in a closed phase, by its place. Raises RunError where they are gone."""
        found = self._kept("heard", place)
        if found is None:
            raise RunError(f"{self._letters} lacks what was answered in the attempt {self._present().name}: restore it")
        return found

    def send(self, place: int, messages: Mapping[int, bytes]) -> dict[int, bytes]:
        """What clients are sent in the phase at this place: these messages, or those that it was begun with."""
        known = self._kept("sent", place)
        if known is None:
            self._keep("sent", place, messages)
            return dict(messages)
        return known

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

    def _keep(self, what: str, place: int, messages: Mapping[int, bytes]) -> None:
        write_atomic(self._letters / f"{what}-{place:03d}.letter", to_bytes(Reply(messages)), private=True)

    def _kept(self, what: str, place: int) -> dict[int, bytes] | None:
        path = self._letters / f"{what}-{place:03d}.letter"
        if not path.exists():
            return None
        try:
            letter = from_bytes(path.read_bytes())
        except (OSError, LetterError) as error:
            raise RunError(f"{path} cannot be read: {error}") from None
        if not isinstance(letter, Reply):
            raise RunError(f"{path} is damaged: restore it")
        return dict(letter.answers)

    def _drop_letters(self) -> None:
        for old in self._letters.glob("*.letter"):
            old.unlink()
