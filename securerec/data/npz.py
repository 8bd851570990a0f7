"""Whole-number arrays out of a `.npz` file from outside, with nothing unpickled and every size checked first."""

import re

import numpy as np
from numpy.typing import NDArray

from securerec.data import download
from securerec.errors import DataError

_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '(?P<dtype>[<>|][iu][1248])', 'fortran_order': (?:False|True), 'shape': \((?P<count>\d{1,15}),\), ?\}"
    rb" *\n"
)
"""What numpy.save writes for a one-dimensional array of whole numbers, and nothing else."""


def integer_columns(file: str, content: bytes, names: tuple[str, ...], *, most_bytes: int) -> list[NDArray[np.int64]]:
    """The named one-dimensional arrays of whole numbers, each `(n,) int64`; others in the file are not looked at.

    The arrays are as `numpy.savez` or `numpy.savez_compressed` writes them (npy format 1.0); `most_bytes` bounds each
    as stored. The header is matched, not evaluated, and nothing is allocated for a size that the bytes do not back.
    Raises DataError that names the file and the array: missing, too large, pickled, of another kind or shape, cut
    short, followed by something.
    """
    try:
        members = download.members(content, [f"{name}.npy" for name in names], most_bytes=most_bytes)
    except DataError as error:
        raise DataError(f"{file}: {error}") from None
    return [_column(f"{file}, {name}", member) for name, member in zip(names, members, strict=True)]


def _column(what: str, member: bytes) -> NDArray[np.int64]:
    start = len(_MAGIC) + 2
    body = start + int.from_bytes(member[len(_MAGIC) : start], "little")
    header = _HEADER.fullmatch(member[start:body]) if member.startswith(_MAGIC) and len(member) >= body else None
    if header is None:
        raise DataError(f"{what}: not a one-dimensional array of whole numbers as numpy.savez writes it")
    dtype, count = np.dtype(header["dtype"].decode()), int(header["count"])
    found = len(member) - body
    if found != count * dtype.itemsize:
        raise DataError(f"{what}: {found} bytes where its header promises {count} numbers of {dtype.itemsize}")
    numbers = np.frombuffer(member, dtype=dtype, offset=body)
    most = np.iinfo(np.int64).max
    if dtype.kind == "u" and dtype.itemsize == 8 and count and int(numbers.max()) > most:
        raise DataError(f"{what}: holds a number above {most}")
    return numbers.astype(np.int64)
