import numpy as np
import pytest

from securerec.audit.laplace import LaplaceSum
from securerec.models.pfedrec import ScoreFunctions
from securerec.training.cohort import CohortUpdate

N_CLIENTS, N_ITEMS, DIM, STRENGTH = 30, 200, 8, 0.5


@pytest.fixture
def update() -> CohortUpdate:
    rng = np.random.default_rng(0)
    counts = np.full(N_CLIENTS, 20)
    rows = np.concatenate([rng.permutation(N_ITEMS)[:20] for _ in counts]).astype(np.int32)
    delta = rng.normal(0, 3, (len(rows), DIM)).astype(np.float32)
    functions = ScoreFunctions(np.zeros((N_CLIENTS, DIM), np.float32), np.zeros(N_CLIENTS, np.float32))
    return CohortUpdate(np.arange(N_CLIENTS) * 20, counts, rows, delta, np.zeros(N_CLIENTS), functions)


TABLE = np.zeros((N_ITEMS, DIM), np.float32)


def clear_sum(update: CohortUpdate) -> np.ndarray:
    total = np.zeros((N_ITEMS, DIM))
    np.add.at(total, update.rows, update.delta)
    return total


def test_recorded_uploads_add_up_to_the_sum_and_bear_laplace_noise(update: CohortUpdate) -> None:
    opened = LaplaceSum(STRENGTH, 1, N_CLIENTS)(TABLE, update, 3, record=True)
    assert opened.recorded is not None and np.array_equal(opened.recorded.sum(axis=0), opened.total)
    untouched = np.ones((N_CLIENTS, N_ITEMS), bool)
    for client in range(N_CLIENTS):
        untouched[client, update.of(client)[0]] = False
    noise = opened.recorded.reshape(N_CLIENTS, N_ITEMS, DIM)[untouched] / LaplaceSum.scale
    assert np.abs(noise).mean() == pytest.approx(STRENGTH, rel=0.02)
    assert np.std(noise) == pytest.approx(STRENGTH * np.sqrt(2), rel=0.02)


@pytest.mark.parametrize("record", [True, False])
def test_sum_is_that_of_the_updates_with_everybodys_noise(update: CohortUpdate, record: bool) -> None:
    """Both ways of drawing give the variance 2 n strength^2 and the same fourth moment."""
    noise = []
    for round_number in range(20):
        opened = LaplaceSum(STRENGTH, 2, N_CLIENTS)(TABLE, update, round_number, record=record)
        noise.append(opened.total.reshape(N_ITEMS, DIM) / LaplaceSum.scale - clear_sum(update))
    values = np.concatenate(noise).ravel() / (STRENGTH * np.sqrt(2 * N_CLIENTS))
    assert abs(values.mean()) < 5 / np.sqrt(values.size)
    assert np.mean(values**2) == pytest.approx(1, abs=5 * np.sqrt(2.1 / values.size))
    # A sum of n Laplace variables has kurtosis 3 + 3 / n.
    assert np.mean(values**4) == pytest.approx(3 + 3 / N_CLIENTS, abs=5 * np.sqrt(100 / values.size))


def test_noise_is_that_of_its_seed_and_round(update: CohortUpdate) -> None:
    def total(seed: int, round_number: int) -> bytes:
        return LaplaceSum(STRENGTH, seed, N_CLIENTS)(TABLE, update, round_number, record=False).total.tobytes()

    assert total(1, 1) == total(1, 1)
    assert len({total(1, 1), total(1, 2), total(2, 1)}) == 3
