"""Cohorts in chunks that fit a device's memory, and where each client's samples find their item rows in one.

A chunk's clients stand longest first, so that those who still have samples in the k-th batch are its first ones. Rows
are kept in one tensor for all clients, each client's after the other's: only batches are padded.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from securerec.training.torch_learners import Part

SAMPLE_BYTES = 80
"""That finding a sample's row takes: 64-bit keys, sorted."""

MOST_CLIENTS = 1 << 15
"""Of a chunk: kernels for batches of matrix products may take no more than 65,535 at a time."""


def cut(
    samples: NDArray[np.int64], *, batch_size: int, dim: int, numbers: int, private: int, memory: int
) -> list[NDArray[np.int64]]:
    """Consecutive clients in chunks, each of about `memory` bytes at most or of one client; in a chunk longest first.

    samples: (n_clients,) of each client. numbers: of a sample in a step; private: of a client's score function. Depends
    on nothing else, so that a cohort is cut in the same way wherever it trains.
    """
    chunks: list[NDArray[np.int64]] = []
    first, total, widest = 0, 0, 0
    for client, count in enumerate(samples.tolist()):
        total, widest = total + count, max(widest, min(batch_size, count))
        needed = total * (SAMPLE_BYTES + 12 * dim) + 4 * (client + 1 - first) * (widest * numbers + 4 * private)
        if client > first and (needed > memory or client - first == MOST_CLIENTS):
            chunks.append(np.arange(first, client))
            first, total, widest = client, count, min(batch_size, count)
    chunks.append(np.arange(first, len(samples)))
    return [clients[np.argsort(-samples[clients], kind="stable")] for clients in chunks]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Batch:
    """The samples of one step of the chunk's first `active` clients, b each at most.

    places: (active, b) rows of the chunk, its last row where a client has no sample. labels: (active, b). share:
    (active, b) each sample's part of its client's mean loss, 0 where there is none. there: (n,) where the n samples
    stand in these, flattened.
    """

    active: int
    places: Tensor
    labels: Tensor
    share: Tensor
    there: Tensor


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Chunk:
    """The samples of some clients, c of them, and the rows they touch, t of them.

    samples: (c,) of each client, falling. cuts: (c,) where each one's begin. places, labels: (n_samples,). holders,
    items: (t,) client of the chunk and item of each row, rising; `places` are numbers of those rows.
    """

    samples: NDArray[np.int64]
    cuts: Tensor
    places: Tensor
    labels: Tensor
    holders: Tensor
    items: Tensor

    @classmethod
    def of(cls, samples: NDArray[np.int64], begins: NDArray[np.int64], codes: Tensor, n_items: int) -> "Chunk":
        """codes: (n_samples,) everybody's, as of `Draws`; client c's begin at begins[c]."""
        device, n = codes.device, int(samples.sum())
        cuts = torch.from_numpy(np.cumsum(samples) - samples).to(device)
        counts, starts = torch.from_numpy(samples).to(device), torch.from_numpy(begins).to(device)
        holders = torch.repeat_interleave(torch.arange(len(samples), device=device), counts, output_size=n)
        mine = codes[torch.arange(n, device=device) + (starts - cuts)[holders]].long()
        keys, places = torch.unique(holders * n_items + (mine >> 1), sorted=True, return_inverse=True)
        return cls(samples, cuts, places, (mine & 1).float(), keys // n_items, keys % n_items)

    def span(self, part: Part) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(c,) where each client's samples of a part begin and end, among its own."""
        first, last = (self.samples * halves // 2 for halves in part.span)
        return first, last

    def batches(self, part: Part, size: int) -> Iterator[Batch]:
        """One pass over a part. Longer lists have the longer parts, so active clients come first."""
        first, last = self.span(part)
        begins, ends = (self.cuts + torch.from_numpy(place).to(self.cuts.device) for place in (first, last))
        steps = torch.arange(size, device=self.cuts.device)
        for done in range(0, int((last - first).max(initial=0)), size):
            left = np.minimum(last - first - done, size)
            active, width = int(np.count_nonzero(left > 0)), int(left[0])
            # What the device need not be asked for, it need not be waited for.
            n = int(left[:active].sum())
            index = (begins[:active] + done)[:, None] + steps[:width]
            filled = index < ends[:active, None]
            index = torch.where(filled, index, 0)
            counts = filled.sum(dim=1)
            holders = torch.repeat_interleave(torch.arange(active, device=steps.device), counts, output_size=n)
            there = torch.arange(n, device=steps.device) + (holders * width - (counts.cumsum(0) - counts)[holders])
            yield Batch(
                active, torch.where(filled, self.places[index], len(self.items)), self.labels[index],
                filled / counts[:, None], there,
            )  # fmt: skip

    def touched(self, part: Part) -> Tensor:
        """(t,) whether a row is met in a part."""
        first, last = self.span(part)
        met = torch.zeros(len(self.items), dtype=torch.bool, device=self.items.device)
        spans = (torch.from_numpy(each).to(met.device) for each in (self.samples, first, last))
        counts, firsts, lasts = spans
        among = torch.arange(len(self.places), device=met.device)
        holders = torch.repeat_interleave(torch.arange(len(counts), device=met.device), counts, output_size=len(among))
        among -= self.cuts[holders]
        met[self.places[(among >= firsts[holders]) & (among < lasts[holders])]] = True
        return met
