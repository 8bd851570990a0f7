from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from securerec.data.interactions import Interactions
from securerec.errors import RunError
from securerec.models.fedncf import FedNCF
from securerec.models.fedrecon import FedRecon
from securerec.models.head import Head, Heads
from securerec.models.pfedrec import PFedRec
from securerec.models.scorers import Learner, ScoreFunctions
from securerec.training.torch_chunks import cut
from securerec.training.torch_cohort import TorchTrainer
from securerec.training.trainers import Trainer, trainer_of
from securerec.training.updates import CohortUpdate

N_ITEMS = 60
CPU = torch.device("cpu")
SCALE, LIMIT = 2.0**20, 1 << 19
LEARNERS: dict[str, Any] = {
    "pfedrec": lambda **kwargs: PFedRec(**kwargs),
    "pfedrec without post-tuning": lambda **kwargs: PFedRec(**kwargs, post_tuning=False),
    "fedmf": lambda **kwargs: PFedRec(**kwargs, bias=False),
    "fedmf without post-tuning": lambda **kwargs: PFedRec(**kwargs, bias=False, post_tuning=False),
    "fedncf dual": lambda **kwargs: FedNCF(**kwargs),
    "fedncf": lambda **kwargs: FedNCF(**kwargs, dual=False),
    "fedrecon dual": lambda **kwargs: FedRecon(**kwargs, rebuilding_epochs=3),
    "fedrecon": lambda **kwargs: FedRecon(**kwargs, rebuilding_epochs=3, dual=False),
}
every_learner = pytest.mark.parametrize("name", LEARNERS)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here")
on_every_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])


def some_interactions(seed: int, n_users: int = 7, n_items: int = N_ITEMS, longest: int = 25) -> Interactions:
    """Some users without any."""
    rng = np.random.default_rng(seed)
    lists = [rng.permutation(n_items)[: rng.integers(0, longest)] for _ in range(n_users)]
    return Interactions.from_lists(lists, n_items)


def some_heads(seed: int, n_users: int) -> Heads:
    rng = np.random.default_rng(seed)
    base, directions, tastes = (
        rng.normal(size=shape).astype(np.float32) for shape in ((N_ITEMS,), (N_ITEMS, 3), (n_users, 3))
    )
    return Heads(Head(base, directions), tastes)


def start(model: Learner, train: Interactions, seed: int = 0) -> tuple[np.ndarray, ScoreFunctions]:
    rng = np.random.default_rng(seed)
    table, functions = model.initial_table(train.n_items, rng), model.initial_functions(train.n_users, rng)
    moved = functions.weights + rng.normal(0, 0.1, functions.weights.shape).astype(np.float32)
    return table, ScoreFunctions(moved, functions.biases)


def assert_same_round(trainer: Trainer, compiled: Trainer, seed: int, *, off: float = 1e-4) -> None:
    """A round of both ends with the same functions, rows, losses, sums and scores, within `off` of the largest."""
    train = compiled.train_set
    table, functions = start(compiled.model, train, seed)
    before = table.copy(), functions.weights.copy(), functions.biases.copy()
    draws = compiled.draw(np.random.default_rng(seed))
    mine = trainer.draw(np.random.default_rng(seed))
    np.testing.assert_array_equal(mine.codes, draws.codes)
    got, update, summed = trainer.train(table, functions, mine, scale=SCALE, limit=LIMIT)
    want, wanted, total = compiled.train(table, functions, draws, scale=SCALE, limit=LIMIT)
    for kept, now in zip(before, (table, functions.weights, functions.biases), strict=True):
        np.testing.assert_array_equal(kept, now)
    np.testing.assert_allclose(got.weights, want.weights, atol=off, rtol=off)
    np.testing.assert_allclose(got.biases, want.biases, atol=off, rtol=off)
    np.testing.assert_allclose(update.losses, wanted.losses, atol=off, rtol=off)
    np.testing.assert_array_equal(update.counts, wanted.counts)
    for client in range(train.n_users):
        order = np.argsort(wanted.of(client)[0])
        np.testing.assert_array_equal(update.of(client)[0], wanted.of(client)[0][order])
        np.testing.assert_allclose(update.of(client)[1], wanted.of(client)[1][order], atol=off, rtol=off)
    assert summed is not None
    assert total is not None
    np.testing.assert_allclose(summed.total, total.total, atol=train.n_users * off * SCALE)
    candidates = np.random.default_rng(seed).integers(-1, train.n_items, (train.n_users, 12), dtype=np.int32)
    for scores, scored in (
        (trainer.score_own(table, got, update, candidates), compiled.score_own(table, want, wanted, candidates)),
        (trainer.score(table, got, candidates), compiled.score(table, want, candidates)),
    ):
        np.testing.assert_allclose(scores, scored, atol=10 * off, rtol=10 * off)
        assert not scores[candidates < 0].any()


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**16), name=st.sampled_from(list(LEARNERS)), dim=st.sampled_from([1, 3, 8, 32]),
    batch_size=st.sampled_from([1, 7, 256]), epochs=st.integers(1, 2), memory=st.sampled_from([1, 1 << 16, 1 << 30]),
    head=st.booleans(),
)  # fmt: skip
def test_the_torch_trainer_equals_the_compiled_ones_however_the_cohort_is_cut(
    seed: int, name: str, dim: int, batch_size: int, epochs: int, memory: int, head: bool
) -> None:
    factor = 0.05 if name.startswith("fedncf") else 0.5
    model = LEARNERS[name](dim=dim, item_lr_factor=factor, batch_size=batch_size, epochs=epochs)
    train = some_interactions(seed)
    heads = some_heads(seed, train.n_users) if head and isinstance(model, PFedRec) else None
    trainer = TorchTrainer(model, train, train, CPU, heads=heads, memory=memory)
    # a ReLU that stands at zero may fall on either side of it
    assert_same_round(trainer, trainer_of(model, train, train, heads=heads), seed, off=3e-4 if factor < 0.1 else 1e-4)


@on_every_device
@every_learner
def test_a_larger_cohort_trains_alike_at_the_papers_sizes(name: str, device: str) -> None:
    factor = 0.05 if name.startswith("fedncf") else 0.5
    model, train = LEARNERS[name](item_lr_factor=factor), some_interactions(1, n_users=100, n_items=400, longest=120)
    trainer = TorchTrainer(model, train, train, torch.device(device), memory=1 << 22)
    assert_same_round(trainer, trainer_of(model, train, train), 1, off=5e-4)


@on_every_device
@every_learner
def test_a_round_played_again_is_the_same_to_the_bit(name: str, device: str) -> None:
    model, train = LEARNERS[name](item_lr_factor=0.5), some_interactions(2, n_users=40)
    table, functions = start(model, train)
    rounds = []
    for _ in range(2):
        trainer = TorchTrainer(model, train, train, torch.device(device))
        new, update, summed = trainer.train(
            table, functions, trainer.draw(np.random.default_rng(0)), scale=SCALE, limit=LIMIT
        )
        assert summed is not None
        rounds.append((new.weights.tobytes(), new.biases.tobytes(), update.digest(), summed.total.tobytes()))
    assert rounds[0] == rounds[1]
    assert not torch.are_deterministic_algorithms_enabled(), "the switch is the process's, and was off"


@on_every_device
@every_learner
def test_the_sum_is_that_of_the_rounded_updates(name: str, device: str) -> None:
    model, train = LEARNERS[name](dim=8, item_lr_factor=0.5), some_interactions(3, n_users=23)
    table, functions = start(model, train)
    trainer = TorchTrainer(model, train, train, torch.device(device), memory=1 << 14)
    scale, limit = 1024.0, 20
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
    assert summed.saturated == met > 0


@on_every_device
@every_learner
def test_a_streamed_round_is_the_same_to_the_bit(name: str, device: str) -> None:
    model, train = LEARNERS[name](dim=8, item_lr_factor=0.5), some_interactions(5, n_users=23)
    heads = some_heads(5, train.n_users) if isinstance(model, PFedRec) else None
    trainer = TorchTrainer(model, train, train, torch.device(device), heads=heads, memory=1 << 16)
    table, functions = start(model, train)
    candidates = np.random.default_rng(0).integers(-1, N_ITEMS, (train.n_users, 9), dtype=np.int32)
    draws = trainer.draw(np.random.default_rng(3))
    new, update, summed = trainer.train(table, functions, draws, scale=SCALE, limit=LIMIT)
    scores = trainer.score_own(table, new, update, candidates)
    kept: dict[int, tuple[np.ndarray, ...]] = {}

    def keep(first: int, some: CohortUpdate) -> None:
        for place in range(len(some.counts)):
            kept[first + place] = (*some.of(place), some.losses[place], some.functions.weights[place])

    streamed = trainer.stream(
        table, functions, np.random.default_rng(3), scale=SCALE, limit=LIMIT, candidates=candidates, into=functions,
        keep=keep,
    )  # fmt: skip
    assert streamed.functions is functions
    assert summed is not None
    assert streamed.scores is not None
    assert len(trainer._chunks) > 1, "one chunk says nothing of how they are put together"
    np.testing.assert_array_equal(functions.weights, new.weights)
    np.testing.assert_array_equal(functions.biases, new.biases)
    np.testing.assert_array_equal(streamed.losses, update.losses)
    np.testing.assert_array_equal(streamed.total.total, summed.total)
    np.testing.assert_array_equal(streamed.scores, scores)
    for client in range(train.n_users):
        whole = (*update.of(client), update.losses[client], new.weights[client])
        for got, want in zip(kept[client], whole, strict=True):
            np.testing.assert_array_equal(got, want)


@every_learner
def test_training_that_diverges_is_an_error_that_names_the_client(name: str) -> None:
    model, train = LEARNERS[name](item_lr_factor=0.5), some_interactions(4)
    trainer = TorchTrainer(model, train, train, CPU)
    table, functions = start(model, train)
    functions.weights[:] = 0
    first = int(np.argmax(train.counts()))
    functions.weights[first] = np.nan
    if name == "fedrecon":  # its weights begin at zero
        table[train.of(first)[0]] = np.nan
        with pytest.raises(RunError, match="left the finite numbers"):
            trainer.train(table, functions, trainer.draw(np.random.default_rng(0)))
        return
    with pytest.raises(RunError, match=rf"of 1 of 7 clients left the finite numbers \(first: client {first}\)"):
        trainer.train(table, functions, trainer.draw(np.random.default_rng(0)), scale=1.0, limit=10)


def test_too_little_memory_is_an_error_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model, train = PFedRec(dim=8), some_interactions(0)
    trainer = TorchTrainer(model, train, train, CPU)
    table, functions = start(model, train)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(trainer._scores, "logits", full)
    with pytest.raises(RunError, match="too little free memory .* --device cpu"):
        trainer.train(table, functions, trainer.draw(np.random.default_rng(0)))
    with pytest.raises(RunError, match="too little free memory"):
        trainer.score(table, functions, np.zeros((train.n_users, 2), np.int32))
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_cohort_in_which_nobody_has_anything_changes_nothing() -> None:
    train = Interactions.from_lists([[], []], N_ITEMS)
    for name in LEARNERS:
        model = LEARNERS[name](dim=8)
        assert_same_round(TorchTrainer(model, train, train, CPU), trainer_of(model, train, train), 0)


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=60), st.integers(1, 1 << 22))
def test_a_cohort_is_cut_into_consecutive_chunks_that_fit_or_hold_one_client(counts: list[int], memory: int) -> None:
    samples = np.array(counts, np.int64)
    chunks = cut(samples, batch_size=256, dim=8, numbers=40, private=9, memory=memory)
    assert np.concatenate([np.sort(clients) for clients in chunks]).tolist() == list(range(len(samples)))
    for clients in chunks:
        assert (np.diff(samples[clients]) <= 0).all()
        rows = 12 * 8 * int(samples[clients].sum())
        assert len(clients) == 1 or rows <= memory


def test_a_learner_without_a_torch_trainer_is_refused() -> None:
    train = some_interactions(0)
    with pytest.raises(ValueError, match="there is no torch trainer"):
        TorchTrainer(object(), train, train, CPU)  # type: ignore[arg-type]
