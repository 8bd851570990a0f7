"""The grid: every attack under every defence, with what each defence costs in utility.

Each defence's run and its findings lie in the grid's folder and are kept as they are finished, so that a grid that was
stopped goes on where it was.
"""

import json
import multiprocessing
import queue
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from attacks import Case, Finding, run_attacks
from attacks.goals.sums import SUM_OF
from attacks.registry import Attack, all_attacks
from attacks.views import Kind
from securerec.audit.defences import DEFENCES, Defence, Training, configuration, train
from securerec.audit.recording import named, recorded_cases
from securerec.data.dataset import Dataset
from securerec.errors import RunError
from securerec.federation.run import Progress
from securerec.files import write_atomic

Step = Callable[[str], None]
"""Told what goes on."""


@dataclass(frozen=True, slots=True)
class Row:
    """A defence, the utility of its run (metrics and intervals), and its findings, both as plain data."""

    defence: str
    utility: dict[str, Any]
    findings: list[dict[str, Any]]


def attack_grid(
    folder: Path, dataset: Dataset, *, seed: int, workers: int, step: Step, rounds: int | None = None,
    defences: Sequence[Defence] = DEFENCES, keep_views: bool = False,
) -> list[Row]:  # fmt: skip
    """Train what is missing, attack it, and return a row for each defence.

    folder: made if need be; one grid's alone. workers: processes, each with a run and its attacks at a time. step: told
    what goes on. rounds: fewer than the default, for a quick look. Views are deleted once all that see them are done,
    unless `keep_views`: they are the secret. Raises RunError for a folder of something else, and what runs and attacks
    raise.
    """
    _claim(folder, {"dataset": dataset.name, "digest": dataset.digest(), "seed": seed, "rounds": rounds})
    trainings = dict.fromkeys(defence.training for defence in defences)
    groups = [
        _Group(folder, dataset, training, tuple(each for each in defences if each.training == training), seed, rounds)
        for training in trainings
    ]
    if workers == 1 or len(groups) == 1:
        for group in groups:
            group.play(step, keep_views=keep_views)
    else:
        _play_side_by_side(groups, workers, step, keep_views)
    return [
        Row(defence.name, _read(folder / f"{defence.training}.utility.json"), _read(_findings_file(folder, defence)))
        for defence in defences
    ]


@dataclass(frozen=True, slots=True)
class _Group:
    """A run, and the defences that are attacked on what was recorded of it."""

    folder: Path
    dataset: Dataset
    training: Training
    defences: tuple[Defence, ...]
    seed: int
    rounds: int | None

    def play(self, step: Step, *, keep_views: bool) -> None:
        """Train, attack, and write what is missing in the grid's folder."""
        place, path = self.folder / f"{self.training}.utility.json", self.folder / self.training

        def round_done(progress: Progress) -> None:
            step(f"training {self.training}: round {progress.round_number} of {progress.rounds}")

        if _read(place) is None:
            step(f"training {self.training}")
            config = configuration(self.training, self.dataset, self.seed, self.rounds)
            _write(place, train(path, config, self.training, self.dataset, 1, round_done))
        for defence in self.defences:
            if _read(_findings_file(self.folder, defence)) is not None:
                continue
            found: list[Finding] = []
            for release, recorded in recorded_cases(path / "views").items():
                for case, attacks in seen_under(defence, recorded):
                    reached = run_attacks(
                        case, seed=self.seed, attacks=attacks,
                        before=lambda attack, name=defence.name: step(f"{name}: {attack.name}"),  # type: ignore[misc]
                    )  # fmt: skip
                    found += named(reached, release)
            seen = {defence.uploads, "opened_sum", SUM_OF[defence.uploads]}
            _write(_findings_file(self.folder, defence), [each.to_json() for each in found if each.view in seen])
        if not keep_views:
            shutil.rmtree(path / "views", ignore_errors=True)


def _play_side_by_side(groups: Sequence[_Group], workers: int, step: Step, keep_views: bool) -> None:
    spawn = multiprocessing.get_context("spawn")
    with multiprocessing.Manager() as manager, ProcessPoolExecutor(workers, mp_context=spawn) as executor:
        said = manager.Queue()
        pending = {executor.submit(_play_group, group, said, keep_views) for group in groups}
        try:
            while pending:
                done, pending = wait(pending, timeout=0.2)
                with suppress(queue.Empty):
                    while True:
                        step(said.get_nowait())
                for each in done:
                    each.result()
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def _play_group(group: _Group, said: "queue.Queue[str]", keep_views: bool) -> None:
    # One thread a process for linear algebra: the processes share the cores.
    with threadpool_limits(1):
        group.play(said.put, keep_views=keep_views)


def seen_under(defence: Defence, case: Case) -> list[tuple[Case, list[Attack[Any, Any]]]]:
    """What the server sees under a defence, with the attacks that apply to it.

    Without a secure sum: single uploads. With one: the opened sums; and sums over cohorts of its choice, which goals
    that look through sums make out of the uploads (and of the trained ones, where a candidate's upload is known).
    """

    def of(kinds: tuple[Kind, ...], through_sums: bool) -> tuple[Case, list[Attack[Any, Any]]]:
        fitting = [each for each in all_attacks() if each.goal.through_sums == through_sums and kinds[0] in each.kinds]
        return Case(case.recording.only(kinds), case.truth, case.public), fitting

    if defence.secure_sum:
        return [of(("opened_sum",), False), of((defence.uploads, "unprotected_upload"), True)]
    return [of((defence.uploads,), False)]


def _claim(folder: Path, claim: dict[str, Any]) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = folder / "grid.json"
    known = _read(place)
    if known is None:
        if any(folder.iterdir()):
            raise RunError(f"{folder} holds something else: give --out a new folder")
        _write(place, claim)
    elif known != claim:
        raise RunError(f"{folder} holds a grid of another data set, seed or number of rounds: give --out a new folder")


def _findings_file(folder: Path, defence: Defence) -> Path:
    return folder / f"{defence.name.replace(' ', '-').replace(',', '')}.findings.json"


def _read(place: Path) -> Any:
    try:
        return json.loads(place.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        raise RunError(f"{place} is damaged: delete it to have it made again") from None


def _write(place: Path, what: Any) -> None:
    write_atomic(place, json.dumps(what, indent=2, allow_nan=False).encode())
