import math

import numpy as np
import pytest

from protocols import ProtocolError, SumSpec
from protocols.errors import SpecError
from protocols.spec import ENCODED_BYTES, ROUNDS_PER_KEY, tail_factor


def test_without_noise_the_bound_is_the_plain_product() -> None:
    spec = SumSpec(10, 943, 1, 127)
    assert spec.sum_bound == 943 * 127
    assert spec.upload_bound == 127


def test_tail_factor_gives_the_failure_probability_it_promises() -> None:
    t = tail_factor(53_824)
    log2_failure = math.log2(2 * 53_824 * ROUNDS_PER_KEY) - t * t / 2 / math.log(2)
    assert log2_failure == pytest.approx(-64)


def test_the_sum_bound_covers_the_values_and_the_tail_of_the_summed_noise() -> None:
    spec = SumSpec(1000, 100, 1, 127, 20.0)
    assert spec.sum_bound == 100 * 127 + math.ceil(20 * 10 * tail_factor(1000))
    assert spec.upload_bound == 127 + math.ceil(20 * tail_factor(100_000))
    assert spec.sum_bound_of(25) == 25 * 127 + math.ceil(20 * 5 * tail_factor(1000))
    # Rounded normals stand in for the discrete Gaussian, whose tail they share; 100 deviations would not pass.
    noise = np.rint(np.random.default_rng(0).normal(0, 20, (100, 1000))).sum(0)
    assert np.abs(noise).max() < spec.sum_bound - 100 * 127 < 100 * noise.std()


def test_specifications_survive_encoding() -> None:
    spec = SumSpec(13_456, 943, 100, 127, 2.5)
    assert len(spec.encode()) == ENCODED_BYTES
    assert SumSpec.decode(spec.encode()) == spec


@pytest.mark.parametrize(
    "changed",
    [
        {"length": 0},
        {"length": (1 << 24) + 1},
        {"length": 2.0},
        {"length": True},
        {"max_clients": 0},
        {"max_clients": (1 << 20) + 1},
        {"min_clients": 0},
        {"min_clients": 11},
        {"value_bound": 0},
        {"value_bound": (1 << 40) + 1},
        {"noise_sigma": -1.0},
        {"noise_sigma": math.nan},
        {"noise_sigma": math.inf},
        {"noise_sigma": "2"},
    ],
    ids=str,
)
def test_senseless_specifications_are_refused(changed: dict[str, object]) -> None:
    sensible: dict[str, object] = {"length": 5, "max_clients": 10, "min_clients": 2, "value_bound": 7}
    with pytest.raises(SpecError, match=next(iter(changed))):
        SumSpec(**{**sensible, **changed})  # type: ignore[arg-type]


def test_sums_beyond_64_bits_are_refused_with_the_way_out() -> None:
    with pytest.raises(ProtocolError, match="lower value_bound"):
        SumSpec(1, 1 << 20, 1, 1 << 40, 2.0**40)
