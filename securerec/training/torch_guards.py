"""What torch must keep to while it trains: the same bits for the same seed, and an error a person can act on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils import deterministic as switches

from securerec.errors import RunError


def settle_cublas() -> None:
    """Have cuBLAS multiply alike on every call; before its first in this process."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def deterministic() -> Iterator[None]:
    """Torch's deterministic operations alone: on CUDA `index_add_` otherwise adds floats in an order left to chance.

    The switch is the whole process's, and is put back. It is taken rather than a sum of one's own over sorted samples
    because it also refuses whatever else would leave something to chance.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = switches.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True)
    # All that is read here was written before; filling it first would cost a pass over everything.
    switches.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        switches.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


@contextmanager
def enough_memory() -> Iterator[None]:
    """Raise RunError where the device's memory does not suffice."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise RunError(
            "the GPU has too little free memory for local training: free some and go on with `securerec resume`, or "
            "start a run with --device cpu"
        ) from None
