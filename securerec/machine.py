"""What this process may use of its machine."""

import os
from typing import TYPE_CHECKING, Literal

from securerec.errors import ConfigError

if TYPE_CHECKING:
    import torch

Device = Literal["cpu", "cuda"]
"""What computes local training: the processor by compiled loops, or a GPU by torch."""


def usable_cores() -> int:
    """Processor cores that this process may run on, at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def missing_cuda() -> str | None:
    """Why torch has no GPU here and the way to one, in a clause; None where it has one."""
    import torch

    if torch.cuda.is_available():
        return None
    if torch.version.cuda is None:
        return "the torch installed here was built without CUDA: install one that is built for it"
    return f"torch was built for CUDA {torch.version.cuda}, but sees no GPU: check the driver with nvidia-smi"


def cuda_device() -> "torch.device":
    """The GPU that torch takes first. Raises ConfigError where there is none."""
    import torch

    if missing := missing_cuda():
        raise ConfigError(f"training.device cuda: {missing}, or take cpu")
    return torch.device("cuda")
