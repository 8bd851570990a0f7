"""Projections: members' views of a sharing fit together if the sharing does, and say nothing of the key."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.committee.expansion import projection_weights, share_from_seed
from protocols.committee.parameters import CHECK_BITS, Parameters, choose
from protocols.committee.projection import Projection, with_blind
from protocols.committee.sharing import combine, inconsistent, split, wrong_columns
from protocols.errors import WrongBroadcastError
from protocols.ring import Weights, largest_primes
from protocols.spec import SumSpec
from protocols.transcript import digest

ROUND, SECRET = bytes(32), bytes(range(32))
ONE_PRIME = choose(SumSpec(40, 8, 2, 127, 2.0), members=7, threshold=5)
TWO_PRIMES = choose(SumSpec(5000, 1000, 2, 2**38, 2.0), members=4, threshold=3)


def random_key(parameters: Parameters, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, q, parameters.degree, dtype=np.uint64) for q in parameters.primes])


def shares_of(parameters: Parameters, shared: np.ndarray) -> dict[int, np.ndarray]:
    primes = parameters.primes
    seeds, rest = split(shared, members=parameters.members, threshold=parameters.threshold, primes=primes)
    return dict(enumerate([*(share_from_seed(seed, primes, parameters.share.count) for seed in seeds), *rest]))


def view(projection: Projection, share: np.ndarray) -> np.ndarray:
    return projection.of(share[:, None])


def test_small_primes_are_made_up_for_by_more_checks() -> None:
    assert len(ONE_PRIME.primes) == 1 and ONE_PRIME.checks == 2
    assert len(TWO_PRIMES.primes) == 2 and TWO_PRIMES.checks == 2
    large = choose(SumSpec(53_824, 1000, 10, 127, 2.0), members=7, threshold=5)
    assert large.checks == 1
    for parameters in (ONE_PRIME, TWO_PRIMES, large):
        assert all(q**parameters.checks >= 2**CHECK_BITS for q in parameters.primes)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 300), st.sampled_from([17, 50, 60]))
def test_weighing_is_what_it_is_in_whole_numbers(seed: int, n: int, bits: int) -> None:
    rng, q = np.random.default_rng(seed), largest_primes(bits, 2048, 1)[0]
    factors, values = (rng.integers(0, q, n, dtype=np.uint64) for _ in range(2))
    values[: n // 3], factors[: n // 2] = q - 1, q - 1
    expected = sum(int(a) * int(b) for a, b in zip(factors, values, strict=True)) % q
    rows = np.stack((np.append(values, np.uint64(1)), np.zeros(n + 1, np.uint64)))
    assert Weights(factors, q).dot(rows).tolist() == [expected, 0]


@pytest.mark.parametrize("parameters", [ONE_PRIME, TWO_PRIMES], ids=str)
def test_projections_of_a_sharing_are_a_sharing_of_the_blinded_projection_of_the_key(parameters: Parameters) -> None:
    key = random_key(parameters, 1)
    shared = with_blind(parameters, key)
    assert (shared[:, : parameters.degree] == key).all() and shared.shape[1] == parameters.share.count
    projection = Projection(parameters, ROUND, SECRET)
    found = {j: view(projection, share) for j, share in shares_of(parameters, shared).items()}
    threshold, primes, checks = parameters.threshold, parameters.primes, parameters.checks
    assert not inconsistent(found, threshold=threshold, primes=primes).any()
    opened = combine(found, threshold=threshold, primes=primes)
    weights = projection_weights(digest("committee challenge", ROUND, SECRET), primes, checks, parameters.degree)
    for index, q in enumerate(primes):
        for check in range(checks):
            weighed = sum(int(w) * int(s) for w, s in zip(weights[index, check], key[index], strict=True))
            assert int(opened[index, check]) == (weighed + int(shared[index, parameters.degree + check])) % q


@pytest.mark.parametrize("place", [0, 1000, -1])
def test_any_change_of_shares_shows_whichever_residue_it_is_in(place: int) -> None:
    shares = shares_of(ONE_PRIME, with_blind(ONE_PRIME, random_key(ONE_PRIME, 2)))
    projection = Projection(ONE_PRIME, ROUND, SECRET)
    for member in (5, 6):
        shares[member][0, place] ^= np.uint64(1)
    found = {j: view(projection, share) for j, share in shares.items()}
    assert wrong_columns(found, threshold=5, primes=ONE_PRIME.primes)[1] is None


def test_weights_depend_on_the_round_and_on_the_secret() -> None:
    share = with_blind(ONE_PRIME, random_key(ONE_PRIME, 3))
    views = [
        tuple(view(Projection(ONE_PRIME, round_digest, secret), share)[0].tolist())
        for round_digest, secret in ((ROUND, SECRET), (SECRET, ROUND), (ROUND, ROUND), (SECRET, SECRET))
    ]
    assert len(set(views)) == 4


def test_each_sharing_is_blinded_anew() -> None:
    key = random_key(ONE_PRIME, 4)
    assert with_blind(ONE_PRIME, key)[0, -1] != with_blind(ONE_PRIME, key)[0, -1]


def test_whatever_the_projections_are_every_key_explains_them_equally_well() -> None:
    """All members' projections and the whole shares of threshold - 1 of them fit any other key: some blind, which is
    drawn uniformly, leads there. So they tell nothing of the key.
    """
    parameters, q = ONE_PRIME, ONE_PRIME.primes[0]
    projection = Projection(parameters, ROUND, SECRET)
    known = shares_of(parameters, with_blind(parameters, random_key(parameters, 5)))
    seen = {j: view(projection, share) for j, share in known.items()}
    opened = combine(seen, threshold=parameters.threshold, primes=parameters.primes)
    other = np.hstack((random_key(parameters, 6), np.zeros((1, parameters.checks), np.uint64)))
    for check, weighed in enumerate(view(projection, other)[0].tolist()):
        other[0, parameters.degree + check] = (int(opened[0, check]) - weighed) % q
    # The sharing of the other key that agrees with the shares of four members: place 0 stands for the key itself.
    placed = {0: other} | {j + 1: known[j] for j in range(parameters.threshold - 1)}
    for member in range(parameters.threshold - 1, parameters.members):
        share = _value_at(placed, member + 1, q)
        assert (view(projection, share) == seen[member]).all()


def _value_at(known: dict[int, np.ndarray], at: int, q: int) -> np.ndarray:
    """Lagrange's formula in Python's integers; known: by point."""
    total = np.zeros(next(iter(known.values())).shape, object)
    for x, row in known.items():
        weight = 1
        for other in known:
            if other != x:
                weight = weight * (at - other) * pow(x - other, -1, q) % q
        total = (total + row.astype(object) * weight) % q
    return total.astype(np.uint64)


def test_members_project_under_the_secret_alone_that_the_broadcast_commits_to(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    with pytest.raises(WrongBroadcastError, match="show another secret than the one that their broadcast commits to"):
        committee.members[0].answer(committee.boxes(opened, 0, sorted(committee.values), secret=bytes(32)))


def test_an_opening_holds_nothing_of_what_blinds(committee: Any) -> None:
    opened = committee.open()
    committee.collect(opened)
    committee.show_boxes(opened)
    answer = committee.members[6].answer(committee.request(opened, 6, sorted(committee.values)))
    assert committee.share_in(answer).shape == (1, committee.parameters.degree)
