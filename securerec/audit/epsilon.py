"""Lower bounds on the epsilon of a run's own mechanism, beside the epsilon that its ledger claims.

What is exact: every upload comes from the run's `Mechanism`, at the run's settings, noise from a `KeyStream` of its own
for each round and client, as on a device. What is reduced, never in the audit's favour: the noise grows from keys drawn
from the audit's generator; other clients upload noise alone, as an adversary who knows their updates would subtract
them; and where only some coordinates are looked at, the others, whose noise is independent of it, are not drawn. Canary
vectors lie beyond the clip and the cap, which must bring them back.

Budgets keep an audit at about half a minute. Sums of many clients over many values are opened for fewer rounds than the
run has, and claimed accordingly: `EpsilonBound.setting` says for how many.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.epsilon import Claim, EpsilonBound, one_run, one_shot, worst_pair
from attacks.epsilon.claims import CONFIDENCE
from attacks.epsilon.worst_pair import Pair, Vector
from securerec.audit.sampling import (
    NOTHING,
    MakeKey,
    Update,
    opened_sums,
    project_sums,
    project_uploads,
    simulated_key,
    touched,
)
from securerec.federation.promise import Promise
from securerec.privacy.accounting import REPLACE, ZERO_OUT, Cost, central_epsilon, local_epsilon
from securerec.privacy.events import DistributedGaussianSum
from securerec.privacy.mechanism import Mechanism
from securerec.privacy.randomness import NoiseKey

OVERSIZE = 8.0
"""Norm of an audit's inputs, in clip_norms: a mechanism that does not clip gives itself away."""
LOCAL_DRAWS, CENTRAL_DRAWS = 3000, 20_000
_VALUES = 30_000_000  # coordinates noised by an audit of uploads
_SUM_VALUES, _SUM_UPLOADS = 300_000_000, 40_000  # coordinates and uploads noised by an audit of sums
_MOST_CANARIES = 512
ERROR, _METHODS = 0.01, 11
"""Chance that any of a whole audit's bounds is beyond the truth, and how many one kind of release has at most."""


def audit_epsilon(
    promise: Promise, *, rounds: int, seed: int, release: str = "round", kinds: int = 1,
    make_key: MakeKey = simulated_key,
) -> list[EpsilonBound]:  # fmt: skip
    """Hold a kind of release to what a ledger claims of it: each method's lower bound, empty without privacy.

    Local claims: of one upload, and of one client's uploads in two rounds, which noise used twice would give away.
    Central claims: of one opened sum and, for two survivors or more, of all rounds' sums (of as many as the budget
    allows). rounds: how often the kind is released; release: its name. make_key: how a device makes the key that its
    noise grows from, given 32 random bytes. kinds: of releases that are audited together; all their bounds hold
    together with a confidence of 1 - ERROR. The same seed gives the same bounds.
    """
    if not isinstance(promise.quantiser, Mechanism):
        return []
    rng, confidence = np.random.default_rng([seed, 0xE9]), 1 - ERROR / (_METHODS * kinds)
    audited = partial(_audited, promise=promise, rng=rng, make_key=make_key, confidence=confidence)
    bounds = audited(audit_uploads, rounds=1) + audited(audit_sum)
    if rounds > 1 and not promise.quantiser.nonnegative:
        bounds += audited(audit_uploads, rounds=2)
    if _room_for_canaries(promise) >= 2:
        bounds += audited(audit_one_run, rounds=rounds)
        if not promise.quantiser.nonnegative:
            bounds += audited(audit_one_shot, rounds=rounds)
    return [dataclasses.replace(bound, setting=f"{release}: {bound.setting}") for bound in bounds]


def _audited(
    method: Callable[..., list[EpsilonBound] | EpsilonBound], promise: Promise, **named: Any
) -> list[EpsilonBound]:
    found = method(promise, **named)
    return found if isinstance(found, list) else [found]


def audit_uploads(
    promise: Promise,
    *,
    rounds: int,
    rng: np.random.Generator,
    draws: int = LOCAL_DRAWS,
    make_key: MakeKey = simulated_key,
    confidence: float = CONFIDENCE,
    known_key: NoiseKey | None = None,
) -> list[EpsilonBound]:
    """The worst pairs of one client's uploads in that many rounds, against whoever opens them.

    A round's update has the sign opposite to the one before, so that noise used twice cancels while they add up.
    known_key: what an adversary believes that the noise grows from, such as `NoiseKey.from_seed` of a seed that it
    guesses; it takes that noise away from each upload.
    """
    mechanism = _mechanism(promise)
    draws = min(draws, max(500, _VALUES // (mechanism.dimension * rounds)))
    signs = (-1.0) ** np.arange(rounds)[:, None]
    few, all_alike = _few_large(mechanism, rng), _all_alike(mechanism)
    if mechanism.nonnegative:
        # nothing is further apart than vectors without a common coordinate; where all are large there is no such pair
        places = rng.permutation(mechanism.dimension)[: 2 * np.count_nonzero(few)]
        one, other = np.zeros((2, mechanism.dimension))
        one[places[::2]] = other[places[1::2]] = few.max()
        pairs = [Pair("few large coordinates or others", one[None], other[None])]
    else:
        named = (("few large coordinates", few), ("all coordinates alike", all_alike))
        pairs = [Pair(name, signs * update, -signs * update) for name, update in named]
    setting = f"{_count(rounds, 'upload')} of one client, {mechanism.dimension} values"
    if known_key is not None:
        setting += ", adversary with a noise key"
    return worst_pair.audit(
        partial(project_uploads, mechanism, make_key, known_key), pairs, local_claim(promise, rounds),
        draws=draws, rng=rng, setting=setting, confidence=confidence,
    )  # fmt: skip


def audit_sum(
    promise: Promise,
    *,
    rng: np.random.Generator,
    draws: int = CENTRAL_DRAWS,
    make_key: MakeKey = simulated_key,
    confidence: float = CONFIDENCE,
) -> list[EpsilonBound]:
    """The worst pair of one opened sum: a client's update is the largest there is, or zero.

    Only the coordinates of that update are drawn: their law does not depend on how many others there are, as whole
    numbers are not rounded.
    """
    mechanism, survivors = _mechanism(promise), promise.min_honest
    size = _support(mechanism)
    draws = min(draws, max(500, _SUM_VALUES // (2 * size * survivors)))
    small = dataclasses.replace(mechanism, dimension=size)
    pair = Pair("a client's largest update or none", _all_alike(small)[None], None)
    return worst_pair.audit(
        partial(project_sums, small, survivors, make_key), [pair], central_claim(promise, 1),
        draws=draws, rng=rng, confidence=confidence,
        setting=f"sum of {survivors} clients, {_count(size, 'value')} of {mechanism.dimension}",
    )  # fmt: skip


def audit_one_run(
    promise: Promise,
    *,
    rounds: int,
    rng: np.random.Generator,
    make_key: MakeKey = simulated_key,
    confidence: float = CONFIDENCE,
) -> EpsilonBound:
    """One-run canaries in the sums of all rounds: clients with coordinates of their own, which take part or not.

    As many clients as the noise is sized for, each with a canary where there is room.
    """
    mechanism, survivors = _mechanism(promise), promise.min_honest
    size = _support(mechanism)
    canaries = _room_for_canaries(promise)
    small = dataclasses.replace(mechanism, dimension=canaries * size)
    opened = _rounds(small, survivors, rounds)
    block, height = np.arange(size, dtype=np.int32), np.float32(OVERSIZE * mechanism.clip_norm / math.sqrt(size))
    updates = [(block + np.int32(i * size), np.full((size, 1), height)) for i in range(canaries)]

    def run(included: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
        sent = [update if within else NOTHING for update, within in zip(updates, included, strict=True)]
        total = opened_sums(small, survivors, opened, make_key, sent, rng)
        return total.reshape(canaries, size).sum(axis=1) / math.sqrt(size)

    setting = f"{_count(opened, 'sum')} of {survivors} clients, {small.dimension} values of {mechanism.dimension}"
    return one_run.audit(run, canaries, central_claim(promise, opened), rng=rng, setting=setting, confidence=confidence)


def audit_one_shot(
    promise: Promise,
    *,
    rounds: int,
    rng: np.random.Generator,
    make_key: MakeKey = simulated_key,
    confidence: float = CONFIDENCE,
) -> EpsilonBound:
    """One-shot canaries in the sums of all rounds, whose total is the model's change. All values are drawn."""
    mechanism, survivors = _mechanism(promise), promise.min_honest
    opened = _rounds(mechanism, survivors, rounds)
    canaries = min(survivors, mechanism.dimension - 1, _MOST_CANARIES, max(2, 2**24 // mechanism.dimension))
    cap = mechanism.coordinate_cap * mechanism.clip_norm

    def update(canary: Vector) -> Update:
        # beyond the clip, but with no coordinate beyond the cap, which would turn it
        size = min(OVERSIZE * mechanism.clip_norm, cap / float(np.abs(canary).max()))
        return touched(canary * size)

    def run(vectors: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        return opened_sums(mechanism, survivors, opened, make_key, [update(v) for v in vectors], rng)

    setting = f"{_count(opened, 'sum')} of {survivors} clients, {mechanism.dimension} values"
    claim = central_claim(promise, opened)
    return one_shot.audit(run, mechanism.dimension, canaries, claim, rng=rng, setting=setting, confidence=confidence)


def local_claim(promise: Promise, rounds: int) -> Claim:
    """What the ledger claims of one client's uploads in that many rounds."""
    events = _events(promise, rounds)
    first = events[0]
    cost = Cost.local(sensitivity=first.sensitivity, client_sigma=first.client_sigma, nonnegative=first.nonnegative)
    epsilon = local_epsilon(events, delta=promise.delta)
    return Claim(epsilon.unit, REPLACE, promise.delta, epsilon.epsilon, math.sqrt(rounds) / cost.noise_multiplier)


def central_claim(promise: Promise, rounds: int) -> Claim:
    """What the ledger claims of that many sums of `min_honest` clients."""
    events = _events(promise, rounds)
    epsilon = central_epsilon(events, delta=promise.delta)
    mu = math.sqrt(rounds) / events[0].noise_multiplier
    return Claim(epsilon.unit, ZERO_OUT, promise.delta, epsilon.epsilon, mu)


def _events(promise: Promise, rounds: int) -> list[DistributedGaussianSum]:
    events = [promise.event(f"round {number}") for number in range(1, rounds + 1)]
    return [event for event in events if isinstance(event, DistributedGaussianSum)]


def _mechanism(promise: Promise) -> Mechanism:
    if not isinstance(promise.quantiser, Mechanism):
        raise ValueError("a run without privacy has no mechanism to audit")
    return promise.quantiser


def _support(mechanism: Mechanism) -> int:
    """The fewest coordinates that hold an update of the largest norm under the cap."""
    return min(mechanism.dimension, math.ceil(mechanism.coordinate_cap**-2 - 1e-9))


def _room_for_canaries(promise: Promise) -> int:
    """How many clients can have canaries with coordinates of their own."""
    mechanism = _mechanism(promise)
    return min(promise.min_honest, mechanism.dimension // _support(mechanism))


def _few_large(mechanism: Mechanism, rng: np.random.Generator) -> Vector:
    size = _support(mechanism)
    update = np.zeros(mechanism.dimension)
    update[rng.choice(mechanism.dimension, size, replace=False)] = OVERSIZE * mechanism.clip_norm / math.sqrt(size)
    return update


def _all_alike(mechanism: Mechanism) -> Vector:
    """Nothing here is beyond the cap alone, so only the clip holds it."""
    return np.full(mechanism.dimension, OVERSIZE * mechanism.clip_norm / math.sqrt(mechanism.dimension))


def _rounds(mechanism: Mechanism, survivors: int, rounds: int) -> int:
    """How many sums the budget allows, at least one."""
    return max(1, min(rounds, _SUM_UPLOADS // survivors, _SUM_VALUES // (survivors * mechanism.dimension)))


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
