"""The ledger: every privacy event of a run, a line each, on disk before the upload it stands for leaves."""

from pathlib import Path

from securerec.errors import PrivacyError
from securerec.files import write_atomic
from securerec.privacy.event_json import from_json, to_json
from securerec.privacy.events import Event


class Ledger:
    """A file of events (`ledger.jsonl`). One process writes it; a crash leaves the old file or the new one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # What was read and understood before: a run asks after each round, and only the end of the file is new.
        self._read, self._known = b"", dict[str, Event]()

    def append(self, event: Event) -> None:
        """Add the event. The same one again under its label changes nothing, so a resumed run may repeat itself.

        Raises PrivacyError when the label was used for another event, or when the file cannot be understood.
        """
        self.events()
        known = self._known.get(event.label)
        if known == event:
            return
        if known is not None:
            raise PrivacyError(
                f"{self.path} holds another event under the label {event.label!r}; spent budget is never rewritten"
            )
        write_atomic(self.path, self._read + to_json(event).encode() + b"\n")

    def events(self) -> tuple[Event, ...]:
        """All events, oldest first; none when there is no file.

        Raises PrivacyError, naming the line, for one that is cut, unknown, malformed, or uses a label again.
        """
        content = self.path.read_bytes() if self.path.exists() else b""
        if not content.startswith(self._read):
            self._read, self._known = b"", {}
        try:
            lines = content[len(self._read) :].decode().split("\n")
        except UnicodeDecodeError:
            raise PrivacyError(f"{self.path} is not text; it is not a ledger or it is damaged") from None
        events = dict(self._known)
        first = len(events) + 1
        if lines.pop():
            raise PrivacyError(
                f"{self.path} line {first + len(lines)}: the line is cut short, so the ledger cannot be trusted"
            )
        for number, line in enumerate(lines, start=first):
            try:
                event = from_json(line)
            except PrivacyError as error:
                raise PrivacyError(f"{self.path} line {number}: {error}") from None
            if event.label in events:
                raise PrivacyError(f"{self.path} line {number}: the label {event.label!r} is used again")
            events[event.label] = event
        self._read, self._known = content, events
        return tuple(events.values())
