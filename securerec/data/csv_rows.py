"""Records of a CSV file from outside, read line by line, and the checks that fields of any such file go through."""

import codecs
import csv
import difflib
from collections.abc import Iterator
from typing import BinaryIO

from securerec.data.text_rows import CONTROL
from securerec.errors import DataError

MOST_LINE_BYTES = 1 << 20
MOST_FIELD_CHARACTERS = 1 << 17
MOST_ID_CHARACTERS = 256


def check_delimiter(delimiter: str) -> None:
    """Raise DataError unless it is one character that can stand between fields."""
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise DataError(f"--delimiter must be one character other than a quote or line end, not {delimiter!r}")


def check_fields(
    header: list[str], fields: list[str], line: int, delimiter: str, *, remedy: str = ", or set --delimiter"
) -> list[str]:
    """The fields. remedy: what else the person can do. Raises DataError unless they are as many as the header names."""
    if len(fields) != len(header):
        raise DataError(
            f"line {line}: {len(fields)} fields where the header names {len(header)}: quote fields that contain "
            f"{delimiter!r}{remedy}"
        )
    return fields


def records(file: BinaryIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with the number of its first line; blank lines are left out."""
    reader = csv.reader(_text_lines(file), delimiter=delimiter, strict=True)
    previous = csv.field_size_limit(MOST_FIELD_CHARACTERS)
    try:
        while True:
            start = reader.line_num + 1
            try:
                record = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise _csv_error(start, str(error)) from None
            if record:
                yield start, record
    finally:
        csv.field_size_limit(previous)


def _csv_error(line: int, message: str) -> DataError:
    if "field limit" in message:
        return DataError(
            f"line {line}: a field has more than {MOST_FIELD_CHARACTERS} characters: shorten it, or close an open quote"
        )
    if "unexpected end" in message:
        return DataError(
            f"line {line}: a quote opened in this row is never closed: close it, or double quotes in the text"
        )
    if "new-line" in message:
        return DataError(f"line {line}: a bare carriage return: save the file with line ends of Unix or Windows")
    return DataError(f"line {line}: not well-formed CSV ({message}): double any quote inside a quoted field")


def _text_lines(file: BinaryIO) -> Iterator[str]:
    number = 0
    while raw := file.readline(MOST_LINE_BYTES + 1):
        number += 1
        if len(raw) > MOST_LINE_BYTES:
            raise DataError(f"line {number}: longer than {MOST_LINE_BYTES} bytes: is this a CSV file with line ends?")
        if number == 1:
            if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise DataError("line 1: the file is UTF-16: save it as UTF-8")
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if b"\0" in raw:
            raise DataError(
                f"line {number}: a NUL byte: the file is not text, or is damaged; export it again as UTF-8 CSV"
            )
        try:
            yield raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"line {number}: byte {error.start + 1} is not UTF-8: save the file as UTF-8 (for example "
                "iconv -f latin1 -t utf-8)"
            ) from None


def position(header: list[str], name: str, *, remedy: str = "is --delimiter right?") -> int:
    """Where the header has this column. Raises DataError that names the nearest when it is not there once, or the
    remedy.
    """
    count = header.count(name)
    if count == 1:
        return header.index(name)
    if count > 1:
        raise DataError(f"header: {count} columns are called {name!r}: rename all but one")
    near = difflib.get_close_matches(name, header, n=1, cutoff=0.4)
    if near:
        raise DataError(f"header: no column {name!r}: did you mean {near[0]!r}?")
    shown = ", ".join(repr(column[:40]) for column in header[:10])
    raise DataError(f"header: no column {name!r}: the file has {shown}; {remedy}")


def identifier(field: str, column: str, line: int) -> str:
    """The field without surrounding white space. Raises DataError when it is empty, too long or not text."""
    value = field.strip()
    if not value:
        raise DataError(f"line {line}: {column} is empty: fill it in or delete the row")
    if len(value) > MOST_ID_CHARACTERS:
        raise DataError(f"line {line}: {column} has {len(value)} characters, at most {MOST_ID_CHARACTERS}: shorten it")
    if value.translate(CONTROL) != value:
        raise DataError(f"line {line}: {column} contains a control character: remove it")
    return value


def number(text: str) -> float | None:
    """The number that the text is, not necessarily finite; None when it is none."""
    # float() also takes 1_000 and digits of other scripts, which are more likely mistakes than numbers.
    if "_" in text or not text.isascii():
        return None
    try:
        return float(text)
    except ValueError:
        return None
