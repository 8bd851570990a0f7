"""Writes what adversaries saw of a round, for the auditor. These files are the secret that the run protects."""

from pathlib import Path

import numpy as np

from attacks import storage
from attacks.views import DenseUploads, Kind, OpenedSum, RowUploads, Truth, UploadView
from securerec.data.interactions import Interactions
from securerec.federation.track import RoundOutcome, TrackState
from securerec.privacy.mechanism import FixedPoint, Mechanism

TRUTH_FILE = "truth.safetensors"


class ViewRecorder:
    """Records three views of a round: uploads as trained, as noised, and the opened sum. The truth stands in a file
    apart.

    The adversary of the first would face no protection; of the second, a server that opens single uploads (local
    privacy); of the third, the server of a secure sum.
    """

    def __init__(self, folder: Path, train: Interactions, quantiser: Mechanism | FixedPoint) -> None:
        self.folder = folder
        self._clients = np.arange(train.n_users, dtype=np.int64)
        self._popularity, self._population = train.popularity(), train.n_users
        self._quantiser = quantiser
        items = [train.of(user) for user in range(train.n_users)]
        folder.mkdir(mode=0o700, exist_ok=True)
        storage.save(folder / TRUTH_FILE, Truth.from_lists(train.n_items, self._clients, items))

    def __call__(self, before: TrackState, outcome: RoundOutcome) -> None:
        """Record the round that led from `before` to the outcome's state."""
        update, opened, shape = outcome.update, outcome.opened, before.table.shape
        parts = [update.of(client) for client in range(len(update.counts))]
        rows = RowUploads.from_lists(self._clients, [rows for rows, _ in parts], [delta for _, delta in parts])
        self._write("unprotected_upload", before, rows)
        scale = self._quantiser.scale
        if opened.recorded is not None and isinstance(self._quantiser, Mechanism):
            noised = (opened.recorded / scale).astype(np.float32).reshape(-1, *shape)
            self._write("noised_upload", before, DenseUploads(self._clients, noised))
        total = (opened.total / scale).astype(np.float32).reshape(shape)
        self._write("opened_sum", before, OpenedSum(self._clients, total))

    def _write(self, kind: Kind, before: TrackState, uploads: DenseUploads | RowUploads | OpenedSum) -> None:
        number = before.round_number + 1
        view = UploadView(kind, number, before.table, self._popularity, self._population, uploads)
        storage.save(self.folder / f"round-{number:06d}-{kind}.safetensors", view)


def view_files(folder: Path) -> list[Path]:
    """The recorded views, by round and kind."""
    return sorted(path for path in folder.glob("round-*.safetensors"))
