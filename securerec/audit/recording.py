"""Writes what adversaries saw of a round, for the auditor. These files are the secret that the run protects."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from attacks import Finding, storage
from attacks.case import Case, LocalTraining, Public
from attacks.views import DenseUploads, Kind, Labels, OpenedSum, RowUploads, Truth, UploadView
from securerec.config import Config
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.federation.run import Run
from securerec.federation.summing import OpenedSum as Opened
from securerec.federation.track import RoundOutcome, TrackState
from securerec.federation.warm_start import segments_name
from securerec.models.pfedrec import PFedRec
from securerec.models.scorers import Learner
from securerec.privacy.mechanism import Mechanism
from securerec.training.cohort import Table
from securerec.training.updates import Updates

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
    """Records three views of a round: uploads as trained, as noised, and the opened sum; of devices that train with
    noise the first is no view of anybody's. The truth stands in a file apart, and so does what everybody knows.

    The adversary of the first would face no protection; of the second, a server that opens single uploads (local
    privacy); of the third, the server of a secure sum.
    """

    def __init__(
        self, folder: Path, dataset: Dataset, train: Interactions, model: Learner, *, scale: float, noised: bool,
        min_survivors: int, noise_in_training: bool = False,
    ) -> None:  # fmt: skip
        """scale: integers to a unit of the item table; noised: whether the recorded integers hold noise, which
        noise_in_training says was there before they were made; min_survivors: fewest clients whose noised uploads are
        opened as a sum.
        """
        self.folder = folder
        self._clients = np.arange(train.n_users, dtype=np.int64)
        self._popularity, self._population = train.popularity(), train.n_users
        self._scale, self._noised, self._noise_in_training = scale, noised, noise_in_training
        folder.mkdir(mode=0o700, exist_ok=True)
        storage.save(folder / TRUTH_FILE, truth_of(dataset, train))
        storage.save(folder / PUBLIC_FILE, public_of(dataset, None if noise_in_training else model, min_survivors))

    def __call__(self, before: TrackState, outcome: RoundOutcome) -> None:
        """Record the round that led from `before` to the outcome's state."""
        if outcome.updates is None:
            raise ValueError("a round is to be recorded whose updates were not kept")
        self._record(self.folder, before.round_number + 1, before.table, outcome.updates, outcome.opened, self._scale)

    def release(self, name: str, table: Table, updates: Updates, opened: Opened, scale: float) -> None:
        """Record a release of the warm start, in a folder of its own. table: what devices were sent; scale: integers to
        a unit.
        """
        folder = self.folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
        self._record(folder, 1, table, updates, opened, scale)

    def _record(self, folder: Path, number: int, table: Table, updates: Updates, opened: Opened, scale: float) -> None:
        def write(kind: Kind, uploads: DenseUploads | RowUploads | OpenedSum) -> None:
            view = UploadView(kind, number, table, self._popularity, self._population, uploads)
            storage.save(folder / f"round-{number:06d}-{kind}.safetensors", view)

        parts = [updates.of(client) for client in range(len(self._clients))]
        rows = RowUploads.from_lists(self._clients, [rows for rows, _ in parts], [delta for _, delta in parts])
        if not self._noise_in_training:
            write("unprotected_upload", rows)
        if opened.recorded is not None and self._noised:
            noised = (opened.recorded.astype(np.float32) / np.float32(scale)).reshape(-1, *table.shape)
            write("noised_upload", DenseUploads(self._clients, noised))
        write("opened_sum", OpenedSum(self._clients, (opened.total / scale).astype(np.float32).reshape(table.shape)))


def recorder_of(run: Run, *, scale: float | None = None) -> ViewRecorder:
    """Records a run's views in its folder. scale: that of its sums, noised, where it is not its promise's."""
    promise = list(run.promises.values())[-1]
    quantiser, sgd = promise.quantiser, promise.sgd is not None
    noised = scale is not None or sgd or isinstance(quantiser, Mechanism)
    return ViewRecorder(
        run.folder.views, run.dataset, run.split.train, run.config.training.learner(),
        scale=quantiser.scale if scale is None else scale, noised=noised,
        min_survivors=promise.min_survivors if sgd or isinstance(quantiser, Mechanism) else 1, noise_in_training=sgd,
    )  # fmt: skip


def view_bytes(config: Config, dataset: Dataset) -> int:
    """Bytes that a resolved configuration's views may take, at most."""
    views, dim = config.views.view_rounds or (), config.training.learner().dim
    if not config.views.record_views:
        return 0
    n_users, n_items = dataset.interactions.n_users, dataset.interactions.n_items
    samples = np.diff(dataset.interactions.offsets) * (1 + config.training.negatives)
    touched = int(np.minimum(samples, n_items).sum()) * (4 * dim + 4)
    dense = 4 * n_users * n_items * dim if config.privacy.privacy else 0
    copies = 2 if config.privacy.privacy else 1
    released = sum(4 * n_users * n_items * width * copies for width in start_widths(config).values())
    return len(views) * (touched + dense + 3 * 4 * n_items * dim) + released


def start_widths(config: Config) -> dict[str, int]:
    """Columns of each release of the warm start, by name."""
    start = config.start
    if not start.head:
        return {}
    return {"popularity": 1} | {segments_name(n): 1 + width for n, width in enumerate(start.segments or ())}


def truth_of(dataset: Dataset, train: Interactions) -> Truth:
    """Each user's training items and, where the data set has them, gender, age band and occupation. Where one is not
    known of somebody, it is left out.
    """
    clients = np.arange(train.n_users, dtype=np.int64)
    known = dataset.user_attributes
    labels: dict[str, Labels] = {}
    for name in ("gender", "occupation"):
        if name in known:
            labels[name] = _labels(known[name])
    ages = known.get("age", ())
    if any(ages) and all(age.isdigit() for age in ages if age):
        years = np.array([int(age) if age else -1 for age in ages])
        bands = np.searchsorted([first for _, first in AGE_BANDS], years, side="right") - 1
        labels["age band"] = Labels(tuple(name for name, _ in AGE_BANDS), bands.astype(np.int16))
    return Truth.from_lists(train.n_items, clients, [train.of(user) for user in range(train.n_users)], labels)


def public_of(dataset: Dataset, model: Learner | None, min_survivors: int) -> Public:
    """Genres, how devices train (None where they do not train as PFedRec does), and how few are summed: what any client
    is told.
    """
    training = None
    if isinstance(model, PFedRec):
        item_lr = model.item_lr(dataset.interactions.n_items)
        training = LocalTraining(model.score_lr, item_lr, model.batch_size, model.negatives, model.epochs)
    return Public(dataset.genres if dataset.genre_names else None, dataset.genre_names, training, min_survivors)


def recorded_cases(folder: Path) -> dict[str, Case]:
    """What was recorded in a run's folder of views, by what was released: of its warm start, and "rounds".

    Raises ViewError, naming the file.
    """
    truth, public = storage.load_truth(folder / TRUTH_FILE), storage.load_public(folder / PUBLIC_FILE)
    places = {place.name: place for place in sorted(folder.iterdir()) if place.is_dir()} | {"rounds": folder}
    files = {name: sorted(place.glob("round-*.safetensors")) for name, place in places.items()}
    return {name: Case(storage.recording(found), truth, public) for name, found in files.items() if found}


def named(findings: list[Finding], release: str) -> list[Finding]:
    """Findings on a release of the warm start say so in their target; those on rounds are left alone."""
    return findings if release == "rounds" else [replace(it, target=f"{it.target}, {release}") for it in findings]


def _labels(values: tuple[str, ...]) -> Labels:
    names = sorted({value for value in values if value})
    place = {name: code for code, name in enumerate(names)}
    return Labels(tuple(names), np.array([place.get(value, -1) for value in values], np.int16))
