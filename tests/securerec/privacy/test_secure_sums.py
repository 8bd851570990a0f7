"""Every mechanism through real protocols: the same integers, the noise that was accounted, never with too few clients.

Noise is sized for 28 of 40 clients: three in ten may drop out.
"""

import math
from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

import protocols
from protocols import Address, LocalParties, RoundAborted, SumSpec
from protocols.codec import Kind
from protocols.errors import TooFewClientsError
from securerec.privacy.discrete_laplace import DiscreteLaplace
from securerec.privacy.events import DistributedLaplaceSum
from securerec.privacy.mechanism import Mechanism
from securerec.privacy.other_noise import LaplaceMechanism, SkellamMechanism
from securerec.privacy.randomness import KeyStream, NoiseKey
from securerec.privacy.skellam import Skellam

KINDS = [Mechanism, SkellamMechanism, LaplaceMechanism]
COHORT, MIN_SURVIVORS, LENGTH = 40, 28, 2000
KEY = NoiseKey.from_seed(50)
CONTEXT = bytes(32)


def mechanism(kind: type[Mechanism], client_sigma: float) -> Mechanism:
    return kind(clip_norm=10.0, dimension=LENGTH, coordinate_cap=1.0, client_sigma=client_sigma)


def spec_of(m: Mechanism) -> SumSpec:
    sigma = m.tail_sigma(max_clients=COHORT, min_clients=MIN_SURVIVORS)
    return SumSpec(LENGTH, COHORT, MIN_SURVIVORS, m.value_bound, sigma)


def stream(client: int) -> KeyStream:
    return KEY.stream("sums", 3, client)


@lru_cache
def uploads(kind: type[Mechanism], client_sigma: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(uploads, uploads before noise), (COHORT, LENGTH) each; updates below and beyond the clip."""
    m = mechanism(kind, client_sigma)
    sent, bare = np.empty((2, COHORT, LENGTH), np.int64)
    for client in range(COHORT):
        rng = np.random.default_rng([51, client])
        rows = np.sort(rng.choice(LENGTH // 8, 30, replace=False)).astype(np.int32)
        delta = (0.1 * client * rng.normal(size=(30, 8))).astype(np.float32)
        sent[client] = m.privatise(rows, delta, stream(client))
        bare[client] = m.round_and_clip(rows, delta, stream(client))
    return sent, bare


def opened_sum(protocol: str, m: Mechanism, values: NDArray[np.int64], gone: set[int]) -> NDArray[np.int64]:
    run = protocols.enrol(protocol, spec_of(m), run_id=b"run", client_ids=range(COHORT))
    parties = LocalParties(run, min_survivors=MIN_SURVIVORS)
    parties.values = dict(enumerate(values))
    opened = run.server().open_round(3, context=CONTEXT, min_survivors=MIN_SURVIVORS)
    away = {Address("client", client) for client in gone}
    result = protocols.conduct(opened, lambda to, message: None if to in away else parties(to, message))
    assert not parties.refusals and not result.complaints
    assert result.survivors == set(range(COHORT)) - gone
    return result.values


@pytest.mark.parametrize("gone", [frozenset(), frozenset(range(0, 36, 3))], ids=["all there", "three in ten gone"])
@pytest.mark.parametrize("client_sigma", [2.0, 40.0])
@pytest.mark.parametrize("kind", KINDS)
def test_a_secure_sum_opens_the_plain_sum_with_the_variance_accounted(
    kind: type[Mechanism], client_sigma: float, gone: frozenset[int]
) -> None:
    m = mechanism(kind, client_sigma)
    sent, bare = uploads(kind, client_sigma)
    plain = opened_sum("plain", m, sent, set(gone))
    np.testing.assert_array_equal(opened_sum("ckks-committee", m, sent, set(gone)), plain)
    left = [client for client in range(COHORT) if client not in gone]
    np.testing.assert_array_equal(plain, sent[left].sum(axis=0))
    noise = (plain - bare[left].sum(axis=0)).astype(float)
    # A sum's square has variance 2 + excess kurtosis; the chi-square law of as many degrees as have that in all.
    excess = {Mechanism: 0.0, SkellamMechanism: client_sigma**-2, LaplaceMechanism: 3 + client_sigma**-2}[kind]
    degrees = LENGTH / (1 + excess / len(left) / 2)
    low, high = stats.chi2.ppf([0.005, 0.995], degrees) / degrees
    assert low < (noise**2).mean() / (len(left) * client_sigma**2) < high
    event = m.event("round 3", min_survivors=len(left), noise_source="os")
    if isinstance(event, DistributedLaplaceSum):
        accounted = math.sqrt(len(left)) * DiscreteLaplace(event.client_scale).sigma
    else:
        accounted = event.noise_multiplier * event.sensitivity
    assert low < (noise**2).mean() / accounted**2 < high


@pytest.mark.parametrize("kind", KINDS)
def test_the_committee_refuses_to_open_a_sum_with_less_noise_than_was_accounted(kind: type[Mechanism]) -> None:
    m = mechanism(kind, 40.0)
    run = protocols.enrol("ckks-committee", spec_of(m), run_id=b"run", client_ids=range(COHORT))
    server = run.server()
    opened = server.open_round(3, context=CONTEXT, min_survivors=MIN_SURVIVORS)
    parties = LocalParties(run, min_survivors=MIN_SURVIVORS)
    parties.values = dict(enumerate(uploads(kind, 40.0)[0]))
    for to, message in opened.outbox().items():
        answer = parties(to, message)
        assert answer is not None
        opened.receive(answer)
    opened.close_phase()
    for to, message in opened.outbox().items():
        run.decryptors[to.number].answer(message)  # the boxes that hold its shares
    for member in run.decryptors:
        request = server.session.write(
            Kind.REQUEST, Address("decryptor", member), opened.manifest(range(MIN_SURVIVORS - 1)).to_bytes(),
            round_number=3, broadcast=opened.broadcast.digest,
        )  # fmt: skip
        with pytest.raises(TooFewClientsError, match="names 27 survivors; its broadcast promised 28"):
            run.decryptors[member].answer(request)


@pytest.mark.parametrize("kind", KINDS)
def test_no_device_joins_and_no_round_opens_for_fewer_than_noise_was_sized_for(kind: type[Mechanism]) -> None:
    m = mechanism(kind, 40.0)
    run = protocols.enrol("ckks-committee", spec_of(m), run_id=b"run", client_ids=range(COHORT))
    with pytest.raises(protocols.ProtocolError, match="needs from 28 to 40 survivors, not 27"):
        run.server().open_round(3, context=CONTEXT, min_survivors=MIN_SURVIVORS - 1)
    wider = SumSpec(LENGTH, COHORT, 2, m.value_bound, m.client_sigma)  # an operator that writes another setup
    run = protocols.enrol("ckks-committee", wider, run_id=b"run", client_ids=range(COHORT))
    opened = run.server().open_round(3, context=CONTEXT, min_survivors=2)
    with pytest.raises(TooFewClientsError, match="28"):
        run.client(0, min_survivors=MIN_SURVIVORS).join(opened.broadcast.data)


@pytest.mark.parametrize("protocol", ["plain", "ckks-committee"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_honest_server_gives_a_round_up_when_one_more_drops_out_than_planned(
    kind: type[Mechanism], protocol: str
) -> None:
    m = mechanism(kind, 40.0)
    with pytest.raises(RoundAborted, match="27 .*at least 28 are needed"):
        opened_sum(protocol, m, uploads(kind, 40.0)[0], set(range(COHORT - MIN_SURVIVORS + 1)))


@pytest.mark.parametrize("client_sigma", [2.0, 30.0, 172.0])
@pytest.mark.parametrize("kind", [SkellamMechanism, LaplaceMechanism])
def test_fields_hold_the_tail_of_noise_that_is_not_gaussian(kind: type[Mechanism], client_sigma: float) -> None:
    """One upload's tail against the exact one, a sum's for any number of clients against Chernoff's bound."""
    m = mechanism(kind, client_sigma)
    spec = spec_of(m)
    assert spec.noise_sigma >= client_sigma
    failure = 2.0**-64 / (2 * protocols.spec.ROUNDS_PER_KEY * LENGTH)
    one = spec.upload_bound - m.value_bound
    law = m.law
    if isinstance(law, Skellam):
        half = law.variance / 2
        assert stats.skellam.sf(one, half, half) < failure / COHORT
        for n in range(MIN_SURVIVORS, COHORT + 1):
            reach = spec.sum_bound_of(n) - n * m.value_bound
            assert math.exp(-n * law.tail_exponent(reach / n)) <= failure * (1 + 1e-6)
    else:
        assert isinstance(law, DiscreteLaplace)
        assert math.exp(-one / law.scale) / 2 < failure / COHORT
        for n in range(MIN_SURVIVORS, COHORT + 1):
            reach = spec.sum_bound_of(n) - n * m.value_bound
            assert math.exp(-n * law.tail_exponent(reach / n)) <= failure * (1 + 1e-6)
    assert (
        Mechanism(clip_norm=1.0, dimension=LENGTH, coordinate_cap=1.0, client_sigma=client_sigma).tail_sigma(
            max_clients=COHORT, min_clients=MIN_SURVIVORS
        )
        == client_sigma
    )
