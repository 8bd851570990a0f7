"""What the privacy of a step rests on: no contribution beyond the clip, one example apart, noise everywhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securerec.errors import PrivacyError
from securerec.privacy.randomness import NoiseKey
from securerec.training.interaction import kernels
from securerec.training.interaction.examples import coin_limit, draw_words, taken
from securerec.training.interaction.settings import NOISE_UNITS, InteractionSettings
from securerec.training.interaction.trainer import train_client

N_ITEMS, DIM = 40, 5
Draws = np.ndarray


def state(seed: int, size: float = 0.5) -> tuple[np.ndarray, np.ndarray, float]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, size, (N_ITEMS, DIM)), rng.normal(0, size, DIM), float(rng.normal(0, size))


def words(seed: int, negatives: int = 4) -> Draws:
    return draw_words(NoiseKey.from_seed(seed).stream("draws", 0, 0), N_ITEMS, negatives)


def clipped(items: set[int], draws: Draws, config: InteractionSettings, model: tuple) -> np.ndarray:
    """The exact sum of clipped and rounded gradients, grid units."""
    total = np.zeros(DIM + 1 + N_ITEMS, np.int64)
    kernels.sum_clipped(
        np.array(sorted(items), np.int32), draws, coin_limit(config.sample_rate), *model,
        config.clip_norm, config.clip_units, total,
    )  # fmt: skip
    return total


def plain_gradient(batch: np.ndarray, model: tuple) -> np.ndarray:
    """One example's gradient without clip, by the chain rule over a one-hot list of samples, in full: (dim + 1 +
    n_items * dim,).
    """
    local, weights, bias = model
    one_hot = np.eye(N_ITEMS)[batch]
    residual = 1 / (1 + np.exp(-(local[batch] @ weights + bias))) - (np.arange(len(batch)) == 0)
    by_rows = np.einsum("j,ji,d->id", residual, one_hot, weights)
    return np.concatenate([residual @ local[batch], [residual.sum()], by_rows.ravel()])


@settings(max_examples=80)
@given(
    seed=st.integers(0, 10_000),
    size=st.sampled_from([1e-3, 0.5, 20.0, 1e6, 1e200]),
    clip_norm=st.sampled_from([1e-3, 0.7, 50.0]),
    noise_multiplier=st.sampled_from([0.01, 1.0, 100.0]),
    negatives=st.integers(1, 12),
    item=st.integers(0, N_ITEMS - 1),
)
def test_no_example_contributes_more_than_the_clip_norm(
    seed: int, size: float, clip_norm: float, noise_multiplier: float, negatives: int, item: int
) -> None:
    config = InteractionSettings(noise_multiplier, clip_norm=clip_norm)
    total = clipped({item}, words(seed, negatives), config, state(seed, size))
    assert int((total**2).sum()) <= config.clip_units**2
    assert np.sqrt((total.astype(np.float64) ** 2).sum()) * config.unit <= clip_norm * (1 + 1e-12)


@settings(max_examples=60)
@given(
    items=st.sets(st.integers(0, N_ITEMS - 1), max_size=30),
    other=st.integers(0, N_ITEMS - 1),
    seed=st.integers(0, 10_000),
    sample_rate=st.sampled_from([0.3, 1.0]),
)
def test_removing_one_interaction_moves_the_sum_by_at_most_the_clip_norm(
    items: set[int], other: int, seed: int, sample_rate: float
) -> None:
    config = InteractionSettings(1.3, sample_rate=sample_rate, clip_norm=0.4)
    draws, model = words(seed), state(seed)
    apart = clipped(items | {other}, draws, config, model) - clipped(items - {other}, draws, config, model)
    assert int((apart**2).sum()) <= config.clip_units**2
    np.testing.assert_array_equal(apart, clipped({other}, draws, config, model))


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), size=st.sampled_from([0.1, 1.0, 5.0]), clip_norm=st.sampled_from([0.05, 1.0, 30.0]))
def test_the_sum_is_that_of_plain_gradients_clipped_in_the_full_basis(seed: int, size: float, clip_norm: float) -> None:
    config = InteractionSettings(0.01, clip_norm=clip_norm)
    draws, model = words(seed, negatives=9), state(seed, size)  # among 10 samples of 40 items some meet
    items = set(range(0, N_ITEMS, 3))
    want = np.zeros(DIM + 1 + N_ITEMS * DIM)
    for batch in taken(np.array(sorted(items), np.int32), draws, 1.0):
        gradient = plain_gradient(batch, model)
        want += gradient * min(1.0, clip_norm / np.linalg.norm(gradient))
    got = clipped(items, draws, config, model) * config.unit
    direction = model[1] / np.linalg.norm(model[1])
    in_full = np.concatenate([got[: DIM + 1], np.outer(got[DIM + 1 :], direction).ravel()])
    np.testing.assert_allclose(in_full, want, atol=1e-4 * clip_norm)


def test_a_gradient_that_is_not_finite_contributes_nothing() -> None:
    local, weights, bias = state(0)
    weights[0] = np.nan
    total = clipped({1, 2}, words(0), InteractionSettings(1.0), (local, weights, bias))
    assert not total.any()


@pytest.mark.parametrize("items", [[], [3], list(range(0, N_ITEMS, 2))])
def test_every_coordinate_is_noised_also_on_a_device_without_examples(items: list[int]) -> None:
    local, weights, bias = state(1)
    config = InteractionSettings(1.0, clip_norm=0.5)
    key = NoiseKey.from_seed(3)
    runs = [
        train_client(
            np.array(items, np.int32), local.astype(np.float32), weights.astype(np.float32), bias, 4, config,
            key.stream("test", number, 0),
        )
        for number in range(2)
    ]  # fmt: skip
    assert runs[0].delta.shape == (N_ITEMS, DIM)
    for run in runs:
        assert (run.delta != 0).all()
    assert (runs[0].delta != runs[1].delta).all()
    assert (runs[0].weights != runs[1].weights).all() and runs[0].bias != runs[1].bias


def test_the_noise_has_the_deviation_that_is_accounted_for() -> None:
    """Of an empty device, over rounds: the bias's change, the score function's, and the rows' along it."""
    config = InteractionSettings(2.5, clip_norm=0.4, score_lr=1.0, item_lr=1.0)
    table = np.zeros((N_ITEMS, DIM), np.float32)
    weights = np.array([0.6, 0, 0.8, 0, 0], np.float32)
    key, rounds = NoiseKey.from_seed(5), 400
    score, rows = [], []
    for number in range(rounds):
        stream = key.stream("test", number, 0)
        run = train_client(np.empty(0, np.int32), table, weights, 0.0, 4, config, stream)
        score.append([*(run.weights - weights), run.bias])
        along = run.delta @ weights
        np.testing.assert_allclose(run.delta, np.outer(along, weights), atol=1e-5)
        rows.append(along)
    want = config.exact_multiplier * config.clip_norm
    for values in (np.array(score), np.array(rows)):
        spread = np.std(values)
        assert abs(spread / want - 1) < 5 / np.sqrt(2 * values.size)
        assert abs(values.mean()) < 5 * want / np.sqrt(values.size)


@given(noise_multiplier=st.floats(1e-4, 100.0))
def test_what_is_accounted_for_is_what_the_integers_have_and_no_less_than_was_asked(noise_multiplier: float) -> None:
    config = InteractionSettings(noise_multiplier)
    assert config.exact_multiplier >= noise_multiplier * (1 - 1e-12)
    assert config.exact_multiplier < NOISE_UNITS / config.clip_units
    event = config.event("round 1", noise_source="seed")
    assert event.noise_multiplier == config.exact_multiplier and event.noise_source == "seed"


@pytest.mark.parametrize(
    "wrong",
    [
        {"noise_multiplier": 0.0}, {"noise_multiplier": 1e4}, {"noise_multiplier": float("nan")}, {"sample_rate": 1.5},
        {"sample_rate": 0.0}, {"steps": 0}, {"clip_norm": float("inf")}, {"item_lr": -1.0},
    ],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(PrivacyError):
        InteractionSettings(**({"noise_multiplier": 1.0} | wrong))  # type: ignore[arg-type]
