from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from securerec.data.interactions import Interactions
from securerec.errors import RunError
from securerec.models.fedncf import FedNCF
from securerec.models.fedrecon import FedRecon
from securerec.models.pfedrec import PFedRec
from securerec.models.scorers import Learner, ScoreFunctions
from securerec.training.network_cohort import NetworkTrainer
from securerec.training.reference_network import train_network_client
from securerec.training.reference_reconstruction import train_reconstructing_client
from securerec.training.trainers import trainer_of

N_ITEMS = 60
LEARNERS: dict[str, Callable[[int], Learner]] = {
    "pfedrec": lambda dim: PFedRec(dim, item_lr_factor=0.5),
    "fedmf": lambda dim: PFedRec(dim, item_lr_factor=0.5, bias=False, post_tuning=False),
    "fedncf": lambda dim: FedNCF(dim, item_lr_factor=0.5, dual=False),
    "fedncf dual": lambda dim: FedNCF(dim, item_lr_factor=0.5),
    "fedrecon": lambda dim: FedRecon(dim, item_lr_factor=0.5, dual=False),
    "fedrecon dual": lambda dim: FedRecon(dim, item_lr_factor=0.5),
}
every_learner = pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS.keys())


def some_interactions(seed: int, n_users: int = 7) -> Interactions:
    rng = np.random.default_rng(seed)
    lists = [rng.permutation(N_ITEMS)[: rng.integers(1, 25)] for _ in range(n_users)]
    return Interactions.from_lists(lists, N_ITEMS)


def start(model: Learner, n_users: int, seed: int = 0) -> tuple[np.ndarray, ScoreFunctions]:
    rng = np.random.default_rng(seed)
    table, functions = model.initial_table(N_ITEMS, rng), model.initial_functions(n_users, rng)
    moved = functions.weights + rng.normal(0, 0.1, functions.weights.shape).astype(np.float32)
    return table, ScoreFunctions(moved, functions.biases)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**16),
    dim=st.sampled_from([1, 2, 3, 8, 32]),
    batch_size=st.sampled_from([1, 7, 256]),
    epochs=st.integers(1, 2),
    threads=st.integers(1, 3),
    dual=st.booleans(),
)
def test_the_network_trainer_equals_the_torch_client(
    seed: int, dim: int, batch_size: int, epochs: int, threads: int, dual: bool
) -> None:
    model = FedNCF(dim, 0.1, 0.05, batch_size=batch_size, epochs=epochs, dual=dual)
    train = some_interactions(seed)
    trainer = trainer_of(model, train, train, threads=threads)
    table, functions = start(model, train.n_users, seed)
    draws = trainer.draw(np.random.default_rng(seed))
    new, update, _ = trainer.train(table, functions, draws)
    for client in range(train.n_users):
        want = train_network_client(model, table, functions.weights[client], *draws.of(client))
        rows, delta = update.of(client)
        own = table.copy()
        own[rows] += delta
        # a ReLU that stands at zero may fall on either side of it
        np.testing.assert_allclose(own, want.table, atol=2e-4, rtol=1e-4)
        np.testing.assert_allclose(new.weights[client], want.weights, atol=2e-5, rtol=1e-4)


def test_blas_starts_no_threads_of_its_own_below_those_of_the_network_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    model, train = FedNCF(8), some_interactions(3)
    trainer = NetworkTrainer(model, train, train, threads=2)
    table, functions = start(model, train.n_users)
    candidates = np.zeros((train.n_users, 2), np.int32)
    seen: list[int] = []

    def spy(name: str) -> None:
        run = getattr(NetworkTrainer, name)

        def spied(*args: Any, **kwargs: Any) -> Any:
            seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
            return run(*args, **kwargs)

        monkeypatch.setattr(NetworkTrainer, name, spied)

    spy("_train_block")
    spy("_score_block")
    with threadpool_limits(2, "blas"):
        for work in (
            lambda: trainer.train(table, functions, trainer.draw(np.random.default_rng(0))),
            lambda: trainer.score(table, functions, candidates),
            lambda: trainer.stream(table, functions, np.random.default_rng(0), scale=1.0, limit=9),
        ):
            seen.clear()
            work()
            assert seen
            assert set(seen) == {1}


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**16), dim=st.sampled_from([1, 8, 32]), batch_size=st.sampled_from([7, 256]),
    epochs=st.integers(1, 2), dual=st.booleans(),
)  # fmt: skip
def test_the_reconstruction_trainer_equals_the_torch_client(
    seed: int, dim: int, batch_size: int, epochs: int, dual: bool
) -> None:
    model = FedRecon(dim, 0.1, 0.5, batch_size, epochs=epochs, rebuilding_epochs=3, dual=dual)
    train = some_interactions(seed)
    trainer = trainer_of(model, train, train)
    table, functions = start(model, train.n_users, seed)
    draws = trainer.draw(np.random.default_rng(seed))
    new, update, _ = trainer.train(table, functions, draws)
    for client in range(train.n_users):
        want = train_reconstructing_client(model, table, functions.weights[client], *draws.of(client))
        rows, delta = update.of(client)
        own = table.copy()
        own[rows] += delta
        np.testing.assert_allclose(own, want.table, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(new.weights[client], want.weights, atol=1e-5, rtol=1e-4)
        assert not new.biases.any()


def test_without_dual_personalisation_nothing_private_of_fedrecon_outlives_a_round() -> None:
    train = some_interactions(1)
    for dual in (False, True):
        model = FedRecon(4, dual=dual)
        trainer = trainer_of(model, train, train)
        table, functions = start(model, train.n_users)
        draws = trainer.draw(np.random.default_rng(0))
        other = ScoreFunctions(functions.weights + 1, functions.biases)
        one, two = (trainer.train(table, each, draws)[0].weights.copy() for each in (functions, other))
        assert np.array_equal(one, two) == (not dual)


@every_learner
def test_a_device_is_a_cohort_of_one(make: Callable[[int], Learner]) -> None:
    model, train = make(8), some_interactions(5)
    table, functions = start(model, train.n_users)
    trainer = trainer_of(model, train, train)
    draws = trainer.draw(np.random.default_rng(0))
    new, update, _ = trainer.train(table, functions, draws)
    for user in range(train.n_users):
        own = Interactions.from_lists([train.of(user)], N_ITEMS)
        device = trainer_of(model, own, own, threads=1)
        span = slice(draws.offsets[user], draws.offsets[user + 1])
        alone = type(draws)(draws.offsets[[user, user + 1]] - draws.offsets[user], draws.codes[span])
        after, change, _ = device.train(table, functions.of([user]), alone)
        np.testing.assert_array_equal(after.weights[0], new.weights[user])
        for got, want in zip(change.of(0), update.of(user), strict=True):
            np.testing.assert_array_equal(got, want)


@every_learner
def test_the_fused_sum_equals_the_sum_of_rounded_updates_for_any_number_of_threads(
    make: Callable[[int], Learner],
) -> None:
    model, train = make(8), some_interactions(2, n_users=23)
    table, functions = start(model, train.n_users)
    scale, limit = 1024.0, 20
    totals, met = [], 0
    for threads in (1, 2, 5):
        trainer = trainer_of(model, train, train, threads=threads)
        _, update, summed = trainer.train(
            table, functions, trainer.draw(np.random.default_rng(0)), scale=scale, limit=limit
        )
        want, met = np.zeros(table.shape, np.int64), 0
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
    assert all(np.array_equal(total, totals[0]) for total in totals)


@every_learner
def test_trainer_and_learner_agree_on_every_score(make: Callable[[int], Learner]) -> None:
    model, train = make(8), some_interactions(4)
    table, functions = start(model, train.n_users)
    trainer = trainer_of(model, train, train)
    new, update, _ = trainer.train(table, functions, trainer.draw(np.random.default_rng(0)))
    candidates = np.tile(np.arange(N_ITEMS, dtype=np.int32), (train.n_users, 1))
    changes = [update.of(user) for user in range(train.n_users)]
    np.testing.assert_allclose(trainer.score(table, new, candidates), model.logits(table, new), rtol=2e-4, atol=1e-3)
    own = model.own_logits(table, new, changes)
    np.testing.assert_allclose(trainer.score_own(table, new, update, candidates), own, rtol=2e-4, atol=1e-3)
    for user, (rows, delta) in enumerate(changes):
        view = table.copy()
        view[rows] += delta
        np.testing.assert_allclose(own[user], model.logits(view, new.of([user]))[0], rtol=2e-4, atol=1e-3)
    absent = np.full((train.n_users, 2), -1, np.int32)
    assert not trainer.score_own(table, new, update, absent).any()


@every_learner
def test_training_that_diverges_is_an_error_and_not_a_model(make: Callable[[int], Learner]) -> None:
    model, train = make(8), some_interactions(4)
    trainer = trainer_of(model, train, train)
    table, functions = start(model, train.n_users)
    table[train.of(2)[0]] = np.nan
    with pytest.raises(RunError, match="left the finite numbers"):
        trainer.train(table, functions, trainer.draw(np.random.default_rng(0)), scale=1.0, limit=10)


@every_learner
def test_only_the_rows_of_the_shared_matrix_change(make: Callable[[int], Learner]) -> None:
    model, train = make(8), some_interactions(6)
    trainer = trainer_of(model, train, train)
    table, functions = start(model, train.n_users)
    assert table.shape == (N_ITEMS + model.shared_rows, model.dim)
    assert functions.weights.shape == (train.n_users, model.private_width)
    before = table.copy(), functions.weights.copy()
    draws = trainer.draw(np.random.default_rng(0))
    _, update, _ = trainer.train(table, functions, draws)
    np.testing.assert_array_equal(table, before[0])
    np.testing.assert_array_equal(functions.weights, before[1])
    for user in range(train.n_users):
        rows, _ = update.of(user)
        # without dual personalisation only the query half of fedrecon's samples moves item rows
        samples = draws.of(user)[0]
        items = np.unique(samples[len(samples) // 2 :] if isinstance(model, FedRecon) and not model.dual else samples)
        np.testing.assert_array_equal(np.sort(rows), [*items, *range(N_ITEMS, len(table))])


def test_the_shared_network_is_the_same_before_and_after_it_travels() -> None:
    model = FedNCF(8, dual=False)
    table, functions = start(model, 3)
    private = FedNCF(8)
    network = model.network_of(table, functions.weights[0])
    weights = np.concatenate([functions.weights, np.tile(network, (3, 1))], axis=1)
    np.testing.assert_array_equal(model.as_rows(network), table[N_ITEMS:])
    np.testing.assert_array_equal(
        model.logits(table, functions), private.logits(table[:N_ITEMS], ScoreFunctions(weights, functions.biases))
    )
