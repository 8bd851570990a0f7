import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import protocols
from protocols import PROTOCOLS, SumSpec
from protocols.ckks.parameters import choose


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[SumSpec, NDArray[np.int64], list[int], list[int]]:
    """(specification, values (n, length), order of arrival, server of each client)."""
    n_clients = draw(st.integers(1, 8))
    length = draw(st.one_of(st.integers(1, 40), st.sampled_from([2047, 2048, 2049, 9000])))
    bound = draw(st.integers(1, 2 ** draw(st.integers(1, 34))))
    sigma = draw(st.sampled_from([0.0, 2.0, 500.0]))
    room = draw(st.sampled_from([0, 1, 1000]))
    spec = SumSpec(length, n_clients + room, 1, bound, sigma)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = rng.integers(-bound, bound, (n_clients, length), endpoint=True)
    extreme = draw(st.sampled_from([None, bound, -bound]))
    if extreme is not None:
        values[:, : 1 + length // 2] = extreme
    order = draw(st.permutations(range(n_clients)))
    return spec, values, order, draw(st.lists(st.integers(0, 2), min_size=n_clients, max_size=n_clients))


def secure_sum(
    name: str, spec: SumSpec, values: NDArray[np.int64], order: list[int], servers: list[int]
) -> NDArray[np.int64]:
    """Clients speak in `order`, each to its server; the servers' partial sums are merged; the decryptor opens."""
    key = protocols.decryptor(name, spec, run_id=b"run")
    bundle = key.bundle()
    speaker = protocols.client(bundle)
    collectors = [protocols.server(bundle, round_number=4) for _ in range(3)]
    for client in order:
        upload = speaker.protect(values[client], round_number=4, client_id=1000 + client)
        assert collectors[servers[client]].add(upload) == 1000 + client
    first = collectors[0]
    first.merge(collectors[1].partial())
    first.merge(collectors[2].partial())
    assert first.contributors == {1000 + client for client in order}
    return key.open(first.aggregate())


@settings(deadline=None, max_examples=25)
@given(cohorts())
def test_every_protocol_opens_exactly_the_sum(
    cohort: tuple[SumSpec, NDArray[np.int64], list[int], list[int]],
) -> None:
    spec, values, order, servers = cohort
    expected = values.sum(0)
    for name in PROTOCOLS:
        opened = secure_sum(name, spec, values, order, servers)
        assert opened.dtype == np.int64
        assert (opened == expected).all()


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_full_cohort_at_the_bound_in_every_field_sums_exactly(name: str, sign: int) -> None:
    spec = SumSpec(13_456, 40, 40, 1000)
    values = np.full((40, spec.length), sign * spec.value_bound)
    opened = secure_sum(name, spec, values, list(range(40)), [0] * 40)
    assert (opened == sign * spec.sum_bound).all()


def test_single_prime_sets_without_key_switching_sum_exactly() -> None:
    spec = SumSpec(2000, 30, 1, 1 << 23)
    assert choose(spec).special_prime is None
    values = np.random.default_rng(0).integers(-(1 << 23), 1 << 23, (30, 2000))
    assert (secure_sum("ckks", spec, values, list(range(30)), [0] * 30) == values.sum(0)).all()


def test_943_clients_with_53824_values_sum_exactly() -> None:
    spec = SumSpec(53_824, 943, 943, 127, 20.0)
    key = protocols.decryptor("ckks", spec, run_id=b"run")
    bundle = key.bundle()
    speaker, collector = protocols.client(bundle), protocols.server(bundle, round_number=0)
    rng = np.random.default_rng(3)
    expected = np.zeros(spec.length, np.int64)
    for client in range(943):
        values = rng.integers(-127, 128, spec.length) + np.rint(rng.normal(0, 20, spec.length)).astype(np.int64)
        values[:100], values[-100:] = 127, -127
        collector.add(speaker.protect(values, round_number=0, client_id=client))
        expected += values
    assert (key.open(collector.aggregate()) == expected).all()
