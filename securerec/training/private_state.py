"""The devices' score functions in one file that is mapped rather than read, for cohorts that memory need not hold.

The file is `n_users * width` float32 of weights, then `n_users` of biases, little-endian, nothing else. It stands in
for what in life lies on as many devices. Training in place is not all or nothing: whoever must be able to go back
keeps the last round's file and trains into another.
"""

import os
import sys
from pathlib import Path

import numpy as np

from securerec.errors import RunError
from securerec.models.pfedrec import ScoreFunctions

_FLOAT = np.dtype("<f4")


def new_functions(path: Path, n_users: int, width: int) -> ScoreFunctions:
    """Make a file of zeros that only its owner can read, mapped for reading and writing.

    Raises RunError when there is one already, or no room for it.
    """
    size = _size(n_users, width)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(handle, 0, size)
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(handle)
    except OSError as error:
        raise RunError(f"{path} cannot be made: {error.strerror}") from None
    return _mapped(path, n_users, width, "r+")


def open_functions(path: Path, n_users: int, width: int, *, writable: bool = False) -> ScoreFunctions:
    """Map a file as `new_functions` made it. Raises RunError when it is missing or of another size."""
    size = _size(n_users, width)
    try:
        found = path.stat().st_size
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    if found != size:
        raise RunError(f"{path} has {found} bytes where {n_users} score functions of {width} weights have {size}")
    return _mapped(path, n_users, width, "r+" if writable else "r")


def _size(n_users: int, width: int) -> int:
    return n_users * (width + 1) * _FLOAT.itemsize


def _mapped(path: Path, n_users: int, width: int, mode: str) -> ScoreFunctions:
    if sys.byteorder != "little":
        raise RunError("score functions in a file need a little-endian machine")
    numbers = np.memmap(path, np.float32, mode=mode, shape=(n_users * (width + 1),))  # type: ignore[call-overload]
    weights = numbers[: n_users * width].reshape(n_users, width)
    return ScoreFunctions(weights, numbers[n_users * width :])
