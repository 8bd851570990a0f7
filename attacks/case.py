"""What an auditor holds: recorded views, what everybody knows, and, apart from both, the truth."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from attacks.errors import ViewError
from attacks.views import KINDS, Kind, Truth, UploadView


@dataclass(frozen=True, slots=True)
class LocalTraining:
    """How a client trains, as the server tells all: SGD over batches of `batch_size` samples, `negatives` drawn anew
    beside each positive in each round, `epochs` passes. score_lr moves the private vector, item_lr the rows (the whole
    factor, the number of items included).
    """

    score_lr: float
    item_lr: float
    batch_size: int
    negatives: int
    epochs: int


@dataclass(frozen=True, slots=True, eq=False)
class Public:
    """What everybody knows beside the views, as far as it is known.

    genres: (n_items, len(genre_names)) bool. training: the recommender's local training. min_survivors: the fewest
    clients that a sum of noised uploads is opened over, since their noise was sized for as many.
    """

    genres: NDArray[np.bool_] | None = None
    genre_names: tuple[str, ...] = ()
    training: LocalTraining | None = None
    min_survivors: int = 1

    def __post_init__(self) -> None:
        if self.genres is not None and (
            self.genres.dtype != np.bool_ or self.genres.ndim != 2 or self.genres.shape[1] != len(self.genre_names)
        ):
            raise ViewError(f"genres must be bool with {len(self.genre_names)} columns, one for each genre name")


class Recording:
    """Views by kind and round, each read when it is asked for."""

    def __init__(self, readers: dict[tuple[Kind, int], Callable[[], UploadView]]) -> None:
        """readers: by (kind, round)."""
        self._readers = readers

    @classmethod
    def of(cls, views: Sequence[UploadView]) -> "Recording":
        """Of views in memory. Raises ViewError for two of one kind and round."""
        readers: dict[tuple[Kind, int], Callable[[], UploadView]] = {}
        for view in views:
            key = (view.kind, view.round_number)
            if key in readers:
                raise ViewError(f"two views are of kind {view.kind} and round {view.round_number}")
            readers[key] = lambda view=view: view  # type: ignore[misc]
        return cls(readers)

    def only(self, kinds: Collection[Kind]) -> "Recording":
        """The views of these kinds alone."""
        return Recording({key: reader for key, reader in self._readers.items() if key[0] in kinds})

    def kinds(self) -> tuple[Kind, ...]:
        """The kinds that were recorded, in the order of `KINDS`."""
        return tuple(kind for kind in KINDS if any(kind == known for known, _ in self._readers))  # type: ignore[misc]

    def rounds(self, kind: Kind) -> tuple[int, ...]:
        """The recorded rounds of a kind, rising."""
        return tuple(sorted(number for known, number in self._readers if known == kind))

    def view(self, kind: Kind, round_number: int) -> UploadView:
        """Raises ViewError where it was not recorded, or its file is not sound."""
        reader = self._readers.get((kind, round_number))
        if reader is None:
            raise ViewError(f"no view of kind {kind} was recorded in round {round_number}")
        return reader()


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """All of one recording. Attacks are never given it: a goal takes from it what its adversary would have."""

    recording: Recording
    truth: Truth
    public: Public = field(default_factory=Public)
