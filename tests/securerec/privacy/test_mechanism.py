import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from securerec.errors import PrivacyError
from securerec.privacy.mechanism import FixedPoint, Mechanism, client_sigma_for
from securerec.privacy.other_noise import LaplaceMechanism, SkellamMechanism
from securerec.privacy.randomness import KeyStream, NoiseKey
from securerec.privacy.rounding import rounded_norm_squared

N_ITEMS, DIM = 120, 8
KEY = NoiseKey.from_seed(11)
KINDS = [Mechanism, SkellamMechanism, LaplaceMechanism]


def mechanism(kind: type[Mechanism] = Mechanism, **changes: object) -> Mechanism:
    plain = kind(clip_norm=50.0, dimension=N_ITEMS * DIM, coordinate_cap=0.1, client_sigma=30.0)
    return dataclasses.replace(plain, **changes)


def update(seed: int, touched: int = 40, size: float = 1.0, dim: int = DIM) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = rng.permutation(N_ITEMS)[:touched].astype(np.int32)
    return rows, (size * rng.normal(size=(touched, dim))).astype(np.float32)


def stream(client: int = 0, round_number: int = 0) -> KeyStream:
    return KEY.stream("noise", round_number, client)


def scaled_by_hand(m: Mechanism, rows: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """Cap, clip, scale, with numpy on the whole table."""
    table = np.zeros((m.dimension // delta.shape[1], delta.shape[1]))
    table[rows] = np.clip(delta.astype(float), -m.coordinate_cap * m.clip_norm, m.coordinate_cap * m.clip_norm)
    norm = np.linalg.norm(table.ravel(), 1 if isinstance(m, LaplaceMechanism) else 2)
    return table.ravel() * min(1.0, m.clip_norm / max(norm, 1e-300)) * m.scale


@settings(deadline=None, max_examples=200)
@given(
    kind=st.sampled_from(KINDS),
    delta=hnp.arrays(
        np.float32,
        st.tuples(st.integers(0, 30), st.sampled_from([1, 2, 8])),
        elements=st.floats(-(2.0**100), 2.0**100, width=32) | st.floats(-3, 3, width=32),
    ),
    clip_norm=st.floats(1e-3, 1e3),
    cap=st.floats(0.01, 1.0),
    grid_units=st.integers(100, 5000),
    client=st.integers(0, 2**40),
    nonnegative=st.booleans(),
)
def test_no_update_exceeds_the_sensitivity_or_the_value_bound(
    kind: type[Mechanism],
    delta: np.ndarray,
    clip_norm: float,
    cap: float,
    grid_units: int,
    client: int,
    nonnegative: bool,
) -> None:
    m = mechanism(kind, clip_norm=clip_norm, coordinate_cap=cap, grid_units=grid_units, nonnegative=nonnegative)
    rows = np.arange(len(delta), dtype=np.int32)[::-1].copy()
    if nonnegative:
        delta = np.abs(delta)
    values = m.round_and_clip(rows, delta, stream(client))
    assert values.shape == (m.dimension,) and values.dtype == np.int64
    size = int(np.abs(values).sum()) if kind is LaplaceMechanism else math.sqrt(int((values**2).sum()))
    assert size <= m.sensitivity
    if isinstance(m, SkellamMechanism):
        assert int(np.abs(values).sum()) <= m.sensitivity_l1
    assert np.abs(values).max() <= m.value_bound
    exact = scaled_by_hand(m, rows, delta)
    assert np.abs(values - exact).max() < 1 + 1e-6  # each value is one of its two neighbours
    assert not values[exact == 0].any()
    if nonnegative:
        assert values.min() >= 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_mechanism_that_promises_no_negative_value_refuses_one(kind: type[Mechanism]) -> None:
    rows, delta = update(1)
    delta = np.abs(delta)
    promised = mechanism(kind, nonnegative=True)
    assert promised.round_and_clip(rows, delta, stream()).min() >= 0
    delta[3, 2] = -0.0
    promised.round_and_clip(rows, delta, stream())
    delta[3, 2] = -np.float32(2.0**-149)
    with pytest.raises(PrivacyError, match="negative"):
        promised.privatise(rows, delta, stream())
    mechanism(kind).privatise(rows, delta, stream())


def test_the_event_says_what_was_promised_and_done() -> None:
    said = {"min_survivors": 30, "noise_source": "os"}
    for nonnegative in (False, True):
        for kind in (Mechanism, SkellamMechanism):
            assert mechanism(kind, nonnegative=nonnegative).event("r", **said).nonnegative is nonnegative
    skellam = mechanism(SkellamMechanism)
    event = skellam.event("r", **said)
    assert event.client_variance == 900.0 == skellam.law.variance
    assert event.noise_multiplier == pytest.approx(skellam.noise_multiplier(30))
    assert (event.sensitivity, event.sensitivity_l1) == (skellam.sensitivity, skellam.sensitivity_l1)
    laplace = mechanism(LaplaceMechanism)
    event = laplace.event("r", **said)
    assert event.client_scale == laplace.client_scale == laplace.law.scale
    assert event.sensitivity == laplace.sensitivity == 1000 + 15  # v = 960 / 4, its root 15.49


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("client_sigma", [2.0, 30.0, 5000.0])
def test_one_clients_noise_has_the_deviation_stated(kind: type[Mechanism], client_sigma: float) -> None:
    m = kind(clip_norm=1.0, dimension=200_000, coordinate_cap=1.0, client_sigma=client_sigma)
    noise = m.privatise(np.empty(0, np.int32), np.empty((0, 1), np.float32), stream()).astype(float)
    square = noise**2
    assert abs(square.mean() / client_sigma**2 - 1) < 4 * square.std() / client_sigma**2 / math.sqrt(len(noise))


@given(st.floats(1.5, 23_000.0))
def test_laplace_noise_is_never_less_than_was_calibrated(client_scale: float) -> None:
    m = mechanism(LaplaceMechanism, client_sigma=LaplaceMechanism.deviation_of(client_scale))
    assert client_scale <= m.client_scale <= client_scale * (1 + 1e-14)


def test_a_laplace_scale_out_of_range_is_refused() -> None:
    assert mechanism(LaplaceMechanism, client_sigma=LaplaceMechanism.deviation_of(0.3)).client_sigma == 2.0
    for bad in (0.0, 0.2, 1e5, math.nan):
        with pytest.raises(PrivacyError, match="client_scale"):
            LaplaceMechanism.deviation_of(bad)


def test_rounding_is_unbiased() -> None:
    m = mechanism()
    rows, delta = update(3, size=0.05)
    exact = scaled_by_hand(m, rows, delta)
    n = 4000
    mean = sum(m.round_and_clip(rows, delta, stream(i)) for i in range(n)) / n
    fraction = exact - np.floor(exact)
    touched = exact != 0
    z = (mean - exact)[touched] / np.sqrt(fraction * (1 - fraction) / n + 1e-12)[touched]
    assert np.abs(z).max() < 4.5
    assert stats.kstest(z, "norm").pvalue > 0.001


def test_a_rounding_beyond_the_norm_is_drawn_again() -> None:
    m = Mechanism(clip_norm=1.0, dimension=6, coordinate_cap=1.0, client_sigma=2.0, grid_units=4)
    rows, delta = np.arange(6, dtype=np.int32), np.full((6, 1), 1.0, dtype=np.float32)  # each 4 / sqrt 6 = 1.63 units
    exact, limit = 4 / math.sqrt(6), rounded_norm_squared(4, 6)
    assert limit == 22
    redrawn = 0
    for client in range(200):
        tries = stream(client)
        while True:
            whole = np.floor(exact) + (
                (tries.uint64(6) >> np.uint64(11)).astype(float) / 2**53 < exact - np.floor(exact)
            )
            if (whole**2).sum() <= limit:
                break
            redrawn += 1
        np.testing.assert_array_equal(m.round_and_clip(rows, delta, stream(client)), whole.astype(np.int64))
    assert 5 < redrawn < 40


class Zeros(KeyStream):
    """A stream whose every word is zero, the smallest uniform there is."""

    def __init__(self) -> None:
        pass

    def uint64(self, n: int) -> np.ndarray:
        return np.zeros(n, dtype=np.uint64)


def test_a_whole_number_is_never_rounded_and_any_fraction_may_go_up() -> None:
    m = mechanism(clip_norm=1000.0)  # one grid unit is 1
    delta = np.array([[3, -3, 0, 3.25, -3.25, 2.0**-20, 0, 1]], dtype=np.float32)
    values = m.round_and_clip(np.array([0], np.int32), delta, Zeros())
    assert values[:DIM].tolist() == [3, -3, 0, 4, -3, 1, 0, 1]


def test_coordinates_are_capped_before_the_norm_is_clipped() -> None:
    m = mechanism(coordinate_cap=0.1)
    delta = np.zeros((1, DIM), dtype=np.float32)
    delta[0, 0], delta[0, 1] = 1e6, 1.0
    values = m.round_and_clip(np.array([5], np.int32), delta, stream())
    assert values[5 * DIM] == 100 == m.value_bound  # a tenth of the norm, not all of it
    assert values[5 * DIM + 1] == 20  # the other coordinate keeps its size: 1 / 50 * 1000


def test_same_stream_same_result_and_another_stream_another() -> None:
    m = mechanism()
    rows, delta = update(1)
    for method in (m.round_and_clip, m.privatise):
        np.testing.assert_array_equal(method(rows, delta, stream(4)), method(rows, delta, stream(4)))
        assert (method(rows, delta, stream(4)) != method(rows, delta, stream(5))).any()


def test_the_result_does_not_depend_on_memory_layout() -> None:
    m = mechanism()
    rows, delta = update(1)
    expected = m.privatise(rows, delta, stream())
    np.testing.assert_array_equal(m.privatise(rows, np.asfortranarray(delta), stream()), expected)
    np.testing.assert_array_equal(m.privatise(rows.astype(np.int64), delta, stream()), expected)
    delta.flags.writeable = False
    np.testing.assert_array_equal(m.privatise(rows, delta, stream()), expected)


def test_one_stream_never_noises_two_uploads_alike() -> None:
    m, shared = mechanism(), stream()
    rows, delta = np.empty(0, np.int32), np.empty((0, DIM), np.float32)
    assert (m.privatise(rows, delta, shared) != m.privatise(rows, delta, shared)).mean() > 0.9


@pytest.mark.parametrize("touched", [0, 1, 40])
def test_every_coordinate_carries_noise_even_when_nothing_changed(touched: int) -> None:
    m = mechanism()
    rows, delta = update(2, touched, size=0.0)
    noise = np.array([m.privatise(rows, delta, stream(i)) for i in range(300)]).astype(float)
    power = (noise**2).sum(axis=0) / m.client_sigma**2
    low, high = stats.chi2.ppf([1e-6, 1 - 1e-6], 300)
    assert low < power.min() and power.max() < high


@pytest.mark.parametrize("client_sigma", [2.0, 33.7])
def test_an_opened_sum_carries_the_noise_that_its_event_states(client_sigma: float) -> None:
    m = Mechanism(clip_norm=50.0, dimension=1682 * 8, coordinate_cap=0.1, client_sigma=client_sigma)
    n = 400
    noise = np.zeros(m.dimension, dtype=np.int64)
    rng = np.random.default_rng(5)
    for client in range(n):
        rows = np.sort(rng.choice(1682, 60, replace=False)).astype(np.int32)
        delta = rng.normal(size=(60, 8)).astype(np.float32)
        noise += m.privatise(rows, delta, stream(client, 9)) - m.round_and_clip(rows, delta, stream(client, 9))
    event = m.event("round 9", min_survivors=n, noise_source=KEY.source)
    sigma = event.noise_multiplier * event.sensitivity
    statistic = float((noise.astype(float) ** 2).sum()) / sigma**2
    low, high = stats.chi2.ppf([0.005, 0.995], m.dimension)
    assert low < statistic < high
    assert abs(noise.mean()) < 4 * sigma / math.sqrt(m.dimension)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_update_that_is_not_finite_is_refused(bad: float) -> None:
    rows, delta = update(1)
    delta[7, 3] = bad
    plain = FixedPoint(dimension=N_ITEMS * DIM, fraction_bits=10, value_bound=2**20)
    for refused in (mechanism().round_and_clip, mechanism().privatise, plain.privatise):
        with pytest.raises(PrivacyError, match="not finite"):
            refused(rows, delta, stream())


@pytest.mark.parametrize(
    ("rows", "shape"),
    [
        ([1, 1], (2, DIM)),  # one row twice would break the norm
        ([-1, 2], (2, DIM)),
        ([0, N_ITEMS], (2, DIM)),
        ([0, 1, 2], (2, DIM)),
        ([0, 1], (2, 7)),  # 960 is not a multiple
        ([0, 1], (2, 0)),
        ([0, 1], (16,)),
        ([0.0, 1.0], (2, DIM)),
    ],
)
def test_rows_that_do_not_fit_the_table_are_refused(rows: list[float], shape: tuple[int, ...]) -> None:
    plain = FixedPoint(dimension=N_ITEMS * DIM, fraction_bits=10, value_bound=2**20)
    for refused in (mechanism().privatise, plain.privatise):
        with pytest.raises(ValueError, match="rows"):
            refused(np.array(rows), np.zeros(shape, dtype=np.float32), stream())


@pytest.mark.parametrize(
    "change",
    [
        {"clip_norm": 0.0},
        {"clip_norm": math.nan},
        {"clip_norm": math.inf},
        {"dimension": 0},
        {"coordinate_cap": 0.0},
        {"coordinate_cap": 1.01},
        {"coordinate_cap": 0.0009},
        {"client_sigma": 1.9},
        {"client_sigma": 0.0},
        {"client_sigma": 1e6},
        {"grid_units": 0},
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(change: dict[str, float]) -> None:
    with pytest.raises(PrivacyError, match=next(iter(change))):
        mechanism(**change)


def test_noise_is_sized_for_the_survivors_with_a_floor_of_two_units() -> None:
    m = mechanism()
    assert client_sigma_for(1.5, 1000.0, 900) == pytest.approx(50.0)
    assert client_sigma_for(0.01, 1000.0, 900) == 2.0
    floored = mechanism(client_sigma=client_sigma_for(0.01, m.sensitivity, 900))
    assert floored.noise_multiplier(900) == pytest.approx(60 / m.sensitivity)
    event = floored.event("round 1", min_survivors=900, noise_source="os")
    assert event.noise_multiplier == floored.noise_multiplier(900) > 0.01
    with pytest.raises(ValueError, match="survivor"):
        client_sigma_for(1.0, 1.0, 0)


def test_fixed_point_keeps_what_fits_and_counts_what_does_not() -> None:
    plain = FixedPoint(dimension=N_ITEMS * DIM, fraction_bits=4, value_bound=1000)
    assert plain.scale == 16.0 and plain.client_sigma == 0.0
    delta = np.zeros((2, DIM), dtype=np.float32)
    delta[0, :5] = [0.5, -1.0, 0.03125, 62.5, -62.6]
    delta[1, 0] = 3e38
    values = plain.privatise(np.array([3, 1], np.int32), delta).reshape(N_ITEMS, DIM)
    assert values[3, :5].tolist() == [8, -16, 0, 1000, -1000]
    assert values[1, 0] == 1000 and np.count_nonzero(values) == 5
    assert plain.saturated(delta) == 2


@pytest.mark.parametrize(
    "change", [{"dimension": 0}, {"fraction_bits": 65}, {"value_bound": 0}, {"value_bound": 2**52}]
)
def test_a_fixed_point_setting_out_of_range_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(PrivacyError, match=next(iter(change))):
        dataclasses.replace(FixedPoint(dimension=8, fraction_bits=4, value_bound=1000), **change)
