"""A finished run, read from its folder for looking at."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from securerec.config import Config
from securerec.data import sources
from securerec.data.dataset import Dataset
from securerec.data.splits import Candidates, Split, draw_candidates, leave_one_out
from securerec.errors import RunError
from securerec.evaluation.scoring import TrainedDevices
from securerec.federation.folder import RunFolder
from securerec.federation.results import load_devices


@dataclass(frozen=True, slots=True, eq=False)
class FinishedRun:
    """A run's folder, what it was made with and what it left.

    results: its figures, as in `results.json`. shares: (n_users,) float32, how much of its own view each device mixes
    into the server's table, its own choice. The devices are those of the run's own model, whose training negatives may
    be held-out items (the rule of the clean and full protocols).
    """

    path: Path
    config: Config
    dataset: Dataset
    split: Split
    devices: TrainedDevices
    shares: NDArray[np.float32]
    results: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.path.resolve().name

    @property
    def kept_round(self) -> int:
        """The round whose model was kept."""
        return int(self.results["kept_round"]["clean"])

    def candidates(self) -> Candidates:
        """The sampled items that held-out ones are ranked against, as the run drew them."""
        data = self.config.data
        rng = np.random.default_rng(data.candidates_seed)
        return draw_candidates(self.dataset.interactions, self.split, rng, data.sampled_negatives)


def finished_run(path: Path) -> FinishedRun:
    """Raises RunError for a run that is missing, damaged, not finished, or of another version of the program or of its
    data set.
    """
    folder = RunFolder.open(path)
    folder.check_readable()
    results = folder.results()
    if results is None:
        raise RunError(f"{path} is not finished: go on with `securerec resume {path}`")
    config = folder.config()
    dataset = sources.load(config.data.dataset)
    if folder.identity("dataset") != dataset.digest():
        raise RunError(f"{path} was trained on another version of data set {dataset.name}: fetch that one again")
    devices, shares = load_devices(folder)
    return FinishedRun(path, config, dataset, leave_one_out(dataset.interactions), devices, shares, results)
