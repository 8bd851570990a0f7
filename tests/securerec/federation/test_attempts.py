"""Noise is each device's own, and no two attempts share any."""

from pathlib import Path

import numpy as np

from securerec.config import make_config
from securerec.data.dataset import Dataset
from securerec.federation.devices import own_label
from securerec.federation.pool import DevicePool
from securerec.federation.run import Run
from securerec.training.updates import RowUpdates

WIDTH = 2


def updates_of(n_clients: int, changed: int, value: float) -> RowUpdates:
    """Everybody changes its first row by 0.1, and one client by this value."""
    delta = np.full((n_clients, WIDTH), 0.1, np.float32)
    delta[changed] = value
    return RowUpdates(np.arange(n_clients), np.arange(n_clients + 1), np.zeros(n_clients, np.int32), delta)


def test_a_device_s_noise_follows_from_its_own_update_alone() -> None:
    one, other = updates_of(3, 0, 1.0), updates_of(3, 0, 2.0)
    assert own_label("clean", one.of(1)) == own_label("clean", other.of(1))
    assert own_label("clean", one.of(0)) != own_label("clean", other.of(0))
    assert own_label("clean", one.of(1)) != own_label("clean, attempt 2", one.of(1))


def test_after_a_crash_with_other_updates_everybody_s_noise_is_another(tmp_path: Path, toy: Dataset) -> None:
    values = {
        "seed": 7, "data": {"dataset": "toy", "sampled_negatives": 15}, "training": {"rounds": 2, "dim": WIDTH},
        "start": {"segments": (1,)}, "protocol": {"protocol": "plain"}, "privacy": {"spare_attempts": 1},
    }  # fmt: skip
    run = Run.create(tmp_path / "run", make_config(values).resolved(24), toy)
    table, totals = np.zeros((50, WIDTH), np.float32), []
    with DevicePool(1) as pool:
        for value in (1.0, 2.0, 1.0):
            updates = updates_of(24, 0, value)
            run.releases.spend("round", "round 1", updates)
            open_sum = run.releases.secure_sum("round", "clean", "plain", pool, table, b"")
            totals.append(open_sum(table, updates, 1).total.reshape(table.shape))
    first, second, again = totals
    assert np.array_equal(first, again)
    # rows that nobody changed hold noise alone
    assert np.mean(first[1:] != second[1:]) > 0.9
    assert [event.label for event in run.folder.ledger.events()] == ["round 1", "round 1, attempt 2"]
