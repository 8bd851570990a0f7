from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from protocols.committee.expansion import common_polynomials, share_from_seed
from protocols.committee.sharing import combine, consistent, lagrange, split, wrong_shares
from protocols.ring import largest_primes

DEGREE = 16
PRIMES = (largest_primes(50, 2048, 1)[0], largest_primes(17, 2048, 1)[0])


def shares_of(secret: NDArray[np.uint64], members: int, threshold: int) -> dict[int, NDArray[np.uint64]]:
    seeds, rest = split(secret, members=members, threshold=threshold, primes=PRIMES)
    first = [share_from_seed(seed, PRIMES, DEGREE) for seed in seeds]
    return dict(enumerate([*first, *rest]))


def random_secret(seed: int) -> NDArray[np.uint64]:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, q, DEGREE, dtype=np.uint64) for q in PRIMES])


def polynomial_through(points: list[tuple[int, int]], at: int, q: int) -> int:
    """Newton's divided differences, in Python's integers: another formula than Lagrange's."""
    xs = [x for x, _ in points]
    table = [y % q for _, y in points]
    for level in range(1, len(xs)):
        for i in range(len(xs) - 1, level - 1, -1):
            table[i] = (table[i] - table[i - 1]) * pow(xs[i] - xs[i - level], -1, q) % q
    value = 0
    for i in range(len(xs) - 1, -1, -1):
        value = (value * (at - xs[i]) + table[i]) % q
    return value


@st.composite
def committees(draw: st.DrawFn) -> tuple[int, int]:
    members = draw(st.integers(1, 9))
    return members, draw(st.integers(1, members))


@settings(deadline=None, max_examples=40)
@given(committees(), st.integers(0, 2**32))
def test_any_threshold_of_shares_give_the_secret_as_the_slow_reference_does(
    committee: tuple[int, int], seed: int
) -> None:
    members, threshold = committee
    secret = random_secret(seed)
    shares = shares_of(secret, members, threshold)
    assert len(shares) == members
    for chosen in list(combinations(range(members), threshold))[:20]:
        subset = {j: shares[j] for j in chosen}
        assert (combine(subset, threshold=threshold, primes=PRIMES) == secret).all()
        for index, q in enumerate(PRIMES):
            points = [(j + 1, int(shares[j][index, 3])) for j in chosen]
            assert polynomial_through(points, 0, q) == int(secret[index, 3])
    assert consistent(shares, threshold=threshold, primes=PRIMES)
    with pytest.raises(ValueError):
        combine({j: shares[j] for j in range(threshold - 1)}, threshold=threshold, primes=PRIMES)


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(0, 20))
def test_weights_sum_to_one_and_pick_their_own_point(n: int, at: int) -> None:
    q = PRIMES[1]
    points = tuple(range(1, n + 1))
    weights = lagrange(points, at, q)
    assert sum(weights) % q == 1
    if at in points:
        assert [w for x, w in zip(points, weights, strict=True) if x != at] == [0] * (n - 1)


def test_fewer_shares_than_the_threshold_fit_every_secret() -> None:
    shares = shares_of(random_secret(0), 7, 5)
    for other in (random_secret(1), np.zeros_like(random_secret(0))):
        four = [(j + 1, int(shares[j][0, 0])) for j in (1, 2, 5, 6)]
        points = [(0, int(other[0, 0])), *four]
        rebuilt = {j: polynomial_through(points, j + 1, PRIMES[0]) for j in range(7)}
        assert all(rebuilt[x - 1] == y for x, y in four)


def test_shares_of_one_secret_differ_each_time() -> None:
    secret = random_secret(0)
    one, other = shares_of(secret, 7, 5), shares_of(secret, 7, 5)
    assert all((one[j] != other[j]).any() for j in range(7))


def test_shares_add_up_to_shares_of_the_sum() -> None:
    secrets = [random_secret(seed) for seed in range(5)]
    modulus = np.array(PRIMES, np.uint64)[:, None]
    total = {j: np.zeros_like(secrets[0]) for j in range(7)}
    for secret in secrets:
        for j, share in shares_of(secret, 7, 5).items():
            total[j] = (total[j] + share) % modulus
    expected = sum(secrets) % modulus
    assert (combine(total, threshold=5, primes=PRIMES) == expected).all()


@settings(deadline=None, max_examples=40)
@given(committees(), st.data())
def test_malformed_shares_are_found_up_to_the_bound_of_unique_decoding_and_never_blamed_on_others(
    committee: tuple[int, int], data: st.DataObject
) -> None:
    members, threshold = committee
    shares = shares_of(random_secret(members), members, threshold)
    n_wrong = data.draw(st.integers(0, members - threshold))
    wrong = data.draw(st.sets(st.integers(0, members - 1), min_size=n_wrong, max_size=n_wrong))
    for j in wrong:
        prime = data.draw(st.integers(0, 1))
        q, place = PRIMES[prime], data.draw(st.integers(0, DEGREE - 1))
        shares[j][prime, place] = (int(shares[j][prime, place]) + data.draw(st.integers(1, q - 1))) % q
    assert consistent(shares, threshold=threshold, primes=PRIMES) == (not wrong)
    found = wrong_shares(shares, threshold=threshold, primes=PRIMES)
    if 2 * n_wrong <= members - threshold:
        assert found == wrong
    else:
        # Errors in one place may cancel into another codeword's; what is found is then as small as can be.
        assert found is None or 2 * len(found) <= members - threshold


def test_expansion_is_uniform_below_the_prime_and_depends_on_every_input() -> None:
    q = 12289
    drawn = share_from_seed(bytes(32), (q,), 200_000)[0].astype(np.int64)
    assert drawn.max() < q
    counts = np.bincount(drawn * 32 // q, minlength=32)
    assert abs(counts - 6250).max() < 6 * 6250**0.5
    a = common_polynomials(bytes(32), (q,), 2, 1024)
    assert a.shape == (1, 2, 1024) and a.max() < q
    assert (a != common_polynomials(b"\1" * 32, (q,), 2, 1024)).any()
    assert (a[0, 0] != a[0, 1]).any()
    assert not a.flags.writeable
    with pytest.raises(ValueError, match="32 bytes"):
        share_from_seed(bytes(31), (q,), 4)


def test_expansion_is_rejection_from_the_stream_in_order() -> None:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    q, seed = 12289, b"\5" * 32
    counter = modes.CTR(bytes(15) + b"\2")
    stream = Cipher(algorithms.AES(seed), counter).encryptor().update(bytes(8 * 300))
    words = [int.from_bytes(stream[i : i + 8], "little") % 2**14 for i in range(0, len(stream), 8)]
    expected = [word for word in words if word < q][:150]
    assert share_from_seed(seed, (q,), 150)[0].tolist() == expected
