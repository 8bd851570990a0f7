import numpy as np
import pytest

from attacks.case import Case, Public, Recording
from attacks.goals.items import Seen
from attacks.interactions.activity import moved_rows
from attacks.registry import all_attacks, run_attacks
from attacks.views import DenseUploads, UploadView

(MOVED,) = [attack for attack in all_attacks() if attack.name == "moved rows"]


def finding(simulated, view, public=None):
    case = Case(Recording.of([view]), simulated.truth, simulated.public if public is None else public)
    (result,) = run_attacks(case, attacks=[MOVED])
    return result


@pytest.mark.parametrize("round_number", [1, 4])
def test_named_rows_give_the_number_of_items_away(simulated, round_number):
    result = finding(simulated, simulated.unprotected(round_number))
    assert result.result.low >= 0.97 and result.others["within 10%"].mean >= 0.85
    assert result.others["within 10%"].low > result.others["within 10%, mean for all"].high


def test_counts_need_no_value_of_any_row(simulated):
    view = simulated.unprotected(1)
    counts = moved_rows(Seen((view,), simulated.public)).counts
    hidden = (np.random.default_rng(0).normal(0, 9, (60, 300, 16)) * simulated.touched[1][:, :, None]).astype(
        np.float32
    )
    disturbed = simulated.view("unprotected_upload", 1, DenseUploads(np.arange(60), hidden))
    assert np.array_equal(moved_rows(Seen((disturbed,), simulated.public)).counts, counts)


def test_little_noise_on_every_row_hides_no_heavy_client(simulated):
    result = finding(simulated, simulated.noised(3, 0.3, np.random.default_rng(1)))
    assert result.result.low > 0.8


@pytest.mark.parametrize("seed", [2, 3])
def test_pure_noise_gives_the_mean_and_no_order(simulated, seed):
    noise = np.random.default_rng(seed).normal(size=(60, 300, 16)).astype(np.float32)
    view = simulated.view("noised_upload", 3, DenseUploads(np.arange(60), noise))
    result = finding(simulated, view)
    assert result.result.low <= 0.0 <= result.result.high
    counts = moved_rows(Seen((view,), simulated.public)).counts
    assert counts.mean() == pytest.approx(simulated.popularity.sum() / 60, rel=0.05)


def test_without_public_training_counts_are_right_on_average(simulated):
    view = simulated.unprotected(1)
    counts = moved_rows(Seen((view,), Public())).counts
    assert counts.mean() == pytest.approx(simulated.popularity.sum() / 60)
    assert finding(simulated, view, Public()).result.low >= 0.97


@pytest.mark.parametrize("dim", [1, 2])
def test_few_dimensions_and_uploads_of_nothing_are_counted_too(dim):
    table, popularity = np.zeros((6, dim), np.float32), np.full(6, 2, np.int64)
    rng = np.random.default_rng(0)
    for delta in (np.zeros((3, 6, dim)), rng.normal(size=(3, 6, dim))):
        view = UploadView(
            "noised_upload", 1, table, popularity, 4, DenseUploads(np.arange(3), delta.astype(np.float32))
        )
        counts = moved_rows(Seen((view,), Public())).counts
        assert np.all(np.isfinite(counts)) and counts.min() >= 0
