"""Writes what adversaries saw of a round, for the auditor. These files are the secret that the run protects."""

from pathlib import Path

import numpy as np

from attacks import storage
from attacks.case import Case, LocalTraining, Public
from attacks.views import DenseUploads, Kind, Labels, OpenedSum, RowUploads, Truth, UploadView
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.federation.track import RoundOutcome, TrackState
from securerec.models.pfedrec import PFedRec
from securerec.privacy.mechanism import FixedPoint, Mechanism

TRUTH_FILE = "truth.safetensors"
PUBLIC_FILE = "public.safetensors"
AGE_BANDS = (
    ("under 18", 0),
    ("18 to 24", 18),
    ("25 to 34", 25),
    ("35 to 44", 35),
    ("45 to 55", 45),
    ("56 or more", 56),
)
"""Name and first year of each band."""


class ViewRecorder:
    """Records three views of a round: uploads as trained, as noised, and the opened sum. The truth stands in a file
    apart, and so does what everybody knows.

    The adversary of the first would face no protection; of the second, a server that opens single uploads (local
    privacy); of the third, the server of a secure sum.
    """

    def __init__(
        self, folder: Path, dataset: Dataset, train: Interactions, model: PFedRec, quantiser: Mechanism | FixedPoint
    ) -> None:
        self.folder = folder
        self._clients = np.arange(train.n_users, dtype=np.int64)
        self._popularity, self._population = train.popularity(), train.n_users
        self._quantiser = quantiser
        folder.mkdir(mode=0o700, exist_ok=True)
        storage.save(folder / TRUTH_FILE, truth_of(dataset, train))
        storage.save(folder / PUBLIC_FILE, public_of(dataset, model))

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


def truth_of(dataset: Dataset, train: Interactions) -> Truth:
    """Each user's training items and, where the data set has them, gender, age band and occupation."""
    clients = np.arange(train.n_users, dtype=np.int64)
    known = dataset.user_attributes
    labels: dict[str, Labels] = {}
    for name in ("gender", "occupation"):
        if name in known:
            labels[name] = _labels(known[name])
    if "age" in known and all(age.isdigit() for age in known["age"]):
        years = np.array([int(age) for age in known["age"]])
        bands = np.searchsorted([first for _, first in AGE_BANDS], years, side="right") - 1
        labels["age band"] = Labels(tuple(name for name, _ in AGE_BANDS), bands.astype(np.int16))
    return Truth.from_lists(train.n_items, clients, [train.of(user) for user in range(train.n_users)], labels)


def public_of(dataset: Dataset, model: PFedRec) -> Public:
    """Genres, and how devices train: what any client is told."""
    training = LocalTraining(
        model.score_lr, model.item_lr(dataset.interactions.n_items), model.batch_size, model.negatives, model.epochs
    )
    return Public(dataset.genres if dataset.genre_names else None, dataset.genre_names, training)


def recorded_case(folder: Path) -> Case:
    """What was recorded in a run's folder of views. Raises ViewError, naming the file."""
    files = sorted(folder.glob("round-*.safetensors"))
    truth, public = storage.load_truth(folder / TRUTH_FILE), storage.load_public(folder / PUBLIC_FILE)
    return Case(storage.recording(files), truth, public)


def _labels(values: tuple[str, ...]) -> Labels:
    names, codes = np.unique(np.array(values), return_inverse=True)
    return Labels(tuple(names.tolist()), codes.astype(np.int16))
