"""What one kind of adversary saw in one round, and, apart from it, what is true.

An attack receives an `UploadView` and nothing else, so it cannot peek: no field leads to a `Truth`. All of them check
themselves when made and raise `ViewError`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from attacks.errors import ViewError

Kind = Literal["unprotected_upload", "noised_upload", "opened_sum"]
"""unprotected_upload: each client's change of the item table as trained. noised_upload: the same after the client has
clipped and noised it. opened_sum: only the sum over a cohort, whether noised or not."""

KINDS: tuple[str, ...] = get_args(Kind)

_VALUES_AT_ONCE = 1 << 22
"""Values of dense matrices built at a time (16 MiB), which bounds an attack's memory."""


@dataclass(frozen=True, slots=True, eq=False)
class DenseUploads:
    """A whole matrix from each client.

    clients: (n,) int64 pseudonyms, distinct. delta: (n, n_items, dim) float32, the client's change of the broadcast
    table.
    """

    clients: NDArray[np.int64]
    delta: NDArray[np.float32]

    def __post_init__(self) -> None:
        _check_clients(self.clients)
        _check_floats("delta", self.delta, 3)
        if len(self.delta) != len(self.clients):
            raise ViewError(f"delta holds {len(self.delta)} uploads, but there are {len(self.clients)} clients")


@dataclass(frozen=True, slots=True, eq=False)
class RowUploads:
    """Only the rows that each client changed; all others are exactly zero.

    clients: (n,) int64 pseudonyms, distinct. Client c's rows are rows[offsets[c]:offsets[c + 1]], distinct item
    numbers, with their changes at the same places of delta. offsets: (n + 1,) int64; rows: (total,) int32; delta:
    (total, dim) float32.
    """

    clients: NDArray[np.int64]
    offsets: NDArray[np.int64]
    rows: NDArray[np.int32]
    delta: NDArray[np.float32]

    def __post_init__(self) -> None:
        _check_clients(self.clients)
        _check_lists("rows", len(self.clients), self.offsets, self.rows)
        _check_floats("delta", self.delta, 2)
        if len(self.delta) != len(self.rows):
            raise ViewError(f"delta has {len(self.delta)} rows, but rows names {len(self.rows)}")

    @classmethod
    def from_lists(
        cls, clients: NDArray[np.int64], rows: Sequence[NDArray[np.int32]], delta: Sequence[NDArray[np.float32]]
    ) -> Self:
        """From one array of row numbers (t,) and one of changes (t, dim) a client; copies them."""
        if not len(clients) == len(rows) == len(delta) or len(rows) == 0:
            raise ViewError(f"{len(clients)} clients, {len(rows)} lists of rows and {len(delta)} of changes differ")
        return cls(clients, _offsets(rows), np.concatenate(rows), np.concatenate(delta))


@dataclass(frozen=True, slots=True, eq=False)
class OpenedSum:
    """The sum over a cohort. clients: (count,) int64, who took part; total: (n_items, dim) float32, the sum of their
    changes."""

    clients: NDArray[np.int64]
    total: NDArray[np.float32]

    def __post_init__(self) -> None:
        _check_clients(self.clients)
        _check_floats("total", self.total, 2)


@dataclass(frozen=True, slots=True, eq=False)
class UploadView:
    """What one kind of adversary saw in one round.

    kind: see `Kind`. round_number: from 1. table: (n_items, dim) float32, the item embeddings that were broadcast.
    popularity: (n_items,) int64, how many of `population` users have each item, which is taken to be public. uploads:
    one matrix a client for the two kinds of uploads, an `OpenedSum` for the kind of that name.
    """

    kind: Kind
    round_number: int
    table: NDArray[np.float32]
    popularity: NDArray[np.int64]
    population: int
    uploads: DenseUploads | RowUploads | OpenedSum

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ViewError(f"{self.kind!r} is not a kind of view; known are {', '.join(KINDS)}")
        if (self.kind == "opened_sum") != isinstance(self.uploads, OpenedSum):
            raise ViewError(f"a view of kind {self.kind} cannot hold {type(self.uploads).__name__}")
        if self.round_number < 1:
            raise ViewError(f"rounds count from 1, not {self.round_number}")
        _check_floats("table", self.table, 2)
        if 0 in self.table.shape:
            raise ViewError(f"the table has the shape {self.table.shape}: it needs an item and a dimension at least")
        _check_dtype("popularity", self.popularity, np.int64, 1)
        if len(self.popularity) != self.n_items:
            raise ViewError(f"popularity counts {len(self.popularity)} items, the table has {self.n_items}")
        if self.population < 1 or self.popularity.min() < 0 or self.popularity.max() > self.population:
            raise ViewError(f"popularity must lie between 0 and the population, {self.population}")
        uploads = self.uploads
        shape = uploads.total.shape if isinstance(uploads, OpenedSum) else uploads.delta.shape[1:]
        wanted = self.table.shape[1:] if isinstance(uploads, RowUploads) else self.table.shape
        if shape != wanted:
            raise ViewError(f"an upload has the shape {shape}, the table asks for {wanted}")
        if isinstance(uploads, RowUploads):
            _check_range("rows", uploads.rows, self.n_items)

    @property
    def n_items(self) -> int:
        return self.table.shape[0]

    @property
    def dim(self) -> int:
        return self.table.shape[1]

    @property
    def clients(self) -> NDArray[np.int64]:
        """Who uploaded, or took part in the sum."""
        return self.uploads.clients

    @property
    def n_matrices(self) -> int:
        """Matrices the adversary holds: one a client, or one for a sum."""
        return 1 if isinstance(self.uploads, OpenedSum) else len(self.clients)

    @property
    def clients_per_matrix(self) -> int:
        """1 for an upload, the size of the cohort for a sum."""
        return len(self.clients) // self.n_matrices

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The matrices in order, a few at a time, each block (b, n_items, dim) float32, to be read only."""
        size = max(1, _VALUES_AT_ONCE // self.table.size)
        uploads = self.uploads
        for start in range(0, self.n_matrices, size):
            stop = min(start + size, self.n_matrices)
            if isinstance(uploads, OpenedSum):
                yield uploads.total[None]
            elif isinstance(uploads, DenseUploads):
                yield uploads.delta[start:stop]
            else:
                block = np.zeros((stop - start, self.n_items, self.dim), dtype=np.float32)
                for at, client in enumerate(range(start, stop)):
                    span = slice(uploads.offsets[client], uploads.offsets[client + 1])
                    block[at, uploads.rows[span]] = uploads.delta[span]
                yield block


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """One attribute of each client. names: the classes; codes: (n,) int16, the place in `names`, -1 where unknown."""

    names: tuple[str, ...]
    codes: NDArray[np.int16]

    def __post_init__(self) -> None:
        _check_dtype("codes", self.codes, np.int16, 1)
        if len(self.codes) and not -1 <= int(self.codes.min()) <= int(self.codes.max()) < len(self.names):
            raise ViewError(
                f"codes must lie between -1 and {len(self.names) - 1}, the last of {len(self.names)} classes"
            )
        if len(set(self.names)) != len(self.names):
            raise ViewError("the names of an attribute's classes must differ")


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Each client's training positives and attributes: what attacks guess at and never receive.

    clients: (n,) int64 pseudonyms as in the views. Client c's items are items[offsets[c]:offsets[c + 1]], distinct.
    offsets: (n + 1,) int64; items: (total,) int32. attributes: such as "gender", in the order of `clients`.
    """

    n_items: int
    clients: NDArray[np.int64]
    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    attributes: Mapping[str, Labels] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_clients(self.clients)
        for name, labels in self.attributes.items():
            if len(labels.codes) != len(self.clients):
                raise ViewError(f"the attribute {name} labels {len(labels.codes)} of {len(self.clients)} clients")
        _check_lists("items", len(self.clients), self.offsets, self.items)
        _check_range("items", self.items, self.n_items)

    @classmethod
    def from_lists(
        cls,
        n_items: int,
        clients: NDArray[np.int64],
        items: Sequence[NDArray[np.int32]],
        attributes: Mapping[str, Labels] | None = None,
    ) -> Self:
        """From one array of item numbers a client; repeats are dropped."""
        distinct = [np.unique(each) for each in items]
        joined = np.concatenate(distinct) if distinct else np.zeros(0)
        return cls(n_items, clients, _offsets(distinct), joined.astype(np.int32), attributes or {})

    def places(self, clients: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where these clients stand in `self.clients`. Raises ViewError for a client unknown here."""
        order = np.argsort(self.clients)
        found = np.minimum(np.searchsorted(self.clients, clients, sorter=order), len(order) - 1)
        places = order[found]
        strangers = clients[self.clients[places] != clients]
        if len(strangers):
            raise ViewError(f"the truth has no client {strangers[0]}: it belongs to another run")
        return places

    def positives(self, clients: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(len(clients), n_items), True where the client has the item. Raises ViewError for a client unknown here."""
        mask = np.zeros((len(clients), self.n_items), dtype=np.bool_)
        for row, at in enumerate(self.places(clients).tolist()):
            mask[row, self.items[self.offsets[at] : self.offsets[at + 1]]] = True
        return mask

    def labels(self, attribute: str, clients: NDArray[np.int64]) -> NDArray[np.int16]:
        """(len(clients),) codes of that attribute. Raises ViewError for a client unknown here."""
        return self.attributes[attribute].codes[self.places(clients)]


def _offsets(lists: Sequence[NDArray[np.int32]]) -> NDArray[np.int64]:
    return np.cumsum([0, *(len(each) for each in lists)], dtype=np.int64)


def _check_dtype(name: str, array: NDArray[np.generic], dtype: type[np.generic], dimensions: int) -> None:
    if array.dtype != np.dtype(dtype):
        raise ViewError(f"{name} must be {np.dtype(dtype).name}, not {array.dtype}: convert it with .astype()")
    if array.ndim != dimensions:
        raise ViewError(f"{name} must have {dimensions} dimensions, not {array.ndim}")


def _check_floats(name: str, array: NDArray[np.float32], dimensions: int) -> None:
    _check_dtype(name, array, np.float32, dimensions)
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise ViewError(f"{bad} of {array.size} values in {name} are not finite")


def _check_clients(clients: NDArray[np.int64]) -> None:
    _check_dtype("clients", clients, np.int64, 1)
    if len(clients) == 0:
        raise ViewError("there is no client")
    if clients.min() < 0 or len(np.unique(clients)) != len(clients):
        raise ViewError("clients must be distinct numbers, 0 or more")


def _check_lists(name: str, n: int, offsets: NDArray[np.int64], values: NDArray[np.int32]) -> None:
    _check_dtype("offsets", offsets, np.int64, 1)
    _check_dtype(name, values, np.int32, 1)
    if len(offsets) != n + 1:
        raise ViewError(f"offsets has {len(offsets)} entries, {n} clients need {n + 1}")
    if offsets[0] != 0 or offsets[-1] != len(values) or np.any(np.diff(offsets) < 0):
        raise ViewError(f"offsets must rise from 0 to the length of {name}, {len(values)}")
    owners = np.repeat(np.arange(n), np.diff(offsets))
    if len(np.unique((owners << 32) + values)) != len(values):
        raise ViewError(f"a client's {name} must be distinct")


def _check_range(name: str, values: NDArray[np.int32], n_items: int) -> None:
    if len(values) and not 0 <= int(values.min()) <= int(values.max()) < n_items:
        raise ViewError(f"{name} must lie between 0 and {n_items - 1}")
