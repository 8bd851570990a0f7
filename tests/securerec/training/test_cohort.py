import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securerec.data.interactions import Interactions
from securerec.errors import DataError, RunError
from securerec.models.head import Head, Heads
from securerec.models.pfedrec import PFedRec, ScoreFunctions
from securerec.training import kernels
from securerec.training.cohort import CohortTrainer
from securerec.training.reference import train_client

N_ITEMS = 60


def some_interactions(seed: int, n_users: int = 7) -> Interactions:
    rng = np.random.default_rng(seed)
    lists = [rng.permutation(N_ITEMS)[: rng.integers(1, 25)] for _ in range(n_users)]
    return Interactions.from_lists(lists, N_ITEMS)


def start(model: PFedRec, n_users: int, seed: int = 0) -> tuple[np.ndarray, ScoreFunctions]:
    rng = np.random.default_rng(seed)
    table = model.initial_table(N_ITEMS, rng)
    functions = ScoreFunctions(
        rng.normal(0, 0.3, (n_users, model.dim)).astype(np.float32), rng.normal(0, 0.3, n_users).astype(np.float32)
    )
    return table, functions


def some_heads(seed: int, n_users: int, features: int) -> Heads:
    rng = np.random.default_rng(seed)
    base, directions, tastes = (
        rng.normal(size=shape).astype(np.float32) for shape in ((N_ITEMS,), (N_ITEMS, features), (n_users, features))
    )
    return Heads(Head(base, directions), tastes)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    dim=st.sampled_from([1, 3, 8, 32]),
    batch_size=st.sampled_from([1, 7, 256]),
    epochs=st.integers(1, 2),
    threads=st.integers(1, 3),
    features=st.integers(0, 5),
    post_tuning=st.booleans(),
    bias=st.booleans(),
)
def test_the_cohort_trainer_equals_the_torch_client(
    seed: int, dim: int, batch_size: int, epochs: int, threads: int, features: int, post_tuning: bool, bias: bool
) -> None:
    model = PFedRec(
        dim=dim, batch_size=batch_size, epochs=epochs, item_lr_factor=0.5, post_tuning=post_tuning, bias=bias
    )
    train = some_interactions(seed)
    heads = some_heads(seed, train.n_users, features) if features else None
    trainer = CohortTrainer(model, train, train, heads=heads, threads=threads)
    table, functions = start(model, train.n_users, seed)
    draws = trainer.draw(np.random.default_rng(seed))
    new, update, _ = trainer.train(table, functions, draws)
    candidates = np.tile(np.arange(N_ITEMS, dtype=np.int32), (train.n_users, 1))
    scores = trainer.score(table, functions, candidates)
    for client in range(train.n_users):
        added = trainer.heads.logits(np.array([client]))[0]
        plain = table @ functions.weights[client] + functions.biases[client]
        np.testing.assert_allclose(scores[client], plain + added, atol=1e-4, rtol=1e-4)
        want = train_client(model, table, functions.weights[client], functions.biases[client], *draws.of(client), added)
        rows, delta = update.of(client)
        own = table.copy()
        own[rows] += delta
        scale = np.abs(want.table - table).max() + 1e-3
        np.testing.assert_allclose(own, want.table, atol=2e-5 * scale + 1e-6, rtol=2e-5)
        np.testing.assert_allclose(new.weights[client], want.weights, atol=1e-5, rtol=1e-4)
        np.testing.assert_allclose(new.biases[client], want.bias, atol=1e-5, rtol=1e-4)


def test_two_rounds_at_the_papers_rates_stay_equal() -> None:
    model = PFedRec()
    train = some_interactions(3)
    trainer = CohortTrainer(model, train, train)
    table, functions = start(model, train.n_users)
    reference = functions
    for round_number in range(2):
        draws = trainer.draw(np.random.default_rng(round_number))
        new, update, _ = trainer.train(table, functions, draws)
        clients = [
            train_client(model, table, reference.weights[c], reference.biases[c], *draws.of(c))
            for c in range(train.n_users)
        ]
        mean = sum(client.table - table for client in clients) / train.n_users
        ours = np.zeros_like(table)
        for c in range(train.n_users):
            rows, delta = update.of(c)
            ours[rows] += delta / train.n_users
        np.testing.assert_allclose(ours, mean, atol=2e-5 * np.abs(mean).max())
        table, functions = table + ours, new
        reference = ScoreFunctions(
            np.stack([client.weights for client in clients]), np.array([client.bias for client in clients])
        )


def test_a_device_is_a_cohort_of_one() -> None:
    model = PFedRec(dim=8)
    train = some_interactions(5)
    table, functions = start(model, train.n_users)
    trainer = CohortTrainer(model, train, train)
    keys = np.arange(train.n_users, dtype=np.uint64)
    draws = trainer.sampler.draw(keys, trainer.run_blocks)
    new, update, _ = trainer.train(table, functions, draws)
    for user in range(train.n_users):
        own = Interactions.from_lists([train.of(user)], N_ITEMS)
        device = CohortTrainer(model, own, own, threads=1)
        alone = device.sampler.draw(keys[user : user + 1], device.run_blocks)
        np.testing.assert_array_equal(alone.codes, draws.codes[draws.offsets[user] : draws.offsets[user + 1]])
        mine = ScoreFunctions(functions.weights[user : user + 1], functions.biases[user : user + 1])
        after, change, _ = device.train(table, mine, alone)
        np.testing.assert_array_equal(after.weights[0], new.weights[user])
        np.testing.assert_array_equal(change.of(0)[1], update.of(user)[1])


def test_draws_hold_each_positive_once_and_negatives_outside_the_barred_list() -> None:
    train, barred = some_interactions(1), None
    barred = Interactions.from_lists(
        [np.union1d(train.of(u), [u, u + 1]).astype(np.int32) for u in range(train.n_users)], N_ITEMS
    )
    trainer = CohortTrainer(PFedRec(negatives=4), train, barred)
    draws = trainer.draw(np.random.default_rng(0))
    for user in range(train.n_users):
        items, labels = draws.of(user)
        assert sorted(items[labels == 1]) == sorted(train.of(user))
        negatives = items[labels == 0]
        assert len(negatives) == 4 * len(train.of(user))
        assert not np.isin(negatives, barred.of(user)).any()


def test_negatives_are_uniform_and_new_in_each_round() -> None:
    train = Interactions.from_lists([[0, 1]] * 400, 12)
    trainer = CohortTrainer(PFedRec(negatives=4), train, train)
    first, second = (trainer.draw(np.random.default_rng(seed)).codes for seed in (0, 1))
    assert (first != second).any()
    items = first[(first & 1) == 0] >> 1
    counts = np.bincount(items, minlength=12)[2:]
    expected = counts.sum() / 10
    # 9 degrees of freedom: the 1 - 1e-6 quantile is 47; drawing without replacement only narrows it.
    assert ((counts - expected) ** 2 / expected).sum() < 47
    places = [np.flatnonzero(first[first_of : first_of + 10] == 1) for first_of in range(0, 4000, 10)]
    assert np.bincount(np.concatenate(places), minlength=10).min() > 15


def test_a_user_who_touched_nearly_everything_is_named() -> None:
    train = Interactions.from_lists([[0, 1], list(range(10))], 12)
    with pytest.raises(DataError, match="user number 1 has touched all but 2 of 12 items"):
        CohortTrainer(PFedRec(negatives=4), train, train)


def test_the_fused_sum_equals_the_sum_of_rounded_updates_for_any_number_of_threads() -> None:
    model = PFedRec(dim=8)
    train = some_interactions(2, n_users=23)
    table, functions = start(model, train.n_users)
    scale, limit = 64.0, 500
    totals = []
    for threads in (1, 2, 5):
        trainer = CohortTrainer(model, train, train, threads=threads)
        draws = trainer.draw(np.random.default_rng(0))
        _, update, summed = trainer.train(table, functions, draws, scale=scale, limit=limit)
        want, met = np.zeros((N_ITEMS, model.dim), np.int64), 0
        for client in range(train.n_users):
            rows, delta = update.of(client)
            whole = np.rint(delta.astype(np.float64) * scale)
            met += int((np.abs(whole) > limit).sum())
            want[rows] += np.clip(whole, -limit, limit).astype(np.int64)
        assert summed is not None
        np.testing.assert_array_equal(summed.total, want)
        assert summed.saturated == met
        totals.append(summed.total)
    assert met > 0, "the limit must bind for this test to say something"


def test_scores_by_the_own_view_equal_the_plain_product() -> None:
    model = PFedRec(dim=8)
    train = some_interactions(4)
    table, functions = start(model, train.n_users)
    trainer = CohortTrainer(model, train, train)
    new, update, _ = trainer.train(table, functions, trainer.draw(np.random.default_rng(0)))
    candidates = np.random.default_rng(1).integers(0, N_ITEMS, (train.n_users, 9)).astype(np.int32)
    got = trainer.score_own(table, new, update, candidates)
    for user in range(train.n_users):
        rows, delta = update.of(user)
        own = table.copy()
        own[rows] += delta
        np.testing.assert_allclose(
            got[user], own[candidates[user]] @ new.weights[user] + new.biases[user], rtol=2e-4, atol=1e-3
        )


def test_the_sigmoid_is_close_everywhere() -> None:
    logits = np.concatenate([np.linspace(-90, 90, 20001), [0.0, -0.0, 1e-30, 1e30, -1e30]]).astype(np.float32)
    out, exponents = np.empty_like(logits), np.empty(len(logits), np.int32)
    kernels._sigmoid(logits, out, exponents, exponents.view(np.float32), len(logits))
    want = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -60, 60)))
    np.testing.assert_allclose(out, want, rtol=1e-6)


@pytest.mark.parametrize("poison", [np.inf, np.nan])
def test_training_that_diverges_is_an_error_and_not_a_model(poison: float) -> None:
    model = PFedRec(dim=8)
    train = some_interactions(4)
    trainer = CohortTrainer(model, train, train)
    table, functions = start(model, train.n_users)
    table[train.of(2)[0]] = poison
    with pytest.raises(RunError, match="left the finite numbers"):
        trainer.train(table, functions, trainer.draw(np.random.default_rng(0)), scale=1.0, limit=10)


def test_draws_of_another_cohort_are_refused() -> None:
    lists = [[0, 3, 5], [1, 2], [4, 0, 2, 6]]
    mine, longer = (Interactions.from_lists(each, 12) for each in (lists, [*lists[:2], [4, 0, 2]]))
    model = PFedRec(dim=3)
    trainer, other = CohortTrainer(model, mine, mine), CohortTrainer(model, longer, longer)
    rng = np.random.default_rng(0)
    table, functions = model.initial_table(12, rng), model.initial_functions(3, rng)
    with pytest.raises(ValueError, match="draws are of other lists"):
        trainer.train(table, functions, other.draw(rng))
    trainer.train(table, functions, trainer.draw(rng))
