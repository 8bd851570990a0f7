import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import SumSpec
from protocols.pairwise.masks import MaskSum, width_of


def slow_mask(seed: bytes, width: int, length: int) -> list[int]:
    """The mask from its definition, in Python's integers."""
    slots = 64 // width
    n_words = -(-length // slots)
    stream = Cipher(AES(seed), CTR(bytes(15) + b"\2")).encryptor().update(bytes(8 * n_words))
    words = [int.from_bytes(stream[8 * i : 8 * i + 8], "little") for i in range(n_words)]
    numbers = [word >> (64 // slots * slot) & ((1 << width) - 1) for slot in range(slots) for word in words]
    return numbers[:length]


@settings(deadline=None, max_examples=80)
@given(
    st.integers(1, 63),
    st.integers(1, 70),
    st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.booleans()), max_size=6),
)
def test_sums_of_masks_are_sums_modulo_the_power_of_two(
    width: int, length: int, seeds: list[tuple[bytes, bool]]
) -> None:
    total = MaskSum(width, length)
    expected = [0] * length
    for seed, adds in seeds:
        (total.add if adds else total.subtract)(seed)
        sign = 1 if adds else -1
        expected = [
            (e + sign * m) % (1 << width) for e, m in zip(expected, slow_mask(seed, width, length), strict=True)
        ]
    assert total.values().tolist() == expected


def test_a_mask_added_and_subtracted_is_gone() -> None:
    total = MaskSum(18, 1000)
    total.add(bytes(32))
    assert total.values().any()
    total.subtract(bytes(32))
    assert not total.values().any()


@pytest.mark.parametrize(("bound", "width"), [(127, 18), (32767, 26)])
def test_a_thousand_clients_need_no_more_bits_than_their_sum_has(bound: int, width: int) -> None:
    spec = SumSpec(53_824, 1000, 2, bound)
    assert width_of(spec) == width
    assert 1 << width > 2 * spec.sum_bound + 1 > 1 << (width - 1)


@pytest.mark.parametrize("width", [3, 18, 26, 33])
def test_every_number_of_a_mask_is_equally_likely(width: int) -> None:
    """Chi-squared over the lowest and the highest bits of every slot; the limits are exceeded once in 10^9."""
    total = MaskSum(width, 60_000)
    total.add(bytes(range(32)))
    values = total.values()
    for shift in (0, max(width - 4, 0)):
        bits = min(4, width)
        counts = np.bincount((values >> np.uint64(shift) & np.uint64((1 << bits) - 1)).astype(int), minlength=1 << bits)
        expected = len(values) / (1 << bits)
        assert ((counts - expected) ** 2 / expected).sum() < 80


def test_masks_do_not_show_themselves() -> None:
    total = MaskSum(18, 10)
    total.add(bytes(32))
    assert repr(total) == "MaskSum(width=18, length=10)"
    total.erase()
    assert not total.values().any()
