"""Text from outside: lines of fields, rows of whole numbers, titles fit to be shown."""

import io
import re

import numpy as np
from numpy.typing import NDArray

from securerec.errors import DataError

AGAIN = "fetch the data set again"
MOST_TITLE_CHARACTERS = 500
CONTROL = {code: None for code in (*range(0x20), *range(0x7F, 0xA0))}
"""For `str.translate`: takes control characters out."""
_WHOLE = re.compile(rb"[+-]?\d{1,18}")


def clean_title(text: str) -> str:
    """The text on one line, without control characters, cut at 500 characters; it may be empty."""
    shown = " ".join(text.split()).translate(CONTROL)
    return " ".join(shown.split())[:MOST_TITLE_CHARACTERS]


def text_lines(file: str, content: bytes, encoding: str, separator: str, n_fields: int) -> list[tuple[int, list[str]]]:
    """The non-empty lines as `(line number, fields)`. Raises DataError that names the file and the bad line."""
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not {encoding} text (byte {error.start}); {AGAIN}") from None
    lines = []
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.rstrip("\r").split(separator)
        if fields == [""]:
            continue
        if len(fields) != n_fields:
            raise DataError(f"{file}, line {number}: {len(fields)} fields, expected {n_fields}; {AGAIN}")
        lines.append((number, fields))
    return lines


def whole_numbers(
    file: str, content: bytes, separator: bytes, columns: int, *, first_line: int = 1
) -> NDArray[np.int64]:
    """Rows of whole numbers, `(n_rows, columns) int64`.

    `first_line` is the number of the content's first line in the file. Raises DataError that names the file and line.
    """
    if not content.strip():
        raise DataError(f"{file} is empty; {AGAIN}")
    # loadtxt takes one character between fields; no byte that can stand in a row of numbers is lost by the exchange.
    text = content if separator == b"\t" else content.replace(b"\t", b"?").replace(separator, b"\t")
    try:
        rows = np.loadtxt(io.BytesIO(text), dtype=np.int64, delimiter="\t", comments=None, ndmin=2)
        if rows.shape[1] == columns:
            return rows
    except ValueError:
        pass
    for number, line in enumerate(content.split(b"\n"), start=first_line):
        fields = line.strip(b"\r ").split(separator)
        if fields != [b""] and not (len(fields) == columns and all(map(_WHOLE.fullmatch, fields))):
            raise DataError(f"{file}, line {number}: not {columns} whole numbers; {AGAIN}")
    raise DataError(f"{file} does not hold whole numbers in {columns} columns; {AGAIN}")
