import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.ckks.parameters import SECURE_BITS
from protocols.committee.parameters import SIGMA, Parameters, choose
from protocols.committee.wire import upload_bytes
from protocols.errors import SpecError
from protocols.ring import is_prime
from protocols.spec import SumSpec, tail_factor

SPEC = SumSpec(53_824, 1000, 10, 127, 2.0)


@st.composite
def sums(draw: st.DrawFn) -> tuple[SumSpec, int, int]:
    bound = draw(st.integers(1, 2 ** draw(st.integers(1, 40))))
    clients = draw(st.integers(1, 2000))
    members = draw(st.integers(1, 12))
    sigma = draw(st.sampled_from([0.0, 2.0, 300.0]))
    spec = SumSpec(draw(st.integers(1, 200_000)), clients, 1, bound, sigma)
    return spec, members, draw(st.integers(1, members))


@settings(deadline=None, max_examples=60)
@given(sums())
def test_every_chosen_set_holds_the_largest_sum_and_its_noise_and_is_secure_by_the_table(
    case: tuple[SumSpec, int, int],
) -> None:
    spec, members, threshold = case
    chosen = choose(spec, members=members, threshold=threshold)
    # All from the definitions, none from the module's own proof.
    assert all(is_prime(q) and q % (2 * chosen.degree) == 1 for q in chosen.primes)
    assert math.prod(chosen.primes).bit_length() <= SECURE_BITS[chosen.degree]
    assert chosen.fields * chosen.n_coefficients >= spec.length
    rounding = sum((2**k / 2) ** 2 for k in range(chosen.dropped))
    noise = tail_factor(chosen.n_coefficients) * math.sqrt(spec.max_clients * (SIGMA**2 + rounding))
    largest = chosen.scale * spec.sum_bound * sum(chosen.radix**f for f in range(chosen.fields))
    assert 2 * noise < chosen.scale
    assert 2 * (largest + noise) < math.prod(chosen.primes)
    assert chosen.proof().holds


@pytest.mark.parametrize(
    ("length", "value_bound", "most"),
    [(53_824, 127, 0.9), (53_824, 32_767, 1.25), (118_592, 127, 0.8), (118_592, 32_767, 1.17)],
)
def test_uploads_with_all_shares_stay_near_the_size_of_float32(length: int, value_bound: int, most: float) -> None:
    chosen = choose(SumSpec(length, 1000, 10, value_bound, 2.0), members=7, threshold=5)
    assert upload_bytes(chosen) / (4 * length) <= most


def test_the_default_set_is_named_by_ring_modulus_and_packing() -> None:
    assert choose(SPEC, members=7, threshold=5).name == "gauss-2048-50/2x18-5"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"degree": 1024}, "does not carry the sum securely"),
        ({"scale": 1 << 10}, "does not carry the sum securely"),
        ({"fields": 3}, "does not carry the sum securely"),
        ({"dropped": 9}, "does not carry the sum securely"),
        ({"dropped": 13}, "13 dropped bits do not fit"),
        ({"dropped": -1}, "dropped bits do not fit"),
        ({"primes": ()}, "primes do not fit the ring"),
        ({"primes": (12289, 12289)}, "primes do not fit the ring"),
        ({"primes": (2**50 - 27,)}, "primes do not fit the ring"),
        ({"threshold": 8}, "cannot have a threshold of 8"),
        ({"threshold": 0}, "cannot have a threshold of 0"),
    ],
)
def test_construction_refuses_a_set_that_does_not_carry_the_sum(change: dict[str, object], message: str) -> None:
    chosen = choose(SPEC, members=7, threshold=5)
    with pytest.raises(SpecError, match=message):
        dataclasses.replace(chosen, **change)  # type: ignore[arg-type]


def test_a_larger_cohort_than_proved_is_refused() -> None:
    chosen = choose(SPEC, members=7, threshold=5)
    with pytest.raises(SpecError, match="does not carry"):
        dataclasses.replace(chosen, spec=dataclasses.replace(SPEC, max_clients=4000))


def test_a_sum_that_no_set_carries_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.committee.parameters.SECURE_BITS", {1024: 27})
    with pytest.raises(SpecError, match="lower value_bound, noise_sigma or max_clients"):
        choose(SumSpec(10, 77, 1, 1 << 39), members=3, threshold=2)


def test_digests_tell_specifications_committees_and_sets_apart() -> None:
    chosen = choose(SPEC, members=7, threshold=5)
    others: list[Parameters] = [
        choose(SPEC, members=7, threshold=6),
        choose(SPEC, members=6, threshold=5),
        choose(dataclasses.replace(SPEC, min_clients=11), members=7, threshold=5),
        dataclasses.replace(chosen, dropped=4),
    ]
    assert len({p.digest() for p in (chosen, *others)}) == 5
