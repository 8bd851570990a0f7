"""Structured logs: a line of JSON an event, with the time, who, what, and a few plain fields; never a letter's content.

Fields are numbers, booleans and short text. Whatever else is handed over, bytes above all, is named by its type alone,
so that no key and no message can slip into a log.
"""

import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

MOST_CHARACTERS = 400


class JsonFormatter(logging.Formatter):
    """One line a record. Fields come in `extra={"fields": {...}}`."""

    def __init__(self, party: str) -> None:
        super().__init__()
        self._party = party

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "party": self._party,
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _plain(record.getMessage()),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line |= {str(key): _plain(value) for key, value in fields.items() if key not in line}
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
        return json.dumps(line)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return " ".join(value.split())[:MOST_CHARACTERS]
    return f"({type(value).__name__})"


def log_as(party: str, stream: TextIO = sys.stderr, *, level: int = logging.INFO) -> None:
    """Let everything this process logs be lines of JSON. Other libraries' chatter below warnings is dropped."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter(party))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("securerec").setLevel(level)
    for name in ("flwr", "uvicorn", "uvicorn.error"):
        other = logging.getLogger(name)
        other.handlers.clear()
        other.propagate = True
        other.setLevel(logging.WARNING)


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log. What is no JSON, such as a library's last words, is an event without a time."""
    if not path.exists():
        return
    with path.open(errors="replace") as file:
        for text in file:
            yield parsed(text)


def parsed(text: str) -> dict[str, Any]:
    """One line of a log."""
    try:
        line = json.loads(text)
    except ValueError:
        line = None
    return line if isinstance(line, dict) else {"time": "", "event": text.rstrip()}
