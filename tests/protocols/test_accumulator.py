"""Sums of packed bodies, against Python's integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import accumulator, errors
from protocols.accumulator import Accumulator
from protocols.packing import Streams
from protocols.ring import largest_primes

NEAR_A_POWER = [largest_primes(bits, 1024, 1)[0] for bits in (45, 50, 57, 60)]
"""Moduli as the protocols use them."""


def rows_of(moduli: list[int], count: int, seed: int) -> np.ndarray:
    """Numbers below each modulus, among them many of the largest and smallest ones."""
    rng = np.random.default_rng(seed)
    drawn = np.array([rng.integers(0, q, count, np.uint64) for q in moduli])
    largest = np.array(moduli, np.uint64)[:, None] - np.uint64(1)
    kinds = rng.integers(0, 3, drawn.shape)
    return np.where(kinds == 0, largest, np.where(kinds == 1, np.uint64(0), drawn))


@settings(deadline=None, max_examples=200)
@given(
    moduli=st.lists(
        st.one_of(st.integers(2, 2**63), st.integers(1, 63).map(lambda bits: 1 << bits), st.sampled_from(NEAR_A_POWER)),
        min_size=1,
        max_size=3,
    ),
    count=st.integers(1, 90),
    bodies=st.integers(1, 70),
    offset=st.integers(0, 7),
    more=st.integers(0, 2**62),
    seed=st.integers(0, 2**32),
)
def test_the_sum_of_bodies_is_that_of_their_numbers(
    moduli: list[int], count: int, bodies: int, offset: int, more: int, seed: int
) -> None:
    upload = Streams(tuple(moduli), count)
    larger = tuple(min(2**63, q + more) for q in moduli)
    summed = Accumulator(upload, Streams(larger, count))
    expected = [[0] * count for _ in moduli]
    for place in range(bodies):
        rows = rows_of(moduli, count, seed + place)
        packed = memoryview(b"x" * offset + upload.pack(rows) + b"x")[offset:-1]
        summed.add(packed, what="It")
        for one, row in zip(expected, rows.tolist(), strict=True):
            one[:] = map(int.__add__, one, row)
        if place == bodies // 2:
            # The last one again, in and out: also after a look at the sum.
            summed.add(packed, what="It")
            summed.remove(packed, what="It")
    assert summed.total.tolist() == [[value % q for value in row] for row, q in zip(expected, larger, strict=True)]


def test_a_sum_is_exact_beyond_what_its_columns_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accumulator, "_MOST_BITS", 5)
    upload = Streams((1 << 18, NEAR_A_POWER[0]), 333)
    summed = Accumulator(upload, upload)
    largest = np.array([[q - 1] * 333 for q in upload.moduli], np.uint64)
    for _ in range(100):
        summed.add(upload.pack(largest), what="It")
    assert summed.total.tolist() == [[100 * (q - 1) % q] * 333 for q in upload.moduli]


@settings(deadline=None, max_examples=300)
@given(
    data=st.data(),
    modulus=st.one_of(st.integers(3, 2**63 - 1).filter(lambda q: q & (q - 1)), st.sampled_from(NEAR_A_POWER)),
    count=st.integers(1, 200),
)
def test_a_body_with_one_number_too_large_changes_no_sum(data: st.DataObject, modulus: int, count: int) -> None:
    """Also where its neighbours are as large as can be, and at both ends of the body."""
    upload = Streams((modulus, modulus), count)
    summed = Accumulator(upload, upload)
    rows = rows_of([modulus, modulus], count, count)
    summed.add(upload.pack(rows), what="It")
    stream = data.draw(st.integers(0, 1))
    place = data.draw(st.one_of(st.integers(0, count - 1), st.just(0), st.just(count - 1)))
    width = modulus.bit_length()
    rows[stream, place] = data.draw(st.one_of(st.just(modulus), st.integers(modulus, 2**width - 1)))
    with pytest.raises(errors.ResidueError, match=f"It holds 1 numbers that are not below .* {modulus}"):
        summed.add(upload.pack(rows), what="It")
    assert (summed.total == rows_of([modulus, modulus], count, count)).all()


@pytest.mark.parametrize("length", [-8, -1, 1, 8])
def test_a_body_of_another_length_changes_no_sum(length: int) -> None:
    upload = Streams((1 << 18,), 77)
    summed = Accumulator(upload, upload)
    body = upload.pack(np.full((1, 77), 5, np.uint64))
    summed.add(body, what="It")
    with pytest.raises(errors.WrongLengthError, match="It holds"):
        summed.add((body + bytes(8))[: len(body) + length], what="It")
    with pytest.raises(errors.LeftoverError, match="padding"):
        summed.add(body[:-1] + b"\x80", what="It")
    assert (summed.total == 5).all()
