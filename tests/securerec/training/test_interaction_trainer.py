import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer

from securerec.data.interactions import Interactions
from securerec.errors import RunError
from securerec.models.pfedrec import PFedRec, ScoreFunctions
from securerec.privacy.randomness import NoiseKey
from securerec.training.interaction import device
from securerec.training.interaction.examples import draw_words, taken
from securerec.training.interaction.settings import InteractionSettings
from securerec.training.interaction.trainer import InteractionTrainer, train_client

N_ITEMS = 60


def some_interactions(seed: int, n_users: int = 7) -> Interactions:
    rng = np.random.default_rng(seed)
    return Interactions.from_lists([rng.permutation(N_ITEMS)[: rng.integers(0, 25)] for _ in range(n_users)], N_ITEMS)


def start(dim: int, n_users: int, seed: int = 0) -> tuple[np.ndarray, ScoreFunctions]:
    rng = np.random.default_rng(seed)
    table = rng.normal(0, 0.5, (N_ITEMS, dim)).astype(np.float32)
    return table, ScoreFunctions(
        rng.normal(0, 0.5, (n_users, dim)).astype(np.float32), rng.normal(0, 0.5, n_users).astype(np.float32)
    )


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**16),
    dim=st.sampled_from([1, 4, 16]),
    steps=st.integers(1, 4),
    sample_rate=st.sampled_from([0.05, 0.5, 1.0]),
    negatives=st.integers(1, 6),
    clip_norm=st.sampled_from([0.1, 1.0, 10.0]),
)
def test_the_compiled_client_equals_the_one_through_opacus(
    seed: int, dim: int, steps: int, sample_rate: float, negatives: int, clip_norm: float
) -> None:
    config = InteractionSettings(1.5, sample_rate=sample_rate, steps=steps, clip_norm=clip_norm, item_lr=0.3)
    table, functions = start(dim, 1, seed)
    items = np.unique(some_interactions(seed, 1).of(0)).astype(np.int32)
    key = NoiseKey.from_seed(seed)
    fast, slow = (
        train(items, table, functions.weights[0], functions.biases[0], negatives, config, key.stream("test", 0, 0))
        for train in (train_client, device.train_client)
    )
    assert fast.taken == slow.taken
    # A gradient that falls between two grid points may be rounded either way by a difference in the last bit.
    loose = 2 * steps * config.unit
    np.testing.assert_allclose(fast.delta, slow.delta, rtol=1e-5, atol=loose * config.item_lr)
    np.testing.assert_allclose(fast.weights, slow.weights, rtol=1e-5, atol=loose * config.score_lr)
    assert fast.bias == pytest.approx(slow.bias, rel=1e-5, abs=loose * config.score_lr)
    assert fast.loss == pytest.approx(slow.loss, rel=1e-5)


@pytest.mark.parametrize("clip_norm", [0.2, 5.0])
@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_without_noise_a_step_is_opacus_own_dp_sgd_step(clip_norm: float) -> None:
    """Its clipping, its sum and its noise's place are untouched here; only the noise is zero, on both sides."""

    class Silent:
        def sample(self, stream: object, size: int) -> np.ndarray:
            return np.zeros(size, np.int64)

    config = InteractionSettings(1e-4, sample_rate=0.6, clip_norm=clip_norm, score_lr=0.2, item_lr=0.3)
    table, functions = start(6, 1)
    items = np.arange(0, N_ITEMS, 2, dtype=np.int32)
    key = NoiseKey.from_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InteractionSettings, "noise", Silent())
        ours = train_client(items, table, functions.weights[0], functions.biases[0], 4, config, key.stream("", 0, 0))

    batch = taken(items, draw_words(key.stream("", 0, 0), N_ITEMS, 4), config.sample_rate)
    scorer = device.ItemScorer(table, functions.weights[0], float(functions.biases[0]))
    module = GradSampleModule(scorer, loss_reduction="sum")
    groups = [{"params": scorer.score.parameters(), "lr": 0.2}, {"params": scorer.rows.parameters(), "lr": 0.3}]
    optimizer = DPOptimizer(
        torch.optim.SGD(groups), noise_multiplier=0.0, max_grad_norm=clip_norm, expected_batch_size=None,
        loss_reduction="sum",
    )  # fmt: skip
    labels = torch.zeros(batch.shape, dtype=torch.float64)
    labels[:, 0] = 1
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        module(torch.tensor(batch).long()), labels, reduction="sum"
    )
    loss.backward()
    optimizer.step()
    assert 10 < len(batch) < 25
    with torch.no_grad():
        np.testing.assert_allclose(ours.delta, scorer.rows.weight.numpy() - table, atol=2e-5 * clip_norm)
        np.testing.assert_allclose(ours.weights, scorer.score.weight.numpy()[0], atol=2e-5 * clip_norm)
        assert ours.bias == pytest.approx(scorer.score.bias.item(), abs=2e-5 * clip_norm)


def test_a_cohort_is_its_clients_and_its_sum_that_of_their_rounded_changes() -> None:
    model, train = PFedRec(dim=4), some_interactions(2)
    table, functions = start(4, train.n_users)
    config = InteractionSettings(1.5, sample_rate=0.5, steps=2, clip_norm=0.5)
    results = []
    for threads in (1, 3):
        trainer = InteractionTrainer(model, train, config, NoiseKey.from_seed(0), threads=threads)
        draws = trainer.draw(np.random.default_rng(0))
        new, update, summed = trainer.train(table, functions, draws, scale=64.0, limit=60)
        assert summed is not None
        want, met = np.zeros(table.shape, np.int64), 0
        for client in range(train.n_users):
            rows, delta = update.of(client)
            np.testing.assert_array_equal(rows, np.arange(N_ITEMS))
            whole = np.rint(delta.astype(np.float64) * 64)
            met += int((np.abs(whole) > 60).sum())
            want += np.clip(whole, -60, 60).astype(np.int64)
        np.testing.assert_array_equal(summed.total, want)
        assert summed.saturated == met > 0
        results.append((update.digest(), new.weights.tobytes()))
    assert results[0] == results[1]
    again = trainer.train(table, functions, draws)[1]
    assert again.digest() == results[0][0], "a retry of the same round sends the same bits"


@pytest.mark.parametrize("change", ["table", "functions", "round", "interaction", "client"])
def test_noise_is_never_the_same_for_two_inputs(change: str) -> None:
    """Else their difference would be bare: what an empty device sends is nothing but its noise."""
    model = PFedRec(dim=3)
    lists: list[list[int]] = [[], []]
    table, functions = start(3, 2)
    functions = ScoreFunctions(np.repeat(functions.weights[:1], 2, axis=0), np.repeat(functions.biases[:1], 2))
    config = InteractionSettings(1.0, sample_rate=1e-9)

    def noise(seed: int, client: int = 0) -> np.ndarray:
        train = Interactions.from_lists(lists, N_ITEMS)
        trainer = InteractionTrainer(model, train, config, NoiseKey.from_seed(0), threads=1)
        _, update, _ = trainer.train(table, functions, trainer.draw(np.random.default_rng(seed)))
        return update.of(client)[1].copy()

    first = noise(0)
    np.testing.assert_array_equal(first, noise(0))
    client = 0
    match change:
        case "table":
            table = table + np.float32(1e-3)
        case "functions":
            functions = ScoreFunctions(functions.weights, functions.biases + np.float32(1e-3))
        case "interaction":
            lists[0] = [7]  # not taken at this sample rate
        case "client":
            client = 1
    second = noise(1 if change == "round" else 0, client)
    # Had the noise been the same, rows would have moved alike; independent, they differ by about its deviation.
    apart = np.abs(first - second).max(axis=1)
    assert np.median(apart) > 0.1 * np.median(np.abs(first).max(axis=1))


def test_training_that_diverges_is_an_error_and_not_a_model() -> None:
    model, train = PFedRec(dim=3), some_interactions(0)
    trainer = InteractionTrainer(model, train, InteractionSettings(1.0, item_lr=1e300), NoiseKey.from_seed(0))
    table, functions = start(3, train.n_users)
    with pytest.raises(RunError, match="lower score_lr or item_lr"):
        trainer.train(table, functions, trainer.draw(np.random.default_rng(0)))


def test_a_round_is_played_and_scored_as_with_any_trainer() -> None:
    model, train = PFedRec(dim=4, table_scale=0.3, function_scale=0.3), some_interactions(3, 20)
    config = InteractionSettings(1.0, clip_norm=0.3)
    trainer = InteractionTrainer(model, train, config, NoiseKey.from_seed(0), threads=2)
    table, functions = start(4, 20)
    candidates = np.random.default_rng(0).integers(0, N_ITEMS, (20, 12)).astype(np.int32)
    new, update, _ = trainer.train(table, functions, trainer.draw(np.random.default_rng(0)))
    server, own = trainer.score(table, new, candidates), trainer.score_own(table, new, update, candidates)
    nothing = trainer.untrained(functions)
    for user in range(20):
        rows, delta = update.of(user)
        mine = table.copy()
        mine[rows] += delta
        for scores, view in ((server, table), (own, mine)):
            want = view[candidates[user]] @ new.weights[user] + new.biases[user]
            np.testing.assert_allclose(scores[user], want, rtol=1e-3, atol=1e-3)
        assert len(nothing.of(user)[0]) == 0


def test_the_secret_key_does_not_show() -> None:
    trainer = InteractionTrainer(
        PFedRec(dim=2), some_interactions(0), InteractionSettings(1.0), NoiseKey.from_seed(0), threads=1
    )
    assert "hidden" in repr(vars(trainer)["_noise_key"])
