import numpy as np
import pytest

from attacks.case import Case, Public, Recording
from attacks.goals.items import Seen
from attacks.interactions.intersection import intersection
from attacks.registry import all_attacks, run_attacks
from attacks.views import DenseUploads, RowUploads

(INTERSECTION,) = [attack for attack in all_attacks() if attack.name == "touched-set intersection"]


def findings(simulated, views):
    return run_attacks(Case(Recording.of(views), simulated.truth, simulated.public), attacks=[INTERSECTION])


def test_five_rounds_of_touched_sets_give_the_items_away(simulated):
    reached = findings(simulated, [simulated.unprotected(number) for number in range(1, 6)])
    found = [finding.others["F1"].mean for finding in reached]
    assert [finding.rounds for finding in reached] == [tuple(range(1, n + 1)) for n in range(1, 6)]
    assert found == sorted(found) and found[0] < 0.7 and found[-1] >= 0.95
    assert reached[-1].beyond.low > 0.05


def test_values_are_not_looked_at(simulated):
    rng = np.random.default_rng(0)
    views, disturbed = [simulated.unprotected(number) for number in (1, 2)], []
    for view in views:
        uploads = view.uploads
        other = rng.normal(size=uploads.delta.shape).astype(np.float32)
        noised = RowUploads(uploads.clients, uploads.offsets, uploads.rows, other)
        disturbed.append(simulated.view(view.kind, view.round_number, noised))
    before, after = (intersection(Seen(tuple(each), simulated.public)) for each in (views, disturbed))
    assert np.array_equal(before.scores, after.scores) and np.array_equal(before.predicted, after.predicted)


def test_client_is_never_said_to_have_what_it_left_untouched_once(simulated):
    views = tuple(simulated.unprotected(number) for number in (1, 2, 3))
    always = np.all([simulated.touched[number] for number in (1, 2, 3)], axis=0)
    answer = intersection(Seen(views, simulated.public))
    assert not np.any(answer.predicted & ~always)
    assert np.all(
        np.where(always, answer.scores, np.inf).min(axis=1) > np.where(always, -np.inf, answer.scores).max(axis=1) - 10
    )


def test_without_public_training_all_that_was_always_touched_is_predicted(simulated):
    views = tuple(simulated.unprotected(number) for number in (1, 2))
    answer = intersection(Seen(views, Public()))
    assert np.array_equal(answer.predicted, simulated.touched[1] & simulated.touched[2])


def test_uploads_that_touch_every_row_are_scored_by_popularity_alone(simulated):
    noise = np.random.default_rng(1).normal(size=(60, 300, 16)).astype(np.float32)
    view = simulated.view("unprotected_upload", 1, DenseUploads(np.arange(60), noise))
    (finding,) = findings(simulated, [view])
    assert finding.beyond.mean == pytest.approx(0.0, abs=1e-6)
