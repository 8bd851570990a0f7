"""Every protocol opens the integers that a plain sum gives, whoever drops out and in whatever order answers come."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from protocols import PROTOCOLS, Address, LocalParties, ServerRound, SumSpec, conduct, enrol
from protocols.ckks.parameters import choose

NAMES = tuple(PROTOCOLS)


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[SumSpec, NDArray[np.int64], list[int], set[int]]:
    """(specification, values (n, length), order of arrival, clients that drop out)."""
    n_clients = draw(st.integers(2, 9))
    length = draw(st.one_of(st.integers(1, 40), st.sampled_from([2047, 2048, 2049, 9000])))
    bound = draw(st.integers(1, 2 ** draw(st.integers(1, 34))))
    sigma = draw(st.sampled_from([0.0, 2.0, 500.0]))
    room = draw(st.sampled_from([0, 1, 1000]))
    spec = SumSpec(length, n_clients + room, 2, bound, sigma)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = rng.integers(-bound, bound, (n_clients, length), endpoint=True)
    extreme = draw(st.sampled_from([None, bound, -bound]))
    if extreme is not None:
        values[:, : 1 + length // 2] = extreme
    order = draw(st.permutations(range(n_clients)))
    dropped = draw(st.sets(st.integers(0, n_clients - 1), max_size=n_clients - 2))
    return spec, values, order, dropped


class InOrder:
    """A round whose clients are asked, and so answer, in the order given."""

    def __init__(self, opened: ServerRound, order: list[int]) -> None:
        self._opened, self._order = opened, order

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened, name)

    def outbox(self) -> dict[Address, bytes]:
        messages = self._opened.outbox()
        return {to: messages[to] for to in sorted(messages, key=self._place)}

    def _place(self, to: Address) -> int:
        return self._order.index(to.number) if to.role == "client" else to.number


def secure_sum(
    name: str, spec: SumSpec, values: NDArray[np.int64], order: list[int], dropped: set[int]
) -> tuple[NDArray[np.int64], frozenset[int]]:
    """Clients 0, 1, ... speak in `order`; those of `dropped` never do."""
    run = enrol(name, spec, run_id=b"run", client_ids=order)
    parties = LocalParties(run, min_survivors=2)
    parties.values = dict(enumerate(values))
    opened: Any = InOrder(run.server().open_round(4, context=bytes(32), min_survivors=spec.min_clients), order)
    gone = {Address("client", client) for client in dropped}
    result = conduct(opened, lambda to, message: None if to in gone else parties(to, message))
    assert not parties.refusals and not result.complaints
    return result.values, result.survivors


@settings(deadline=None, max_examples=25)
@given(cohorts())
def test_every_protocol_opens_exactly_the_sum(
    cohort: tuple[SumSpec, NDArray[np.int64], list[int], set[int]],
) -> None:
    spec, values, order, dropped = cohort
    left = [client for client in range(len(values)) if client not in dropped]
    expected = values[left].sum(0)
    for name in NAMES:
        opened, survivors = secure_sum(name, spec, values, order, dropped)
        assert opened.dtype == np.int64
        assert (opened == expected).all()
        assert survivors == set(left)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_full_cohort_at_the_bound_in_every_field_sums_exactly(name: str, sign: int) -> None:
    spec = SumSpec(13_456, 40, 40, 1000)
    values = np.full((40, spec.length), sign * spec.value_bound)
    opened, _ = secure_sum(name, spec, values, list(range(40)), set())
    assert (opened == sign * spec.sum_bound).all()


def test_single_prime_sets_without_key_switching_sum_exactly() -> None:
    spec = SumSpec(2000, 30, 2, 1 << 23)
    assert choose(spec).special_prime is None
    values = np.random.default_rng(0).integers(-(1 << 23), 1 << 23, (30, 2000))
    assert (secure_sum("ckks", spec, values, list(range(30)), set())[0] == values.sum(0)).all()


def test_943_clients_with_53824_values_sum_exactly_with_three_in_ten_gone() -> None:
    spec = SumSpec(53_824, 943, 600, 127, 20.0)
    run = enrol("ckks", spec, run_id=b"run", client_ids=range(943))
    parties = LocalParties(run)
    rng = np.random.default_rng(3)
    gone = set(rng.choice(943, 283, replace=False).tolist())
    expected = np.zeros(spec.length, np.int64)

    def deliver(to: Address, message: bytes) -> bytes | None:
        if to.role == "client":
            if to.number in gone:
                return None
            values = rng.integers(-127, 128, spec.length) + np.rint(rng.normal(0, 20, spec.length)).astype(np.int64)
            values[:100], values[-100:] = 127, -127
            parties.values = {to.number: values}
            expected[:] += values
        return parties(to, message)

    result = conduct(run.server().open_round(0, context=bytes(32), min_survivors=600), deliver)
    assert (result.values == expected).all()
    assert len(result.survivors) == 660 and not result.survivors & gone


def test_rounds_follow_one_another_with_other_cohorts() -> None:
    spec = SumSpec(50, 4, 2, 300)
    for name in NAMES:
        run = enrol(name, spec, run_id=b"run", client_ids=range(6))
        parties, server = LocalParties(run), run.server()
        for number, cohort in enumerate([(0, 1, 2), (1, 2, 3, 5), (4, 5)]):
            parties.values = {client: np.full(50, 10 * number + client) for client in cohort}
            result = conduct(server.open_round(number, context=bytes(32), min_survivors=2, cohort=cohort), parties)
            assert (result.values == sum(10 * number + client for client in cohort)).all()
            assert result.survivors == set(cohort)


def test_a_party_that_refuses_is_left_out_and_says_why() -> None:
    run = enrol("plain", SumSpec(50, 4, 2, 300), run_id=b"run", client_ids=range(4))
    parties = LocalParties(run)
    parties.values = {client: np.full(50, 1000 if client == 2 else client) for client in range(4)}
    result = conduct(run.server().open_round(0, context=bytes(32), min_survivors=2), parties)
    assert result.survivors == {0, 1, 3} and (result.values == 4).all()
    assert list(parties.refusals) == [("client", 2)] and "beyond 300" in str(parties.refusals[Address("client", 2)])
