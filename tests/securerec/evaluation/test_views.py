import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securerec.data.dataset import Dataset
from securerec.data.splits import draw_candidates, leave_one_out
from securerec.evaluation.intervals import mean_interval
from securerec.evaluation.protocols import full_ranks
from securerec.evaluation.scoring import TrainedDevices
from securerec.evaluation.views import figures_by_view, stranger_scorer, strangers
from securerec.models.head import Heads
from securerec.models.pfedrec import PFedRec, ScoreFunctions
from securerec.training.updates import RowUpdates


def some_devices(n_users: int, n_items: int, dim: int = 3) -> TrainedDevices:
    rng = np.random.default_rng(4)
    counts = rng.integers(0, n_items, n_users)
    counts[0] = 0
    rows = [rng.permutation(n_items)[:count].astype(np.int32) for count in counts]
    changes = RowUpdates(
        np.arange(n_users), np.cumsum([0, *counts]).astype(np.int64), np.concatenate(rows),
        rng.normal(size=(int(counts.sum()), dim)).astype(np.float32),
    )  # fmt: skip
    table, broadcast = rng.normal(size=(2, n_items, dim)).astype(np.float32)
    functions = ScoreFunctions(
        rng.normal(size=(n_users, dim)).astype(np.float32), rng.normal(size=n_users).astype(np.float32)
    )
    return TrainedDevices(PFedRec(dim=dim), table, broadcast, functions, Heads.none(n_users, n_items), changes)


def by_hand(devices: TrainedDevices, user: int, lender: int) -> np.ndarray:
    view = devices.broadcast.astype(np.float64)
    rows, change = devices.changes.of(lender)
    for row, delta in zip(rows, change, strict=True):
        view[row] += delta
    return view @ devices.functions.weights[user] + devices.functions.biases[user]


@given(n_users=st.integers(2, 40), seed=st.integers(0, 99))
def test_strangers_are_others_and_everybody_is_one_once(n_users: int, seed: int) -> None:
    others = strangers(n_users, np.random.default_rng(seed))
    assert (others != np.arange(n_users)).all()
    assert sorted(others) == list(range(n_users))


def test_somebody_alone_has_no_stranger() -> None:
    with pytest.raises(ValueError, match="at least two users"):
        strangers(1, np.random.default_rng(0))


def test_a_strangers_view_is_scored_with_the_users_own_score_function() -> None:
    devices = some_devices(7, 20)
    others = strangers(7, np.random.default_rng(0))
    users = np.array([5, 0, 3])
    found = stranger_scorer(devices, others)(users)
    for place, user in enumerate(users):
        np.testing.assert_allclose(found[place], by_hand(devices, int(user), int(others[user])), atol=1e-4)


def test_figures_are_those_of_ranks_made_one_by_one(toy: Dataset) -> None:
    split, n_users, n_items = leave_one_out(toy.interactions), 24, 50
    candidates = draw_candidates(toy.interactions, split, np.random.default_rng(0), 15)
    devices = some_devices(n_users, n_items)
    found = figures_by_view(devices, split, candidates, (5,), draws=2, rng=np.random.default_rng(8))
    assert set(found) == {"clean", "full"} and set(found["full"]) == {"own", "server", "stranger"}
    server = full_ranks(devices.scorer(0.0), split).intervals((5,))
    assert found["full"]["server"] == server
    rng = np.random.default_rng(8)
    lent = [strangers(n_users, rng) for _ in range(2)]
    for view, lenders in (("own", [np.arange(n_users)]), ("stranger", lent)):
        hits = np.zeros((len(lenders), n_users))
        for draw, others in enumerate(lenders):
            for user in range(n_users):
                scores = by_hand(devices, user, int(others[user]))
                mine, *rest = scores[candidates.test[user]]
                hits[draw, user] = sum(score > mine for score in rest) < 5
        assert found["clean"][view]["hr@5"] == pytest.approx(mean_interval(hits.mean(axis=0)))
