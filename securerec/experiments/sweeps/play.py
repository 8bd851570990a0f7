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
from securerec.experiments.sweeps.cells import Cell, Measured, Protocol
from securerec.experiments.sweeps.direct_sum import DirectSum
from securerec.experiments.sweeps.references import REFERENCES
from securerec.federation import results
from securerec.federation.folder import RunFolder
from securerec.federation.pool import DevicePool
from securerec.federation.releases import Releases
from securerec.federation.run import Run
from securerec.federation.summing import SecureSum
from securerec.models.head import Heads, fit_tastes, make_head, public_features
from securerec.training.cohort import Table

Scorers = dict[Protocol, Scorer]
"""What scores under each protocol of evaluation."""

SEEN: dict[str, View] = {"central": "opened_sum", "local": "noised_upload", "none": "unprotected_upload"}
"""By kind, the view of the adversary that the kind's epsilon, or its absence, speaks of."""


class _DirectReleases(Releases):
    def secure_sum(
        self, name: str, label: str, protocol: str, pool: DevicePool, table: Table, basis: bytes,
        heads: Heads | None = None,
    ) -> SecureSum:  # fmt: skip
        if protocol != "plain":
            return super().secure_sum(name, label, protocol, pool, table, basis, heads)
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
    split, reference = leave_one_out(dataset.interactions), REFERENCES[cell.label]
    candidates = _candidates(cell.config, dataset, split)
    scorers: Scorers = {}
    if set(cell.protocols) - {"published"}:
        scorer = reference.build(dataset.interactions, split, candidates, np.random.default_rng(cell.seed or 0))
        scorers = dict.fromkeys(cell.protocols, scorer)
    if "published" in cell.protocols and (reference.published or not scorers):
        build = reference.published or reference.build
        scorers["published"] = build(dataset.interactions, split, candidates, np.random.default_rng(cell.seed or 0))
    users, values = evaluate(scorers, cell, split, candidates)
    return Measured(users, values, None, (), time.perf_counter() - started)


def _alone(cell: Cell, dataset: Dataset) -> Measured:
    """Every device's private head over the public features and a popularity that nobody knows: all items alike."""
    started = time.perf_counter()
    split, start = leave_one_out(dataset.interactions), cell.config.start
    head = make_head(public_features(dataset), np.ones(dataset.interactions.n_items))
    heads = Heads(head, fit_tastes(head, split.train, recency=start.recency))
    candidates = _candidates(cell.config, dataset, split)
    users, values = evaluate(dict.fromkeys(cell.protocols, heads.logits), cell, split, candidates)
    return Measured(users, values, (), (), time.perf_counter() - started)


def _run(cell: Cell, dataset: Dataset, path: Path) -> Measured:
    run = SweptRun(RunFolder.open(path), dataset) if path.exists() else SweptRun.create(path, cell.config, dataset)
    with run.folder.locked(), DevicePool(1) as pool:
        recorder = recorder_of(run) if cell.attacks else None
        tracks = run.tracks(pool, recorder)
        finished = run.play(tracks, lambda progress: None, recorder)
        started = time.perf_counter()
        scorers: Scorers = {}
        if "clean" in cell.protocols or "full" in cell.protocols:
            devices = results.trained_devices(tracks["clean"], finished.states["clean"])
            share = {"server": 0.0, "own": 1.0}.get(cell.config.evaluation.scoring or "server")
            scorer = devices.scorer(results.chosen_shares(devices, run.split) if share is None else share)
            scorers = {"clean": scorer, "full": scorer}
        if "published" in cell.protocols:
            # as the papers do it, by the device's own view wherever the learner has one
            twin = results.trained_devices(tracks["published"], finished.states["published"])
            scorers["published"] = twin.scorer(1.0 if cell.config.training.dual else 0.0)
        users, values = evaluate(scorers, cell, run.split, run.candidates)
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
    scorers: Scorers, cell: Cell, split: Split, candidates: Candidates
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """Users with a held-out test item (n,), and each one's metrics by "clean.hr@10" and the like, (n,) each, for the
    cell's protocols.
    """
    ranks = {
        protocol: full_ranks(scorers[protocol], split)
        if protocol == "full"
        else sampled_ranks(scorers[protocol], candidates.test)
        for protocol in cell.protocols
    }
    users = next(iter(ranks.values())).users
    if any(not np.array_equal(users, each.users) for each in ranks.values()):
        raise ValueError("the protocols do not rank the same users")
    values = {
        f"{protocol}.{name}": each
        for protocol, found in ranks.items()
        for name, each in found.per_user(cell.config.evaluation.cutoffs).items()
    }
    return users, values
