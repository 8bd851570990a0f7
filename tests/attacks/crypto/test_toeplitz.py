import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.crypto import toeplitz
from protocols.ring import largest_primes

PRIME = largest_primes(54, 8192, 1)[0]


@given(st.integers(1, 12), st.sampled_from([7, 101, PRIME]), st.integers(0, 2**32))
def test_solution_satisfies_the_system_written_out(size: int, q: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    below, above, right = rng.integers(0, q, (3, size)).tolist()
    above[0] = below[0]
    x = toeplitz.solve(below, above, right, q)
    if x is None:
        assert q < 1000 or below[0] == 0  # a singular block is all but impossible modulo a large prime
        return
    for i in range(size):
        row = [below[i - j] if i >= j else above[j - i] for j in range(size)]
        assert sum(t * each for t, each in zip(row, x, strict=True)) % q == right[i]


@pytest.mark.parametrize(("below", "above"), [([0, 1], [0, 1]), ([1, 1], [1, 1])])
def test_a_singular_leading_block_gives_none(below: list[int], above: list[int]) -> None:
    assert toeplitz.solve(below, above, [1, 1], 7) is None
