"""The audit of the true mechanism, and of mechanisms with a fault planted in each."""

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from attacks.epsilon import EpsilonBound
from attacks.epsilon.gaussian import epsilon as exact_epsilon
from securerec.audit import epsilon as audit
from securerec.audit.sampling import MakeKey, simulated_key, touched
from securerec.federation.promise import Promise
from securerec.privacy.accounting import REPLACE, ZERO_OUT, central_epsilon, local_epsilon
from securerec.privacy.discrete_gaussian import DiscreteGaussian
from securerec.privacy.mechanism import FixedPoint, Mechanism, rounded_sensitivity
from securerec.privacy.randomness import KeyStream, NoiseKey

DELTA, DIMENSION, SURVIVORS = 1e-5, 240, 20
MU = {2.0: 1 / 1.99, 4.0: 1 / 1.08, 8.0: 1 / 0.6}  # by epsilon at DELTA
THRESHOLD, CURVE, MOMENTS = "worst pair, Clopper-Pearson", "worst pair, trade-off curve", "worst pair, Gaussian moments"


class TooLittleNoise(Mechanism):
    """States a noise of `client_sigma` and adds `factor` of it."""

    factor = 1.0

    def privatise(self, rows: NDArray[np.int32], delta: NDArray[np.float32], stream: KeyStream) -> NDArray[np.int64]:
        noise = DiscreteGaussian(self.factor * self.client_sigma)
        return self.round_and_clip(rows, delta, stream) + noise.sample(stream, self.dimension)


class HalfNoise(TooLittleNoise):
    factor = 0.5


class NineTenthsNoise(TooLittleNoise):
    factor = 0.9


class NoClipping(Mechanism):
    def round_and_clip(
        self, rows: NDArray[np.int32], delta: NDArray[np.float32], stream: KeyStream
    ) -> NDArray[np.int64]:
        values = np.zeros((self.dimension // delta.shape[1], delta.shape[1]), np.int64)
        values[rows] = np.rint(delta * self.scale)
        return values.reshape(self.dimension)


class CappedOnly(NoClipping):
    """Holds each coordinate, and not the norm."""

    def round_and_clip(
        self, rows: NDArray[np.int32], delta: NDArray[np.float32], stream: KeyStream
    ) -> NDArray[np.int64]:
        cap = np.float32(self.coordinate_cap * self.clip_norm)
        return super().round_and_clip(rows, np.clip(delta, -cap, cap), stream)


class SameNoiseEachRound(NoiseKey):
    __slots__ = ()

    def stream(self, label: str, round_number: int, client: int) -> KeyStream:
        return super().stream(label, 0, client)


def promise(
    kind: type[Mechanism] = Mechanism,
    *,
    local: float | None = None,
    central: float | None = None,
    survivors: int = SURVIVORS,
    cap: float = 1.0,
) -> Promise:
    """Noise for one release at a local or a central mu."""
    sensitivity = rounded_sensitivity(1000, DIMENSION)
    sigma = 2 * sensitivity / local if local else sensitivity / math.sqrt(survivors) / (central or 1.0)
    return Promise(kind(25.0, DIMENSION, cap, sigma), survivors, survivors, "os", DELTA)


def by_method(bounds: list[EpsilonBound]) -> dict[str, EpsilonBound]:
    return {bound.method: bound for bound in bounds}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_fifty_audits_of_the_true_mechanism_rarely_exceed_what_it_claims() -> None:
    true = promise(central=1.0)
    beyond: Counter[str] = Counter()
    for seed in range(50):
        source = rng(seed)
        bounds = [
            *audit.audit_uploads(true, rounds=1, rng=source, draws=150),
            *audit.audit_uploads(true, rounds=2, rng=source, draws=150),
            *audit.audit_sum(true, rng=source, draws=300),
            audit.audit_one_run(true, rounds=4, rng=source),
            audit.audit_one_shot(true, rounds=4, rng=source),
        ]
        for bound in bounds:
            # the exact epsilon of the noise is below the accountant's, so this asks for more than the claim
            beyond[f"{bound.method}, {bound.setting.split(';')[0]}"] += bound.refutes_noise
    assert len(beyond) == 11
    assert max(beyond.values()) <= 5, beyond


def test_audits_come_near_the_true_epsilon() -> None:
    true = promise(central=1.0)
    local = by_method(audit.audit_uploads(true, rounds=1, rng=rng(), draws=2000))
    assert 0.9 < local[MOMENTS].lower / local[MOMENTS].claim.exact_epsilon <= 1
    assert 0.1 < local[CURVE].lower / local[CURVE].claim.exact_epsilon <= 1
    central = by_method(audit.audit_sum(true, rng=rng(), draws=4000))
    assert 0.85 < central[MOMENTS].lower / central[MOMENTS].claim.exact_epsilon <= 1
    assert 0.2 < central[THRESHOLD].lower / central[THRESHOLD].claim.exact_epsilon <= 1
    assert audit.audit_one_run(promise(central=1.0, survivors=200), rounds=9, rng=rng()).lower > 1.5
    shot = audit.audit_one_shot(true, rounds=9, rng=rng())
    assert 0.6 < shot.lower / shot.claim.exact_epsilon <= 1
    assert shot.estimate == pytest.approx(shot.claim.exact_epsilon, rel=0.4)


@pytest.mark.parametrize("kind", [NoClipping, CappedOnly])
def test_missing_clipping_is_caught(kind: type[Mechanism]) -> None:
    # no coordinate is beyond the cap in an update that is spread over all, so only the clip can hold it
    faulty = promise(kind, local=MU[2.0])
    assert all(bound.refutes_claim for bound in audit.audit_uploads(faulty, rounds=1, rng=rng(), draws=1000))
    assert audit.audit_one_shot(promise(kind, central=1.0), rounds=1, rng=rng()).refutes_claim


def test_missing_clipping_is_caught_in_sums() -> None:
    faulty = promise(NoClipping, central=MU[2.0])
    assert all(bound.refutes_claim for bound in audit.audit_sum(faulty, rng=rng(), draws=1000))
    many = promise(NoClipping, central=MU[2.0], survivors=200)
    assert audit.audit_one_run(many, rounds=1, rng=rng()).refutes_claim


def test_noise_half_as_large_is_caught_in_uploads_and_sums() -> None:
    for bounds in (
        by_method(audit.audit_uploads(promise(HalfNoise, local=MU[4.0]), rounds=1, rng=rng(), draws=3000)),
        by_method(audit.audit_sum(promise(HalfNoise, central=MU[4.0]), rng=rng(), draws=3000)),
    ):
        assert bounds[CURVE].refutes_claim and bounds[MOMENTS].refutes_claim
    assert audit.audit_one_shot(promise(HalfNoise, central=MU[8.0]), rounds=1, rng=rng()).refutes_noise


@pytest.mark.parametrize("epsilon", [2.0, 4.0, 8.0])
def test_noise_a_tenth_too_small_is_caught_on_the_trade_off_curve_and_not_by_clopper_pearson(epsilon: float) -> None:
    bounds = by_method(audit.audit_sum(promise(NineTenthsNoise, central=MU[epsilon]), rng=rng(), draws=12_000))
    assert bounds[MOMENTS].claim.exact_epsilon == pytest.approx(epsilon, rel=3e-3)
    assert bounds[MOMENTS].refutes_noise
    assert not bounds[THRESHOLD].refutes_noise
    true = by_method(audit.audit_sum(promise(central=MU[epsilon]), rng=rng(), draws=12_000))
    assert not true[MOMENTS].refutes_noise


def test_noise_a_tenth_too_small_in_uploads_is_beyond_the_accountants_slack_too() -> None:
    faulty = promise(NineTenthsNoise, local=14.45)
    bounds = by_method(audit.audit_uploads(faulty, rounds=1, rng=rng(), draws=2000))
    assert bounds[MOMENTS].refutes_claim
    assert not bounds[THRESHOLD].refutes_noise


def test_noise_used_twice_is_caught_by_looking_at_two_rounds() -> None:
    def faulty(secret: bytes) -> NoiseKey:
        return SameNoiseEachRound(secret, reproducible=True)

    subject = promise(local=MU[2.0])
    one = audit.audit_uploads(subject, rounds=1, rng=rng(), draws=1000, make_key=faulty)
    two = audit.audit_uploads(subject, rounds=2, rng=rng(), draws=1000, make_key=faulty)
    assert not any(bound.refutes_noise for bound in one)
    assert all(bound.refutes_claim for bound in two)
    assert by_method(two)[MOMENTS].lower > 1000


def test_a_leaked_seed_is_caught_and_a_wrong_guess_finds_nothing() -> None:
    def seeded(secret: bytes) -> NoiseKey:
        return NoiseKey.from_seed(7)

    subject = promise(local=MU[2.0])

    def look(seed: int, make_key: MakeKey) -> list[EpsilonBound]:
        known = NoiseKey.from_seed(seed)
        return audit.audit_uploads(subject, rounds=1, rng=rng(), draws=500, make_key=make_key, known_key=known)

    assert all(bound.refutes_claim for bound in look(7, seeded))
    assert not any(bound.refutes_noise for bound in look(8, seeded))
    assert not any(bound.refutes_noise for bound in look(7, simulated_key))


def test_claims_are_the_ledgers() -> None:
    subject = promise(central=1.0)
    events = [subject.event(f"round {i}") for i in (1, 2, 3)]
    central, local = audit.central_claim(subject, 3), audit.local_claim(subject, 3)
    assert central.epsilon == central_epsilon(events, delta=DELTA).epsilon and central.relation == ZERO_OUT
    assert local.epsilon == local_epsilon(events, delta=DELTA).epsilon and local.relation == REPLACE
    assert central.mu == pytest.approx(math.sqrt(3)) and local.mu == pytest.approx(2 * math.sqrt(3 * SURVIVORS))
    assert central.unit == local.unit == "user"
    for claim in (central, local):
        assert claim.exact_epsilon == exact_epsilon(claim.mu, DELTA) < claim.epsilon


@pytest.mark.parametrize("cap", [1.0, 0.25, 0.1])
def test_an_update_of_the_largest_norm_passes_cap_and_clip(cap: float) -> None:
    """The pair's own distance is what the claim is about, to what rounding adds."""
    subject = promise(local=2.0, cap=cap)
    mechanism = subject.quantiser
    assert isinstance(mechanism, Mechanism)
    stream = NoiseKey.from_seed(0).stream("x", 0, 0)
    for update in (audit._few_large(mechanism, rng()), audit._all_alike(mechanism)):
        norm = np.linalg.norm(mechanism.round_and_clip(*touched(update), stream))
        assert 995 < norm <= mechanism.sensitivity
    bounds = by_method(audit.audit_sum(dataclasses.replace(subject, min_honest=1), rng=rng(), draws=4000))
    mu = bounds[MOMENTS].claim.mu
    assert 0.6 * exact_epsilon(mu, DELTA) < bounds[MOMENTS].lower <= exact_epsilon(mu, DELTA)


def test_the_whole_audit_repeats_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_VALUES", 0)  # the fewest draws there are
    monkeypatch.setattr(audit, "_SUM_VALUES", 2 * SURVIVORS * DIMENSION)
    subject = promise(central=1.0)
    bounds = audit.audit_epsilon(subject, rounds=5, seed=3)
    assert bounds == audit.audit_epsilon(subject, rounds=5, seed=3) != audit.audit_epsilon(subject, rounds=5, seed=4)
    assert len(bounds) == 11 and all(bound.confidence == 1 - 0.01 / 11 for bound in bounds)
    run, shot = bounds[-2:]
    assert shot.setting == "round: 2 sums of 20 clients, 240 values"  # fewer rounds than the run has, and claimed so
    assert shot.claim == audit.central_claim(subject, 2)
    assert run.setting.startswith("round: 5 sums of 20 clients, 20 values of 240") and run.claim.mu > shot.claim.mu


def test_a_single_survivor_is_audited_without_canaries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_VALUES", 0)
    bounds = audit.audit_epsilon(promise(central=1.0, survivors=1), rounds=5, seed=3)
    assert len(bounds) == 9 and not any("canaries" in bound.method for bound in bounds)


def test_a_run_without_privacy_claims_nothing() -> None:
    clear = Promise(FixedPoint(DIMENSION, 10, 1 << 21), SURVIVORS, SURVIVORS, "os", DELTA)
    assert audit.audit_epsilon(clear, rounds=5, seed=0) == []
    with pytest.raises(ValueError, match="no mechanism"):
        audit.audit_sum(clear, rng=rng())
