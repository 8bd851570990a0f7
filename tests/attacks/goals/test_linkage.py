import dataclasses

import numpy as np
import pytest

from attacks.case import Case, Recording
from attacks.errors import AttackError
from attacks.goals.linkage import LINKAGE, Links, TwoRounds, anonymous, pairs
from attacks.registry import Attack, run_attacks
from attacks.views import DenseUploads, RowUploads, Truth, UploadView

N_ITEMS = 6


def view_of(clients, round_number=1, marks=None):
    """Each client's upload bears its number, so that an attack may read who it is."""
    clients = np.array(clients)
    delta = np.ones((len(clients), N_ITEMS, 2), np.float32) * (clients if marks is None else marks)[:, None, None]
    table, popularity = np.zeros((N_ITEMS, 2), np.float32), np.ones(N_ITEMS, np.int64)
    return UploadView(
        "noised_upload", round_number, table, popularity, 100, DenseUploads(clients, delta.astype(np.float32))
    )


def case_of(*views):
    clients = np.unique(np.concatenate([view.clients for view in views]))
    return Case(Recording.of(views), Truth.from_lists(N_ITEMS, clients, [np.array([0], np.int32)] * len(clients)))


def attack_by(run, kinds=("noised_upload",)):
    return Attack("test", LINKAGE, kinds, "each", "", "", "", run)


def by_mark(seen: TwoRounds) -> Links:
    first, second = seen.first.uploads.delta[:, 0, 0], seen.second.uploads.delta[:, 0, 0]
    similarity = -np.abs(second[:, None] - first[None])
    return Links(similarity.astype(np.float32), similarity.argmax(axis=1))


def test_who_reads_names_off_uploads_is_always_right_and_who_reads_places_is_not():
    views = view_of(np.arange(80)), view_of(np.arange(80)[::-1].copy(), 2)
    (right,) = run_attacks(case_of(*views), attacks=[attack_by(by_mark)])
    assert right.result.mean == 1 and right.n == 80 and right.controls["chance"].mean == 1 / 80
    for order in (np.arange(80), np.arange(80)[::-1].copy()):
        guess = attack_by(lambda seen, order=order: Links(np.zeros((80, 80), np.float32), order))
        (placed,) = run_attacks(case_of(*views), attacks=[guess])
        assert placed.result.mean < 0.1 and placed.beyond.low < 0
        assert placed.others["top-10"].mean == pytest.approx(10 / 80)


def test_only_clients_of_both_rounds_are_scored():
    (found,) = run_attacks(case_of(view_of([1, 2, 3, 4]), view_of([3, 4, 5], 2)), attacks=[attack_by(by_mark)])
    assert found.n == 2 and found.result.mean == 1 and found.controls["chance"].mean == 1 / 4
    assert run_attacks(case_of(view_of([1, 2]), view_of([3, 4], 2)), attacks=[attack_by(by_mark)]) == []


def test_one_round_gives_nothing_to_link():
    assert run_attacks(case_of(view_of([1, 2])), attacks=[attack_by(by_mark)]) == []


@pytest.mark.parametrize(
    ("rounds", "chosen"),
    [
        ((), []),
        ((3,), []),
        ((3, 7), [(3, 7)]),
        ((3, 4), [(3, 4)]),
        ((1, 2, 3, 10, 11, 30), [(1, 30), (10, 11)]),
        ((1, 2, 10, 11, 39, 40), [(1, 40), (10, 11), (39, 40)]),
    ],
)
def test_pairs_are_the_last_the_middle_and_the_farthest(rounds, chosen):
    assert pairs(rounds) == chosen


def test_evidence_has_no_name_and_no_order_of_the_recording(simulated):
    shown = []

    def look(seen):
        shown.append(seen)
        return Links(np.zeros((60, 60), np.float32), np.zeros(60, np.int64))

    views = simulated.unprotected(1), simulated.unprotected(2)
    case = Case(Recording.of(views), simulated.truth)
    run_attacks(case, attacks=[attack_by(look, kinds=("unprotected_upload",))])
    (seen,) = shown
    for nameless, view in zip((seen.first, seen.second), views, strict=True):
        assert np.array_equal(nameless.clients, np.arange(60))
        assert not np.array_equal(nameless.uploads.rows, view.uploads.rows)
    assert not any("Truth" in str(field.type) for field in dataclasses.fields(TwoRounds))


@pytest.mark.parametrize("form", ["rows", "dense"])
def test_nameless_view_holds_the_same_uploads_in_the_new_order(simulated, form):
    view = simulated.unprotected(1) if form == "rows" else simulated.noised(1, 0.1, np.random.default_rng(0))
    order = np.random.default_rng(1).permutation(60)
    straight, mixed = (np.concatenate([b.copy() for b in each.blocks()]) for each in (view, anonymous(view, order)))
    assert np.array_equal(mixed, straight[order])


def test_a_sum_cannot_be_made_nameless(simulated):
    with pytest.raises(AttackError, match="no uploads to link"):
        anonymous(simulated.opened(1, [1, 2]), np.arange(2))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Links(np.zeros((2, 3), np.float32), np.zeros(3, np.int64)), "answered with the shapes"),
        (Links(np.full((3, 3), np.nan, np.float32), np.zeros(3, np.int64)), "not finite"),
        (Links(np.zeros((3, 3), np.float32), np.array([0, 1, 3])), "clients outside"),
    ],
)
def test_answers_that_break_the_contract_are_refused(answer, message):
    with pytest.raises(AttackError, match=message):
        run_attacks(case_of(view_of([1, 2, 3]), view_of([1, 2, 3], 2)), attacks=[attack_by(lambda seen: answer)])


def test_activity_is_the_number_of_rows_or_the_length(simulated):
    rows = RowUploads.from_lists(
        np.arange(3),
        [np.arange(k, dtype=np.int32) for k in (1, 2, 4)],
        [np.ones((k, 2), np.float32) for k in (1, 2, 4)],
    )
    table = np.zeros((N_ITEMS, 2), np.float32)
    view = UploadView("unprotected_upload", 1, table, np.ones(N_ITEMS, np.int64), 100, rows)
    again = UploadView("unprotected_upload", 2, table, np.ones(N_ITEMS, np.int64), 100, rows)
    lazy = attack_by(lambda seen: Links(np.zeros((3, 3), np.float32), np.zeros(3, np.int64)), ("unprotected_upload",))
    (found,) = run_attacks(case_of(view, again), attacks=[lazy])
    assert found.controls["activity"].mean == 1
    marks = np.array([1.0, 5.0, 5.0, 9.0])
    (found,) = run_attacks(
        case_of(view_of([1, 2, 3, 4], 1, marks), view_of([1, 2, 3, 4], 2, marks)), attacks=[attack_by(by_mark)]
    )
    assert found.controls["activity"].mean == pytest.approx(0.75)
