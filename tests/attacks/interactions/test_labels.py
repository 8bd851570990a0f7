import numpy as np
import pytest

from attacks.case import Case, LocalTraining, Public, Recording
from attacks.goals.items import Seen
from attacks.interactions.labels import labels, residual_signs, score_function
from attacks.registry import all_attacks, run_attacks
from attacks.views import DenseUploads, RowUploads

(SIGNS,) = [attack for attack in all_attacks() if attack.name == "residual signs"]


def one_step(rng, n_own, dim, length=0.7, bias=-0.4, item_lr=60.0):
    """A client's single step over n_own items and 4 n_own negatives: w, b, rows before, changes, labels, training."""
    w = rng.normal(size=dim)
    w *= length / np.linalg.norm(w)
    n = 5 * n_own
    before = rng.normal(0, 1, (n, dim))
    has = np.arange(n) < n_own
    residual = 1 / (1 + np.exp(-before @ w - bias)) - has
    training = LocalTraining(0.1, item_lr, 256, 4, 1)
    return w, bias, before, -item_lr / n * residual[:, None] * w, has, training


@pytest.mark.parametrize("round_number", [1, 2, 4, 6])
def test_labels_of_at_most_one_touched_row_in_a_thousand_are_misread(simulated, round_number):
    answer = residual_signs(Seen((simulated.unprotected(round_number),), simulated.public))
    wrong = np.count_nonzero(answer.predicted != simulated.truth.positives(np.arange(60)))
    assert wrong <= 0.001 * simulated.touched[round_number].sum()


def test_finding_stands_beyond_popularity(simulated):
    case = Case(Recording.of([simulated.unprotected(3)]), simulated.truth, simulated.public)
    (finding,) = run_attacks(case, attacks=[SIGNS])
    assert finding.others["F1"].mean >= 0.999 and finding.beyond.low > 0.05


def test_labels_are_read_without_knowing_how_clients_train(simulated):
    answer = residual_signs(Seen((simulated.unprotected(4),), Public()))
    assert np.mean(answer.predicted == simulated.truth.positives(np.arange(60))) >= 0.999


def test_dense_uploads_are_read_as_sparse_ones(simulated):
    dense = simulated.view("unprotected_upload", 2, DenseUploads(np.arange(60), simulated.changes[2]))
    one, other = (residual_signs(Seen((view,), simulated.public)) for view in (dense, simulated.unprotected(2)))
    assert np.array_equal(one.predicted, other.predicted)


def test_steps_with_vectors_far_apart_are_read_one_by_one():
    """The sign along one axis for all, as the rank-1 attack has it, fails here for at least one step."""
    rng = np.random.default_rng(3)
    parts = [one_step(rng, 20, 8) for _ in range(3)]
    w = [part[0] for part in parts]
    assert min(w[0] @ w[1], w[0] @ w[2], w[1] @ w[2]) < 0
    before, delta, has = (np.concatenate([part[at] for part in parts]) for at in (2, 3, 4))
    prior = np.where(has, -1.0, -3.0) + rng.normal(size=len(has))
    assert np.array_equal(labels(delta, before, prior, 0.2, parts[0][5]), has)


@pytest.mark.parametrize("n_own", [3, 12])
def test_three_items_moved_in_one_step_give_the_whole_score_function(n_own):
    rng = np.random.default_rng(4)
    w, bias, before, delta, has, training = one_step(rng, 12, 6)
    chosen = np.flatnonzero(has)[:n_own]
    found, found_bias = score_function(delta[chosen], before[chosen], training, 60)
    assert np.allclose(found, w, rtol=1e-4) and found_bias == pytest.approx(bias, rel=1e-3)


def test_score_function_of_a_trained_client_is_the_one_it_keeps_private(simulated):
    """Clients with one batch only, whose vector after the round is the one that moved the rows; its bias is 0."""
    table = simulated.tables[4].astype(np.float64)
    checked = 0
    for client, own in enumerate(simulated.positives):
        if 5 * len(own) <= 64:
            delta = simulated.changes[4][client][own].astype(np.float64)
            w, bias = score_function(delta, table[own], simulated.public.training, 5 * len(own))
            assert np.allclose(w, simulated.weights[4][client], rtol=1e-2, atol=1e-3) and abs(bias) <= 1e-2
            checked += 1
    assert checked >= 5


def test_last_and_smaller_batch_is_told_from_a_full_one():
    rng = np.random.default_rng(5)
    w, bias, before, delta, has, training = one_step(rng, 12, 6)
    after_full = LocalTraining(training.score_lr, training.item_lr, 100, 4, 1)
    found, found_bias = score_function(delta[has], before[has], after_full, 160)
    assert np.allclose(found, w, rtol=1e-4) and found_bias == pytest.approx(bias, rel=1e-3)


def test_rows_that_training_was_content_with_are_labelled_by_the_clients_own_score(simulated):
    rng = np.random.default_rng(6)
    w, bias, before, delta, has, training = one_step(rng, 12, 6)
    before[[0, 30]] = w / (w @ w) * np.array([[40.0], [-40.0]])
    residual = 1 / (1 + np.exp(-before @ w - bias)) - has
    delta = (-training.item_lr / 60 * residual[:, None] * w).astype(np.float32).astype(np.float64)
    rounded = (before + delta).astype(np.float32) - before.astype(np.float32)
    assert not rounded[[0, 30]].any()
    found = labels(rounded.astype(np.float64), before, np.full(60, -2.0), 0.2, training)
    assert np.array_equal(found, has)
    assert not labels(rounded.astype(np.float64), before, np.full(60, -2.0), 0.2, None)[0]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_uploads_of_few_rows_have_an_answer(n):
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(n, 4))
    for delta in (rows, np.zeros((n, 4))):
        assert labels(delta, rows, np.zeros(n), 0.2, LocalTraining(0.1, 1.0, 8, 4, 1)).shape == (n,)


def test_one_dimensional_rows_have_labels_too():
    delta = np.array([[2.0], [-1.0], [-1.0], [-1.0], [-0.5]])
    assert labels(delta, np.zeros((5, 1)), np.zeros(5), 0.2, None).tolist() == [True, False, False, False, False]


def test_client_that_uploads_no_row_has_no_items(simulated):
    empty = RowUploads(np.array([4]), np.array([0, 0]), np.zeros(0, np.int32), np.zeros((0, 16), np.float32))
    view = simulated.view("unprotected_upload", 1, empty)
    assert not residual_signs(Seen((view,), simulated.public)).predicted.any()
