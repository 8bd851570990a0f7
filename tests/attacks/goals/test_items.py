import numpy as np
import pytest

from attacks.case import Case, Public, Recording
from attacks.errors import AttackError, ViewError
from attacks.goals.items import ITEMS, ItemScores
from attacks.registry import Attack, run_attacks
from attacks.views import DenseUploads, OpenedSum, Truth, UploadView

N = 8
TRUTH = Truth.from_lists(N, np.array([4, 7, 9]), [np.array([0, 1]), np.array([5]), np.array([], dtype=np.int32)])


def view_of(clients, kind="unprotected_upload", round_number=1, popularity=None):
    table = np.zeros((N, 2), dtype=np.float32)
    popularity = np.arange(N, dtype=np.int64) if popularity is None else popularity
    clients = np.array(clients)
    if kind == "opened_sum":
        return UploadView(kind, round_number, table, popularity, 10, OpenedSum(clients, table))
    uploads = DenseUploads(clients, np.zeros((len(clients), N, 2), np.float32))
    return UploadView(kind, round_number, table, popularity, 10, uploads)


def attack_with(scores, kinds=("unprotected_upload", "opened_sum"), rounds="each"):
    scores = np.array(scores, dtype=np.float32)
    return Attack("fixed", ITEMS, kinds, rounds, "", "", "", lambda seen: ItemScores(scores, scores > 0))


def run(views, attack, truth=TRUTH):
    return run_attacks(Case(Recording.of(views), truth), attacks=[attack])


def test_each_clients_row_is_held_against_its_own_truth():
    row = np.zeros((2, N))
    row[0, [0, 1]] = row[1, 5] = 1
    assert run([view_of([4, 7])], attack_with(row))[0].result.mean == 1.0
    assert run([view_of([7, 4])], attack_with(row))[0].result.mean < 0.5


def test_scores_of_a_sum_are_held_against_every_client_in_it():
    row = np.zeros((1, N))
    row[0, 5] = 1
    (finding,) = run([view_of([4, 7], "opened_sum")], attack_with(row))
    assert finding.n == 2
    assert finding.result.mean == pytest.approx((1.0 + (5 / 6) / 2) / 2)


def test_controls_stand_beside_the_attack_and_beyond_is_their_difference():
    popularity = np.zeros(N, np.int64)
    popularity[5] = 1
    (finding,) = run([view_of([4, 7], popularity=popularity)], attack_with(np.zeros((2, N))))
    alone = finding.controls["popularity"]
    assert finding.result.mean == 0.5 == finding.controls["chance"].mean
    assert alone.mean == pytest.approx((5 / 12 + 1) / 2)
    assert finding.beyond.mean == pytest.approx(finding.result.mean - alone.mean)
    assert {"attack", "view", "rounds", "result", "controls", "n"} <= finding.to_json().keys()


def test_client_without_items_is_left_out_and_a_view_of_only_such_clients_is_refused():
    assert run([view_of([4, 9])], attack_with(np.zeros((2, N))))[0].n == 1
    with pytest.raises(AttackError, match="nothing to score"):
        run([view_of([9])], attack_with(np.zeros((1, N))))


def test_attack_runs_only_on_the_kinds_it_names():
    assert run([view_of([4, 7])], attack_with(np.zeros((2, N)), kinds=("opened_sum",))) == []


def test_attack_on_each_round_gets_one_view_and_on_all_rounds_what_was_seen_so_far():
    views = [view_of([4, 7], round_number=number) for number in (3, 1, 8)]
    row = np.zeros((2, N))
    assert [finding.rounds for finding in run(views, attack_with(row))] == [(1,), (3,), (8,)]
    assert [finding.rounds for finding in run(views, attack_with(row, rounds="all"))] == [(1,), (1, 3), (1, 3, 8)]


def test_rounds_of_other_clients_are_not_put_together():
    views = [view_of([4, 7], round_number=1), view_of([7, 4], round_number=2)]
    assert [finding.rounds for finding in run(views, attack_with(np.zeros((2, N)), rounds="all"))] == [(1,)]


def test_answer_of_the_wrong_shape_or_not_finite_is_refused():
    with pytest.raises(AttackError, match="the view asks for"):
        run([view_of([4, 7])], attack_with(np.zeros((1, N))))
    with pytest.raises(AttackError, match="not finite"):
        run([view_of([4, 7])], attack_with(np.full((2, N), np.nan)))


def test_truth_of_another_run_is_refused():
    with pytest.raises(ViewError, match="no client 5"):
        run([view_of([5])], attack_with(np.zeros((1, N))))
    with pytest.raises(AttackError, match="not of one run"):
        run([view_of([4])], attack_with(np.zeros((1, N))), Truth.from_lists(3, np.array([4]), [np.array([1])]))


def test_two_views_of_one_kind_and_round_are_refused():
    with pytest.raises(ViewError, match="round 1"):
        Recording.of([view_of([4]), view_of([7])])


def test_genres_without_names_are_refused():
    with pytest.raises(ViewError, match="one for each genre name"):
        Public(np.zeros((N, 2), np.bool_), ("Action",))
