import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.pairwise import shamir


def times(a: int, b: int) -> int:
    """The product in GF(256), from the definition: polynomials over GF(2) modulo x^8 + x^4 + x^3 + x + 1."""
    product = 0
    for bit in range(8):
        if b >> bit & 1:
            product ^= a << bit
    for bit in range(14, 7, -1):
        if product >> bit & 1:
            product ^= 0x11B << (bit - 8)
    return product


def value_at(x: int, coefficients: list[int]) -> int:
    total, power = 0, 1
    for coefficient in coefficients:
        total ^= times(coefficient, power)
        power = times(power, x)
    return total


@st.composite
def sharings(draw: st.DrawFn) -> tuple[bytes, int, int, bytes]:
    holders = draw(st.integers(1, 12) | st.just(255))
    threshold = draw(st.integers(1, min(holders, 9)))
    secret = draw(st.binary(min_size=16, max_size=16))
    return secret, threshold, holders, np.random.default_rng(draw(st.integers(0, 99))).bytes(16 * (threshold - 1))


@settings(deadline=None, max_examples=40)
@given(sharings())
def test_shares_are_the_values_of_the_polynomials(sharing: tuple[bytes, int, int, bytes]) -> None:
    secret, threshold, holders, randomness = sharing
    shares = shamir.split(secret, threshold=threshold, holders=holders, randomness=randomness)
    assert shares.shape == (holders, 16)
    rows = [secret, *(randomness[16 * i : 16 * i + 16] for i in range(threshold - 1))]
    for holder in {1, holders}:
        for byte in range(16):
            assert shares[holder - 1, byte] == value_at(holder, [row[byte] for row in rows])


@settings(deadline=None, max_examples=40)
@given(sharings(), st.randoms())
def test_any_threshold_of_shares_gives_the_secret(sharing: tuple[bytes, int, int, bytes], random) -> None:  # type: ignore[no-untyped-def]
    secret, threshold, holders, randomness = sharing
    shares = shamir.split(secret, threshold=threshold, holders=holders, randomness=randomness)
    xs = np.array(random.sample(range(1, holders + 1), threshold))
    assert shamir.join(xs, shares[xs - 1]) == secret


def test_one_share_fewer_fits_every_secret_equally_well() -> None:
    seen = {secret: set() for secret in range(256)}
    for secret, coefficient in itertools.product(range(256), range(256)):
        shares = shamir.split(bytes([secret] * 8), threshold=2, holders=3, randomness=bytes([coefficient] * 8))
        seen[secret].add(int(shares[2, 0]))
    assert all(len(values) == 256 for values in seen.values())


def test_the_whole_of_255_holders_can_be_served() -> None:
    secret = bytes(range(64))
    shares = shamir.split(secret, threshold=200, holders=255, randomness=np.random.default_rng(0).bytes(199 * 64))
    xs = np.arange(255, 55, -1)
    assert shamir.join(xs, shares[xs - 1]) == secret
    assert shamir.join(xs - 1, shares[xs - 1]) != secret


@pytest.mark.parametrize(("threshold", "holders"), [(0, 3), (4, 3), (2, 256)])
def test_a_sharing_that_cannot_be_is_refused(threshold: int, holders: int) -> None:
    with pytest.raises(ValueError, match="cannot share"):
        shamir.split(bytes(8), threshold=threshold, holders=holders, randomness=bytes(8 * max(threshold - 1, 0)))
