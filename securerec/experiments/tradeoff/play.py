"""Plays one cell: trains, evaluates every user, attacks what was recorded."""

import shutil
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attacks import Case, run_attacks
from attacks.registry import all_attacks
from attacks.views import Kind as View
from securerec.audit.recording import recorded_cases, recorder_of
from securerec.config import Config
from securerec.data.dataset import Dataset
from securerec.data.splits import Candidates, Split, draw_candidates, leave_one_out
from securerec.evaluation.protocols import Scorer, full_ranks, sampled_ranks
from securerec.experiments.tradeoff.cells import Cell, Measured
from securerec.experiments.tradeoff.direct_sum import DirectSum
from securerec.experiments.tradeoff.references import REFERENCES
from securerec.federation import results
from securerec.federation.folder import RunFolder
from securerec.federation.pool import DevicePool
from securerec.federation.releases import Releases
from securerec.federation.run import Run
from securerec.federation.summing import SecureSum
from securerec.models.head import Heads, fit_tastes, make_head, public_features
from securerec.training.cohort import Table

SEEN: dict[str, View] = {"central": "opened_sum", "local": "noised_upload", "none": "unprotected_upload"}
"""By kind, the view of the adversary that the kind's epsilon, or its absence, speaks of."""


class _DirectReleases(Releases):
    def secure_sum(
        self, name: str, label: str, protocol: str, pool: DevicePool, table: Table, basis: bytes
    ) -> SecureSum:
        if protocol != "plain":
            return super().secure_sum(name, label, protocol, pool, table, basis)
        return DirectSum(self._promises[name].quantiser, self._noise_key, self._cohort, label)


class SweptRun(Run):
    """A run whose plain sums are added up directly, with the same integers; see `DirectSum`."""

    def __init__(self, folder: RunFolder, dataset: Dataset) -> None:
        super().__init__(folder, dataset)
        self.releases = _DirectReleases(folder, self.config, self.promises, self.noise_key, self.run_id, self.cohort)


def play(cell: Cell, dataset: Dataset, folder: Path) -> Measured:
    """Measure a cell. A run lies in `folder` while it goes on, so that one that was stopped loses a round at most, and
    is deleted once it was measured.

    Raises what runs and attacks raise.
    """
    if cell.kind == "reference":
        return _reference(cell, dataset)
    if cell.kind == "nothing":
        return _alone(cell, dataset)
    path = folder / "running" / cell.digest()
    measured = _run(cell, dataset, path)
    shutil.rmtree(path, ignore_errors=True)
    return measured


def _reference(cell: Cell, dataset: Dataset) -> Measured:
    started = time.perf_counter()
    split = leave_one_out(dataset.interactions)
    candidates = _candidates(cell.config, dataset, split)
    scorer = REFERENCES[cell.label].build(split, candidates, np.random.default_rng(cell.seed or 0))
    users, values = evaluate(scorer, cell.config, split, candidates)
    return Measured(users, values, None, (), time.perf_counter() - started)


def _alone(cell: Cell, dataset: Dataset) -> Measured:
    """Every device's private head over the public features and a popularity that nobody knows: all items alike."""
    started = time.perf_counter()
    split, start = leave_one_out(dataset.interactions), cell.config.start
    head = make_head(public_features(dataset), np.ones(dataset.interactions.n_items))
    heads = Heads(head, fit_tastes(head, split.train, recency=start.recency))
    users, values = evaluate(heads.logits, cell.config, split, _candidates(cell.config, dataset, split))
    return Measured(users, values, (), (), time.perf_counter() - started)


def _run(cell: Cell, dataset: Dataset, path: Path) -> Measured:
    run = SweptRun(RunFolder.open(path), dataset) if path.exists() else SweptRun.create(path, cell.config, dataset)
    with run.folder.locked(), DevicePool(1) as pool:
        recorder = recorder_of(run) if cell.attacks else None
        tracks = run.tracks(pool, recorder)
        finished = run.play(tracks, lambda progress: None, recorder)
        started = time.perf_counter()
        devices = results.trained_devices(tracks["clean"], finished.states["clean"])
    share = {"server": 0.0, "own": 1.0}.get(cell.config.evaluation.scoring or "server")
    scorer = devices.scorer(results.chosen_shares(devices, run.split) if share is None else share)
    users, values = evaluate(scorer, cell.config, run.split, run.candidates)
    findings = _attack(cell, path) if cell.attacks else ()
    seconds = run.folder.seconds().get("total", 0.0) + time.perf_counter() - started
    return Measured(users, values, run.folder.ledger.events(), findings, seconds)


def _attack(cell: Cell, path: Path) -> tuple[dict[str, object], ...]:
    seen = SEEN[cell.kind]
    attacks = [each for each in all_attacks() if each.name in cell.attacks and seen in each.kinds]
    findings: list[dict[str, object]] = []
    for release, case in recorded_cases(path / "views").items():
        shown = Case(case.recording.only((seen,)), case.truth, case.public)
        found = run_attacks(shown, seed=cell.seed or 0, attacks=attacks)
        findings += [finding.to_json() | {"release": release} for finding in found]
    return tuple(findings)


def _candidates(config: Config, dataset: Dataset, split: Split) -> Candidates:
    """As a run draws them."""
    rng = np.random.default_rng(config.data.candidates_seed)
    return draw_candidates(dataset.interactions, split, rng, config.data.sampled_negatives)


def evaluate(
    scorer: Scorer, config: Config, split: Split, candidates: Candidates
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """Users with a held-out test item (n,), and each one's metrics by "clean.hr@10" and the like, (n,) each."""
    by_protocol = {"clean": sampled_ranks(scorer, candidates.test), "full": full_ranks(scorer, split)}
    users = by_protocol["clean"].users
    if not np.array_equal(users, by_protocol["full"].users):
        raise ValueError("the two protocols do not rank the same users")
    values = {
        f"{protocol}.{name}": each
        for protocol, ranks in by_protocol.items()
        for name, each in ranks.per_user(config.evaluation.cutoffs).items()
    }
    return users, values
