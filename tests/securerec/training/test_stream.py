from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from securerec.data.interactions import Interactions
from securerec.errors import RunError
from securerec.models.fedncf import FedNCF
from securerec.models.fedrecon import FedRecon
from securerec.models.head import Head, Heads
from securerec.models.pfedrec import PFedRec, ScoreFunctions
from securerec.models.scorers import Learner
from securerec.training.cohort import CohortTrainer
from securerec.training.private_state import new_functions, open_functions
from securerec.training.row_trainer import RowTrainer
from securerec.training.stored_updates import UpdateStore
from securerec.training.trainers import trainer_of

N_ITEMS = 60
LEARNERS: dict[str, Learner] = {
    "pfedrec": PFedRec(8, item_lr_factor=0.5, batch_size=32),
    "fedmf": PFedRec(8, item_lr_factor=0.5, batch_size=32, bias=False, post_tuning=False),
    "fedncf": FedNCF(8, item_lr_factor=0.5, batch_size=32, dual=False),
    "fedncf dual": FedNCF(8, item_lr_factor=0.5, batch_size=32),
    "fedrecon": FedRecon(8, item_lr_factor=0.5, batch_size=32, dual=False),
    "fedrecon dual": FedRecon(8, item_lr_factor=0.5, batch_size=32),
}
SCALE, LIMIT = 64.0, 300


def some_interactions(seed: int, n_users: int = 23) -> Interactions:
    rng = np.random.default_rng(seed)
    # Some users have nothing at all.
    lists = [rng.permutation(N_ITEMS)[: rng.integers(0, 25)] for _ in range(n_users)]
    return Interactions.from_lists(lists, N_ITEMS)


def start(model: PFedRec, n_users: int) -> tuple[np.ndarray, ScoreFunctions]:
    rng = np.random.default_rng(0)
    return model.initial_table(N_ITEMS, rng), ScoreFunctions(
        rng.normal(0, 0.3, (n_users, model.dim)).astype(np.float32), rng.normal(0, 0.3, n_users).astype(np.float32)
    )


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**16),
    threads=st.integers(1, 3),
    samples_at_once=st.sampled_from([1, 40, 200, 10**6]),
    features=st.sampled_from([0, 3]),
    post_tuning=st.booleans(),
)
def test_a_streamed_round_is_the_kept_one_to_the_bit(
    seed: int, threads: int, samples_at_once: int, features: int, post_tuning: bool
) -> None:
    model = PFedRec(dim=8, batch_size=32, post_tuning=post_tuning)
    train, rng = some_interactions(seed), np.random.default_rng(seed)
    base, directions, tastes = (
        rng.normal(size=shape).astype(np.float32) for shape in (N_ITEMS, (N_ITEMS, features), (train.n_users, features))
    )
    heads = Heads(Head(base, directions), tastes)
    candidates = rng.integers(-1, N_ITEMS, (train.n_users, 9)).astype(np.int32)
    table, functions = start(model, train.n_users)
    whole = CohortTrainer(model, train, train, heads=heads, threads=2)
    draws = whole.draw(np.random.default_rng(5))
    new, update, total = whole.train(table, functions, draws, scale=SCALE, limit=LIMIT)
    assert total is not None and total.saturated > 0
    streamed = CohortTrainer(model, train, train, heads=heads, threads=threads).stream(
        table, functions, np.random.default_rng(5), scale=SCALE, limit=LIMIT, candidates=candidates,
        samples_at_once=samples_at_once,
    )  # fmt: skip
    np.testing.assert_array_equal(streamed.total.total, total.total)
    assert streamed.total.saturated == total.saturated
    np.testing.assert_array_equal(streamed.functions.weights, new.weights)
    np.testing.assert_array_equal(streamed.functions.biases, new.biases)
    np.testing.assert_array_equal(streamed.losses, update.losses)
    np.testing.assert_array_equal(streamed.scores, whole.score_own(table, new, update, candidates))


@pytest.mark.parametrize("model", LEARNERS.values(), ids=LEARNERS.keys())
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**16), threads=st.integers(1, 3), samples_at_once=st.sampled_from([1, 90, 10**6]))
def test_every_learner_streams_what_it_trains_and_hands_over_every_change(
    tmp_path: Path, model: Learner, seed: int, threads: int, samples_at_once: int
) -> None:
    train, rng = some_interactions(seed), np.random.default_rng(seed)
    candidates = rng.integers(-1, N_ITEMS, (train.n_users, 9)).astype(np.int32)
    table, functions = model.initial_table(N_ITEMS, rng), model.initial_functions(train.n_users, rng)
    functions.weights[:] += rng.normal(0, 0.1, functions.weights.shape)
    whole, some = (trainer_of(model, train, train, threads=each) for each in (2, threads))
    assert isinstance(some, RowTrainer)
    new, update, total = whole.train(table, functions, whole.draw(np.random.default_rng(5)), scale=SCALE, limit=2)
    assert total is not None and total.saturated > 0
    own = whole.score_own(table, new, update, candidates)
    for wanted in (candidates, None):
        for store in (UpdateStore(tmp_path, train.n_users, model.dim), None):
            streamed = some.stream(
                table, functions, np.random.default_rng(5), scale=SCALE, limit=2, candidates=wanted, keep=store,
                samples_at_once=samples_at_once,
            )  # fmt: skip
            assert streamed.total.saturated == total.saturated
            for got, want in (
                (streamed.total.total, total.total), (streamed.functions.weights, new.weights),
                (streamed.functions.biases, new.biases), (streamed.losses, update.losses),
            ):  # fmt: skip
                np.testing.assert_array_equal(got, want)
            if wanted is not None:
                np.testing.assert_array_equal(streamed.scores, own)
            if store is not None:
                kept = store.stored()
                assert kept.digest() == update.digest()
                for client in range(train.n_users):
                    for got, want in zip(kept.of(client), update.of(client), strict=True):
                        np.testing.assert_array_equal(got, want)


def test_functions_in_a_file_are_trained_in_place_as_in_memory(tmp_path: Path) -> None:
    model, train = PFedRec(dim=8), some_interactions(1)
    table, functions = start(model, train.n_users)
    trainer = CohortTrainer(model, train, train, threads=2)
    stored = new_functions(tmp_path / "functions", train.n_users, model.dim)
    stored.weights[:], stored.biases[:] = functions.weights, functions.biases
    for round_number in range(2):
        rng = np.random.default_rng(round_number)
        functions = trainer.stream(table, functions, rng, scale=SCALE, limit=LIMIT).functions
        rng = np.random.default_rng(round_number)
        trained = trainer.stream(table, stored, rng, scale=SCALE, limit=LIMIT, into=stored, samples_at_once=50)
        assert trained.functions is stored
    del stored, trained
    again = open_functions(tmp_path / "functions", train.n_users, model.dim)
    np.testing.assert_array_equal(again.weights, functions.weights)
    np.testing.assert_array_equal(again.biases, functions.biases)
    with pytest.raises(ValueError, match="read-only"):
        again.weights[0, 0] = 1


def test_files_of_another_size_or_in_the_way_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "functions"
    with pytest.raises(RunError, match="cannot be read"):
        open_functions(path, 3, 4)
    new_functions(path, 3, 4)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(RunError, match="cannot be made"):
        new_functions(path, 3, 4)
    with pytest.raises(RunError, match="has 60 bytes where 4 score functions of 4 weights have 80"):
        open_functions(path, 4, 4)


def test_a_streamed_round_that_diverges_is_an_error() -> None:
    model, train = PFedRec(dim=8), some_interactions(4)
    table, functions = start(model, train.n_users)
    table[train.items[0]] = np.nan
    with pytest.raises(RunError, match="left the finite numbers"):
        CohortTrainer(model, train, train).stream(table, functions, np.random.default_rng(0), scale=SCALE, limit=LIMIT)
