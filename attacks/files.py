"""Files are written whole or not at all."""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any


def write_json(place: Path, figures: dict[str, Any]) -> None:
    """Figures as JSON at `place`, whole or not at all; `-` is standard output. Raises OSError."""
    text = json.dumps(figures, indent=2, allow_nan=False) + "\n"
    if place == Path("-"):
        sys.stdout.write(text)
    else:
        write_whole(place, text.encode())


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` at `path`, readable by its owner alone; a reader finds the old file or the new one, never a part.

    Raises OSError when the folder cannot be written.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
