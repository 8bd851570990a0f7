import numpy as np
import pytest

from attacks.case import Case, Public, Recording
from attacks.goals.items import Seen
from attacks.interactions.rank_one import rank_one, spike
from attacks.measures import auc
from attacks.registry import all_attacks, run_attacks
from attacks.views import DenseUploads, OpenedSum, UploadView

(RANK_ONE,) = [attack for attack in all_attacks() if attack.name == "rank-1 sign"]


def answer(view):
    return rank_one(Seen((view,), Public()))


def finding(simulated, view):
    (result,) = run_attacks(Case(Recording.of([view]), simulated.truth), attacks=[RANK_ONE])
    return result


def popularity_of(result):
    return result.controls["popularity"]


@pytest.mark.parametrize("round_number", [1, 2, 4, 6])
def test_unprotected_uploads_give_every_item_away(simulated, round_number):
    result = finding(simulated, simulated.unprotected(round_number))
    assert result.result.mean >= 0.99 and result.others["F1"].mean >= 0.99
    assert result.others["TPR at 1% FPR"].mean >= 0.98
    assert result.beyond.low > 0.05


@pytest.mark.parametrize("round_number", [1, 2, 4, 6])
@pytest.mark.parametrize("deviation", [0.0, 0.3])
def test_axis_points_up_for_items_the_client_has(simulated, round_number, deviation):
    """Oriented wrongly, a client's AUC would be far below one half among the rows it touched."""
    clean = deviation == 0
    view = (
        simulated.unprotected(round_number)
        if clean
        else simulated.noised(round_number, deviation, np.random.default_rng(1))
    )
    scores = answer(view).scores
    positives = simulated.truth.positives(view.clients)
    right = [
        auc(row[touched], has[touched]) > 0.5
        for row, has, touched in zip(scores, positives, simulated.touched[round_number], strict=True)
    ]
    assert np.mean(right) >= (1.0 if clean else 0.99)


@pytest.mark.parametrize("round_number", [1, 3, 6])
def test_under_growing_noise_the_attack_never_falls_below_popularity_for_good(simulated, round_number):
    for deviation in (0.1, 0.5, 1.0, 3.0, 10.0):
        result = finding(simulated, simulated.noised(round_number, deviation, np.random.default_rng(2)))
        assert result.result.mean >= popularity_of(result).mean - 0.01


def test_little_noise_is_no_defence_and_the_attack_still_knows_where_to_draw_the_line(simulated):
    result = finding(simulated, simulated.noised(3, 0.1, np.random.default_rng(3)))
    assert result.result.mean >= 0.97 and result.others["F1"].mean >= 0.8


def test_pure_noise_scores_like_popularity(simulated):
    noise = np.random.default_rng(4).normal(size=(60, 300, 16)).astype(np.float32)
    result = finding(simulated, simulated.view("noised_upload", 3, DenseUploads(np.arange(60), noise)))
    assert abs(result.beyond.mean) <= 0.01
    assert popularity_of(result).low <= result.result.mean <= popularity_of(result).high


def test_pure_noise_without_known_popularity_scores_like_chance(simulated):
    noise = np.random.default_rng(5).normal(size=(60, 300, 16)).astype(np.float32)
    view = UploadView(
        "noised_upload", 1, simulated.tables[1], np.zeros(300, dtype=np.int64), 60, DenseUploads(np.arange(60), noise)
    )
    result = finding(simulated, view)
    assert result.result.low <= 0.5 <= result.result.high
    assert abs(result.result.mean - 0.5) <= 0.03


def test_noise_on_touched_rows_alone_still_shows_which_rows_were_touched(simulated):
    rng = np.random.default_rng(6)
    changes, touched = simulated.changes[3], simulated.touched[3]
    hidden = (rng.normal(0, 100, changes.shape) * touched[:, :, None]).astype(np.float32)
    view = simulated.view("noised_upload", 3, DenseUploads(np.arange(60), hidden))
    assert finding(simulated, view).beyond.low > 0.0


def test_sum_of_one_client_is_as_good_as_its_upload_and_a_large_sum_is_not(simulated):
    alone = finding(simulated, simulated.opened(3, [5]))
    pair = finding(simulated, simulated.opened(3, [5, 9]))
    everybody = finding(simulated, simulated.opened(3, list(range(60))))
    assert alone.result.mean >= 0.99 and alone.n == 1
    assert pair.result.mean > everybody.result.mean
    assert abs(everybody.beyond.mean) <= 0.02


def test_dense_and_compressed_uploads_give_the_same_scores(simulated):
    dense = simulated.view("unprotected_upload", 2, DenseUploads(np.arange(60), simulated.changes[2]))
    assert np.array_equal(answer(dense).scores, answer(simulated.unprotected(2)).scores)


def test_order_and_number_of_clients_do_not_change_a_clients_scores(simulated):
    some = np.array([40, 3, 17])
    few = simulated.view("unprotected_upload", 2, DenseUploads(some, simulated.changes[2][some]))
    whole = answer(simulated.unprotected(2))
    assert np.allclose(answer(few).scores, whole.scores[some], rtol=1e-4)


@pytest.mark.parametrize("uploads", ["nothing", "constant", "one row"])
def test_degenerate_uploads_get_finite_scores(simulated, uploads):
    changes = np.zeros((2, 300, 16), dtype=np.float32)
    if uploads == "constant":
        changes += 1
    if uploads == "one row":
        changes[:, 7] = 1e30
    found = answer(simulated.view("unprotected_upload", 1, DenseUploads(np.arange(2), changes)))
    assert np.all(np.isfinite(found.scores))


def test_one_dimensional_embeddings_are_attacked_too():
    table, popularity = np.full((6, 1), 0.1, dtype=np.float32), np.zeros(6, dtype=np.int64)
    change = np.array([[2], [-1], [-1], [-1], [0], [0]], dtype=np.float32)
    view = UploadView("unprotected_upload", 1, table, popularity, 1, DenseUploads(np.array([0]), change[None]))
    assert answer(view).predicted[0].tolist() == [True, False, False, False, False, False]
    summed = UploadView("opened_sum", 1, table, popularity, 1, OpenedSum(np.array([0]), -change))
    assert answer(summed).predicted[0].tolist() == [True, False, False, False, False, False]


def test_spike_recovers_signal_noise_and_alignment():
    rng = np.random.default_rng(8)
    n, dim, signal, noise = 2000, 32, 0.6, 1.5
    axis = np.eye(dim)[3]
    estimates = []
    for _ in range(20):
        matrix = np.sqrt(signal) * rng.normal(size=(n, 1)) * axis + np.sqrt(noise) * rng.normal(size=(n, dim))
        values, vectors = np.linalg.eigh(matrix.T @ matrix)
        estimate = spike(values[None], np.array([n]))
        estimates.append([*(float(each[0]) for each in estimate), float(vectors[3, -1] ** 2)])
    found_signal, found_noise, alignment, true_alignment = np.mean(estimates, axis=0)
    assert found_signal == pytest.approx(signal, rel=0.1)
    assert found_noise == pytest.approx(noise, rel=0.02)
    assert alignment == pytest.approx(true_alignment, abs=0.03)


def test_spike_sees_a_signal_in_pure_noise_once_in_a_hundred():
    rng = np.random.default_rng(9)
    matrices = rng.normal(size=(1500, 200, 8))
    values = np.linalg.eigvalsh(np.swapaxes(matrices, 1, 2) @ matrices)
    signal, _, alignment = spike(values, np.full(1500, 200))
    assert np.mean(signal > 0) <= 0.02
    assert np.array_equal(signal > 0, alignment > 0)


def test_clear_count_of_undisturbed_signs_outweighs_a_taste_against_popularity():
    """A client whose own scores fall with popularity, as some late in noisy training."""
    rng = np.random.default_rng(10)
    popularity = np.arange(200, dtype=np.int64)
    has = np.zeros(200, dtype=bool)
    has[rng.choice(200, 15, replace=False)] = True
    w = np.array([0.6, -0.8])
    table = (-0.05 * (popularity[:, None] - 100) * w + rng.normal(0, 0.5, (200, 2))).astype(np.float32)
    touched = has | (rng.random(200) < 0.3)
    change = (touched * np.where(has, 1.0, -0.4))[:, None] * w + touched[:, None] * rng.normal(0, 0.02, (200, 2))
    uploads = DenseUploads(np.array([0]), change[None].astype(np.float32))
    view = UploadView("unprotected_upload", 9, table, popularity, 300, uploads)
    assert np.array_equal(answer(view).predicted[0], has)
