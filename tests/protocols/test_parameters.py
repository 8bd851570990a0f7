import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import SumSpec, check
from protocols.ckks.parameters import SECURE_BITS, choose
from protocols.ckks.seal_bytes import make_context
from protocols.errors import SpecError
from protocols.ring import is_prime, largest_primes

SETS = json.loads((Path(__file__).parent / "vectors" / "parameters.json").read_text())


@settings(deadline=None, max_examples=60)
@given(
    length=st.integers(1, 200_000),
    clients=st.integers(1, 5000),
    value_bits=st.integers(0, 30),
    sigma=st.one_of(st.just(0.0), st.floats(2, 1e6)),
)
def test_every_chosen_set_is_secure_and_carries_its_sums(
    length: int, clients: int, value_bits: int, sigma: float
) -> None:
    spec = SumSpec(length, clients, 1, 1 << value_bits, sigma)
    chosen = choose(spec)
    chosen.check()
    assert math.prod(chosen.key_primes).bit_length() <= SECURE_BITS[chosen.degree]
    assert all(is_prime(q) and q % (2 * chosen.degree) == 1 for q in chosen.key_primes)
    # The extreme sum, field by field, with the extreme noise, is still below half the modulus.
    extreme = sum(spec.sum_bound * chosen.radix**f for f in range(chosen.fields)) * chosen.scale
    noise = chosen.noise_bound(clients)
    assert 2 * (extreme + noise) < chosen.modulus
    assert 4 * noise <= chosen.scale
    assert chosen.n_coefficients * chosen.fields >= length
    assert make_context(chosen.degree, chosen.key_primes).using_keyswitching() == (chosen.special_prime is not None)


@pytest.mark.parametrize("vector", SETS, ids=lambda v: str(v["spec"]))
def test_parameter_sets_do_not_change_unnoticed(vector: dict[str, Any]) -> None:
    chosen = choose(SumSpec(**vector["spec"]))
    assert {
        "degree": chosen.degree,
        "data_primes": list(chosen.data_primes),
        "special_prime": chosen.special_prime,
        "fields": chosen.fields,
        "scale": chosen.scale,
        "body_bytes": chosen.streams.n_bytes,
        "digest": chosen.digest().hex(),
    } == vector["chosen"]


@pytest.mark.parametrize("degree", SECURE_BITS)
def test_parameters_above_the_128_bit_table_are_refused_here_and_by_seal(degree: int) -> None:
    count = -(-(SECURE_BITS[degree] + 1) // 60)
    bits = -(-(SECURE_BITS[degree] + 1) // count)
    primes = tuple(largest_primes(bits, degree, count))
    assert math.prod(primes).bit_length() > SECURE_BITS[degree]
    good = choose(SumSpec(100, 10, 1, 100))
    with pytest.raises(SpecError, match="not 128-bit secure"):
        replace(good, degree=degree, data_primes=primes).check()
    with pytest.raises(SpecError, match="SEAL refuses"):
        make_context(degree, primes)


def test_the_special_prime_counts_against_the_table() -> None:
    good = choose(SumSpec(13_456, 943, 1, 127, 2.0))
    assert good.special_prime is not None
    room = SECURE_BITS[good.degree] - good.modulus.bit_length() + 1
    special = largest_primes(room + 2, good.degree, 1)[0]
    with pytest.raises(SpecError, match="not 128-bit secure"):
        replace(good, special_prime=special).check()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"degree": 4095}, "no such degree"),
        ({"scale": 1000}, "no room for a noise"),
        ({"fields": 40}, "cannot hold 40 fields"),
    ],
)
def test_sets_that_do_not_fit_are_refused(changed: dict[str, int], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        replace(choose(SumSpec(13_456, 943, 1, 127, 2.0)), **changed).check()  # type: ignore[arg-type]


def test_a_sum_too_wide_for_every_set_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # 64-bit sums end before the largest ring does, so the table is cut to its small rings.
    for degree in (4096, 8192, 16384):
        monkeypatch.delitem(SECURE_BITS, degree)
    with pytest.raises(SpecError, match="lower value_bound, noise_sigma or max_clients"):
        check("ckks", SumSpec(2, 1 << 20, 1, 1 << 38, 1.5))


def test_different_sums_have_different_digests() -> None:
    specs = [SumSpec(5, 10, 2, 7), SumSpec(6, 10, 2, 7), SumSpec(5, 11, 2, 7), SumSpec(5, 10, 3, 7)]
    specs += [SumSpec(5, 10, 2, 8), SumSpec(5, 10, 2, 7, 2.0)]
    assert len({choose(spec).digest() for spec in specs}) == len(specs)
