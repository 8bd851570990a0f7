import numpy as np
import pytest

from attacks.case import Case, Recording
from attacks.errors import AttackError, ViewError
from attacks.goals.counts import COUNTS, Counts, rank_correlation
from attacks.registry import Attack, run_attacks
from attacks.views import DenseUploads, OpenedSum, Truth, UploadView

N = 30
SIZES = (1, 4, 9, 20)
TRUTH = Truth.from_lists(N, np.array([2, 3, 5, 7]), [np.arange(size) for size in SIZES])


def view_of(clients, kind="unprotected_upload", round_number=1):
    clients, table = np.array(clients), np.zeros((N, 2), dtype=np.float32)
    popularity = np.full(N, 3, dtype=np.int64)
    if kind == "opened_sum":
        uploads = OpenedSum(clients, table)
    else:
        uploads = DenseUploads(clients, np.zeros((len(clients), N, 2), np.float32))
    return UploadView(kind, round_number, table, popularity, 10, uploads)


def attack_with(counts, kinds=("unprotected_upload", "noised_upload")):
    return Attack("fixed", COUNTS, kinds, "each", "", "", "", lambda seen: Counts(np.array(counts, dtype=float)))


def run(views, attack, truth=TRUTH):
    return run_attacks(Case(Recording.of(views), truth), attacks=[attack])


def test_each_clients_count_is_held_against_its_own_truth():
    (right,) = run([view_of([2, 3, 5, 7])], attack_with(SIZES))
    (turned,) = run([view_of([7, 5, 3, 2])], attack_with(SIZES))
    assert right.result.mean == pytest.approx(1.0) and turned.result.mean == pytest.approx(-1.0)
    assert right.others["exact"].mean == 1.0 and right.measure == "Spearman correlation"


def test_shares_tell_exact_from_close_and_from_the_mean_that_anybody_could_say():
    (finding,) = run([view_of([2, 3, 5, 7])], attack_with([1.4, 4.3, 12, 21.9]))
    assert finding.others["exact"].mean == 0.5
    assert finding.others["within 10%"].mean == 0.5
    # 90 interactions of 10 users: 9 for everybody.
    assert finding.others["within 10%, mean for all"].mean == 0.25


def test_one_guess_for_all_reaches_its_control():
    (finding,) = run([view_of([2, 3, 5, 7])], attack_with([9, 9, 9, 9]))
    assert finding.result.mean == finding.controls["one guess for all"].mean == finding.beyond.mean == 0.0


def test_every_recorded_round_of_the_attacks_kinds_is_scored_by_itself():
    views = [view_of([2, 3, 5], round_number=number) for number in (4, 1)]
    views.append(view_of([2, 3, 5], "noised_upload"))
    findings = run(views, attack_with([1, 4, 9], kinds=("unprotected_upload",)))
    assert [finding.rounds for finding in findings] == [(1,), (4,)]


def test_clients_that_do_not_differ_give_no_finding():
    assert run([view_of([3])], attack_with([4])) == []


@pytest.mark.parametrize("answer", [[1, 2], [1, 2, np.nan], [1, 2, -1]])
def test_answer_that_breaks_the_contract_is_refused(answer):
    with pytest.raises(AttackError, match="gave counts"):
        run([view_of([2, 3, 5])], attack_with(answer))


def test_sum_and_client_of_another_run_are_refused():
    with pytest.raises(AttackError, match="no upload of each client"):
        run([view_of([2, 3], "opened_sum")], attack_with([1], kinds=("opened_sum",)))
    with pytest.raises(ViewError, match="no client 8"):
        run([view_of([2, 8])], attack_with([1, 2]))


def test_rank_correlation_minds_ties_and_not_scale():
    rng = np.random.default_rng(0)
    one = np.array([1.0, 1.0, 2.0, 5.0, 9.0])
    assert rank_correlation(one, np.exp(one), rng).mean == pytest.approx(1.0)
    # Ranks 1.5 1.5 3 4 5 and 1 2 3 4 5.
    assert rank_correlation(one, np.arange(5.0), rng).mean == pytest.approx(9.5 / np.sqrt(9.5 * 10))


def test_interval_of_a_correlation_covers_it_in_about_19_of_20_samples():
    rng = np.random.default_rng(1)
    true, held = 6 / np.pi * np.arcsin(0.25), 0
    for _ in range(60):
        one = rng.normal(size=60)
        estimate = rank_correlation(one, 0.5 * one + np.sqrt(0.75) * rng.normal(size=60), rng)
        held += estimate.low <= true <= estimate.high
    assert 51 <= held <= 60


def test_two_clients_bound_nothing():
    estimate = rank_correlation(np.array([1.0, 2.0]), np.array([3.0, 5.0]), np.random.default_rng(0))
    assert (estimate.mean, estimate.low, estimate.high) == (1.0, -np.inf, np.inf)
