"""Where results go: a table for people, JSON for programs."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, RenderableType

from securerec.errors import ConfigError
from securerec.files import write_atomic

JsonFile = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Also write the figures as JSON to FILE; '-' is standard output."),
]


def emit(figures: dict, json_file: str | None, *tables: RenderableType, private: bool = False) -> None:
    """Print the tables, and write the figures as JSON to `json_file` when it is given.

    With `-` the JSON goes to standard output, as the last and only thing there, and the tables go to standard error.
    A file is written whole or not at all; with `private`, where the figures are one person's, only its owner may read
    it. Raises ConfigError when it cannot be written, ValueError when a figure is not
    finite: an absent figure is None.
    """
    text = None if json_file is None else json.dumps(figures, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    console = Console(stderr=json_file == "-")
    for table in tables:
        console.print(table)
    if text is None:
        return
    if json_file == "-":
        # UTF-8 whatever the terminal's encoding: JSON has no other.
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
        return
    try:
        write_atomic(Path(json_file or ""), text.encode(), private=private)
    except OSError as error:
        raise ConfigError(f"{json_file} cannot be written ({error.strerror}): give --json another file") from None
