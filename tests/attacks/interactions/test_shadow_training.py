import numpy as np
import pytest

from attacks.case import Case, Public, Recording
from attacks.goals.items import Seen
from attacks.interactions.shadow_training import confirmed_positives, shadow_change, shadow_training
from attacks.registry import all_attacks, run_attacks

(IMIA,) = [attack for attack in all_attacks() if attack.name == "IMIA"]


def finding(simulated, view):
    (result,) = run_attacks(Case(Recording.of([view]), simulated.truth, simulated.public), attacks=[IMIA])
    return result


@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize("batch_size", [7, 64])
def test_shadow_client_trains_as_the_slow_reference_does(epochs, batch_size):
    rng = np.random.default_rng(0)
    before, start = rng.normal(0, 0.3, (40, 6)).astype(np.float32), rng.normal(0, 0.2, 6).astype(np.float32)
    label = rng.random(40) < 0.3
    order = np.stack([rng.permutation(40) for _ in range(epochs)])
    change = shadow_change(before, start, label, order, batch_size, 0.3, 5.0)

    rows, w, bias = before.astype(np.float64), start.astype(np.float64), 0.0
    for epoch in order:
        for batch in np.array_split(epoch, range(batch_size, 40, batch_size)):
            residual = 1 / (1 + np.exp(-rows[batch] @ w - bias)) - label[batch]
            w, bias = w - 0.3 * np.mean(residual[:, None] * rows[batch], axis=0), bias - 0.3 * residual.mean()
            residual = 1 / (1 + np.exp(-rows[batch] @ w - bias)) - label[batch]
            rows[batch] -= 5.0 / len(batch) * residual[:, None] * w
    assert np.allclose(change, rows - before, rtol=1e-3, atol=1e-4)


def test_guesses_beat_random_ones_among_touched_items_once_the_table_is_trained(simulated):
    result = finding(simulated, simulated.unprotected(6))
    touched = np.mean([each.sum() for each in simulated.touched[6]])
    share = np.mean([len(each) for each in simulated.positives]) / touched
    assert result.others["F1"].low > share + 0.05


def test_attacks_on_the_form_of_the_update_find_more(simulated):
    view = simulated.unprotected(6)
    case = Case(Recording.of([view]), simulated.truth, simulated.public)
    others = [attack for attack in all_attacks() if attack.name in ("rank-1 sign", "residual signs")]
    ours = run_attacks(case, attacks=others)
    assert len(ours) == 2
    assert min(each.others["F1"].low for each in ours) > finding(simulated, view).others["F1"].high


def test_under_much_noise_it_falls_to_chance(simulated):
    result = finding(simulated, simulated.noised(1, 30.0, np.random.default_rng(1)))
    assert abs(result.result.mean - 0.5) <= 0.05 and result.beyond.high < 0


def test_as_many_touched_items_are_confirmed_as_are_expected(simulated):
    answer = shadow_training(Seen((simulated.unprotected(3),), simulated.public))
    touched = simulated.touched[3]
    said = answer.predicted.sum(axis=1)
    assert not np.any(answer.predicted & ~touched)
    assert np.all(np.abs(said - touched.sum(axis=1) / 5) <= 1 + 0.1 * touched.sum(axis=1))


def test_upload_of_one_row_or_none_has_an_answer(simulated):
    training, rng = simulated.public.training, np.random.default_rng(0)
    for n in (0, 1):
        rows = np.zeros((n, 3), np.float32)
        assert confirmed_positives(rows, rows, training, 0.2, rng).shape == (n,)


def test_without_public_training_there_is_no_shadow(simulated):
    answer = shadow_training(Seen((simulated.unprotected(3),), Public()))
    assert not answer.scores.any() and not answer.predicted.any()
