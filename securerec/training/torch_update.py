"""What a round changed, kept on the device that trained it until somebody reads it."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from securerec.models.scorers import ScoreFunctions
from securerec.training.updates import CohortUpdate

Changes = tuple[Tensor, Tensor]
"""Of one chunk's clients: keys (t,) int64, rising, `place of the client * n_rows + row`, and changes (t, dim)."""


ROUNDED_AT_ONCE = 1 << 20
"""Rows that are rounded to integers at a time, in 64 bits."""


class DeviceUpdate(CohortUpdate):
    """A `CohortUpdate` that copies rows and changes from the device when they are first asked for.

    `chunks` are the clients of each chunk, `parts` their changes.
    """

    __slots__ = ("_delta", "_rows", "_n_rows", "parts")

    parts: Sequence[Changes]
    _n_rows: int
    _rows: NDArray[np.int32] | None
    _delta: NDArray[np.float32] | None

    def __init__(
        self, chunks: Sequence[NDArray[np.int64]], parts: Sequence[Changes], n_rows: int, losses: NDArray[np.float64],
        functions: ScoreFunctions,
    ) -> None:  # fmt: skip
        starts, counts, first = np.zeros(len(losses), np.int64), np.zeros(len(losses), np.int64), 0
        for clients, (keys, _) in zip(chunks, parts, strict=True):
            mine = torch.bincount(keys // n_rows, minlength=len(clients)).cpu().numpy()
            counts[clients], starts[clients] = mine, first + np.cumsum(mine) - mine
            first += len(keys)
        unread: NDArray[np.float32] | None = None
        for name, value in (
            ("starts", starts), ("counts", counts), ("losses", losses), ("functions", functions), ("parts", parts),
            ("_n_rows", n_rows), ("_rows", unread), ("_delta", unread),
        ):  # fmt: skip
            # as the frozen dataclass that this is does it
            object.__setattr__(self, name, value)

    @property
    def rows(self) -> NDArray[np.int32]:
        read = self._rows
        if read is None:
            read = torch.cat([(keys % self._n_rows).to(torch.int32).cpu() for keys, _ in self.parts]).numpy()
            object.__setattr__(self, "_rows", read)
        return read

    @property
    def delta(self) -> NDArray[np.float32]:
        read = self._delta
        if read is None:
            read = torch.cat([changes.cpu() for _, changes in self.parts]).numpy()
            object.__setattr__(self, "_delta", read)
        return read


def changes_at(part: Changes, wanted: Tensor) -> Tensor:
    """(c, m, dim) what a chunk's clients changed at the keys `wanted` (c, m); zero where nothing."""
    keys, changes = part
    if not len(keys):
        return changes.new_zeros(*wanted.shape, changes.shape[1])
    places = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
    return changes[places] * (keys[places] == wanted)[..., None]


def moved(part: Changes, device: torch.device) -> Changes:
    """The same on another device."""
    keys, changes = part
    return keys.to(device), changes.to(device)


def add_rounded(part: Changes, total: Tensor, scale: float, limit: int) -> int:
    """Add a chunk's changes, in integers at `scale` (half to even) and held within +-limit, to `total` (n_rows, dim)
    int64. Returns how many numbers met the limit.
    """
    met = torch.zeros((), dtype=torch.int64, device=total.device)
    for keys, change in zip(part[0].split(ROUNDED_AT_ONCE), part[1].split(ROUNDED_AT_ONCE), strict=True):
        whole = (change.double() * scale).round()
        held = whole.clamp(-limit, limit)
        met += (held != whole).sum()
        # Whole numbers add up to the same in any order.
        total.index_add_(0, keys % len(total), held.long())
    return int(met)
