"""Draws from a table are the inverse of the distribution function, whatever the words."""

import json
from bisect import bisect_right
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securerec.privacy.discrete_gaussian import DiscreteGaussian
from securerec.privacy.discrete_laplace import DiscreteLaplace
from securerec.privacy.exact_sampler import _BLOCK, ExactSampler, _table
from securerec.privacy.randomness import NoiseKey
from securerec.privacy.skellam import Skellam

LAWS = [DiscreteGaussian(0.5), DiscreteGaussian(7.3), Skellam(0.25), Skellam(53.3), DiscreteLaplace(0.25),
        DiscreteLaplace(5.2)]  # fmt: skip
LARGE = [DiscreteGaussian(4000.0), Skellam(1.6e7), DiscreteLaplace(2828.0)]
VECTORS = Path(__file__).with_name("draws.json")
Magnitudes = Callable[..., list[Decimal]]


def slow_draws(exact: list[Decimal], words: list[int], size: int) -> list[int]:
    """The draws of up to a block, from the whole uniform at once and a search among 100 digits of P(|X| <= m)."""
    firsts = [words[k // 4] >> 16 * (k % 4) & 0xFFFF for k in range(size)]
    rest = iter(words[-(-size // 4) :])
    uniforms = {k: (first >> 1, 15) for k, first in enumerate(firsts)}

    def more(width: int) -> None:
        """Extend each uniform on both of whose sides an outcome is left, in the order of the draws."""
        for k, (uniform, bits) in uniforms.items():
            start, end = Decimal(uniform) / 2**bits, Decimal(uniform + 1) / 2**bits
            if bisect_right(exact, start) != bisect_right(exact, end):
                uniforms[k] = uniform << width | next(rest) & (1 << width) - 1, bits + width

    more(48)
    more(64)
    outcomes = [bisect_right(exact, Decimal(uniform) / 2**bits) for uniform, bits in uniforms.values()]
    return [-m if first & 1 else m for m, first in zip(outcomes, firsts, strict=True)]


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_the_table_is_the_exact_floor_of_the_distribution_function(
    law: ExactSampler, exact_magnitudes: Magnitudes
) -> None:
    thresholds = [int(t) for t in _table(law).thresholds]
    exact = exact_magnitudes(law)
    assert thresholds == [int(f * 2**63) for f in exact[: len(thresholds)]]
    assert thresholds[-1] == 2**63 - 1 and thresholds[-2] < 2**63 - 1


@pytest.mark.parametrize("law", [*LAWS, Skellam(3.7), Skellam(200.0), DiscreteGaussian(40.0), DiscreteLaplace(12.0)],
                         ids=str)  # fmt: skip
@pytest.mark.parametrize("bits", [63, 127, 255])
def test_bounds_hold_the_distribution_function_between_them(
    law: ExactSampler, bits: int, exact_magnitudes: Magnitudes
) -> None:
    bounds = list(law.cumulative_bounds(bits))
    for (below, above), exact in zip(bounds, exact_magnitudes(law), strict=False):
        assert 0 <= below <= exact * 2**bits < above + 1
        assert above - below <= 1
    assert bounds[-1][0] == 2**bits - 1


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_fast_draws_are_the_slow_ones(law: ExactSampler, exact_magnitudes: Magnitudes) -> None:
    words = NoiseKey.from_seed(24).stream(str(law), 0, 0).uint64(9001).tolist()
    size = 3001
    assert law.sample(NoiseKey.from_seed(24).stream(str(law), 0, 0), size).tolist() == slow_draws(
        exact_magnitudes(law), words, size
    )


@pytest.mark.parametrize("law", [*LAWS, *LARGE], ids=str)
def test_a_sign_and_fifteen_bits_decide_only_what_no_further_bit_could_change(law: ExactSampler) -> None:
    table = _table(law)
    cells = np.arange(1 << 15, dtype=np.uint64)
    lowest = np.searchsorted(table.thresholds, cells << np.uint64(48), side="left")  # a threshold may be the start
    highest = np.searchsorted(table.thresholds, (cells + np.uint64(1) << np.uint64(48)) - np.uint64(1), side="right")
    decided = table.values != -(1 << 15)
    positive, negative = decided[0::2], decided[1::2]
    np.testing.assert_array_equal(positive, negative)
    assert (lowest[positive] == highest[positive]).all()
    np.testing.assert_array_equal(table.values[0::2][positive], lowest[positive])
    np.testing.assert_array_equal(table.values[1::2][positive], -lowest[positive])
    assert (lowest == highest)[lowest < 1 << 15].sum() == positive.sum()


@pytest.mark.parametrize("law", [*LAWS[:2], *LARGE], ids=str)
def test_the_search_agrees_with_another_around_every_threshold(law: ExactSampler, told: Any) -> None:
    thresholds = [int(t) for t in _table(law).thresholds]
    wanted = sorted({u for t in thresholds for u in (t - 1, t + 1) if 0 <= u < 2**63} - set(thresholds))[:20_000]
    undecided = [u for u in wanted if _table(law).values[u >> 48 << 1] == -(1 << 15)]
    undecided = undecided[: len(undecided) // 4 * 4]
    for start in range(0, len(undecided), _BLOCK):
        block = undecided[start : start + _BLOCK]
        firsts = [
            sum((u >> 48 << 1) << 16 * k for k, u in enumerate(block[i : i + 4])) for i in range(0, len(block), 4)
        ]
        samples = law.sample(told([*firsts, *block]), len(block))
        assert samples.tolist() == [bisect_right(thresholds, u) for u in block]


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("m", [0, 1, 5, 20])
@pytest.mark.parametrize("law", [DiscreteGaussian(7.3), Skellam(53.3), DiscreteLaplace(5.2)], ids=str)
def test_a_uniform_in_the_cell_of_a_threshold_is_decided_by_further_words(
    law: ExactSampler, m: int, sign: int, told: Any, exact_magnitudes: Magnitudes
) -> None:
    exact = exact_magnitudes(law)[m]
    first = int(exact * 2**63)
    second = int(exact * 2**127) - (first << 64)
    third = int(exact * 2**191) - (first << 128) - (second << 64)
    begin, outcomes = [first >> 48 << 1 | sign, first & (1 << 48) - 1], []
    for further in ([second - 1], [second + 1], [second, third - 1], [second, third + 1]):
        stream = told([*begin, *further])
        outcomes.append(int(law.sample(stream, 1)[0]))
        assert stream.taken == 2 + len(further)
    expected = [m, m + 1, m, m + 1]
    assert outcomes == [-x for x in expected] if sign else outcomes == expected


@pytest.mark.parametrize("law", [DiscreteGaussian(2.0), Skellam(4.0), DiscreteLaplace(1.5)], ids=str)
def test_the_tail_beyond_the_table_is_reached(law: ExactSampler, told: Any, exact_magnitudes: Magnitudes) -> None:
    length, top = len(_table(law).thresholds), 2**64 - 1
    stream = told([0xFFFF, top, top, top, 12345])
    assert law.sample(stream, 1)[0] < -length  # all ones is negative, and 191 bits reach further than 63
    assert stream.taken == 5
    uniform = Decimal(((2**63 - 1) << 128) + (top << 64) + 12345) / 2**191
    expected = bisect_right(exact_magnitudes(law), uniform)
    assert law.sample(told([0xFFFE, top, top, 12345]), 1)[0] == expected


@settings(deadline=None)
@given(
    law=st.sampled_from([DiscreteGaussian(1.7), Skellam(3.1), DiscreteLaplace(1.2)]),
    m=st.integers(0, 14),
    shift=st.integers(-2, 2),
    sign=st.integers(0, 1),
    rest=st.lists(st.integers(0, 2**64 - 1), min_size=4, max_size=4),
)
def test_any_words_give_the_inverse_of_the_distribution_function(
    law: ExactSampler, m: int, shift: int, sign: int, rest: list[int], told: Any, exact_magnitudes: Magnitudes
) -> None:
    exact = exact_magnitudes(law)
    uniform = min(max(int(exact[m] * 2**63) + shift, 0), 2**63 - 1)
    bits = uniform
    for word in rest:
        bits = bits << 64 | word
    drawn = law.sample(told([uniform >> 48 << 1 | sign, uniform & (1 << 48) - 1, *rest]), 1)[0]
    assert drawn == (-1) ** sign * bisect_right(exact, Decimal(bits) / 2 ** (63 + 64 * 4))


def test_a_tie_in_the_middle_leaves_the_other_draws_alone(told: Any) -> None:
    law = DiscreteGaussian(7.3)
    words = NoiseKey.from_seed(1).stream("a", 0, 0).uint64(60).tolist()
    tie = int(_table(law).thresholds[3])
    words[12] = words[12] & ~0xFFFF | (tie >> 48 << 1)
    first = [w >> 16 * j & 0xFFFF for w in words[:25] for j in range(4)]
    place = sum(_table(law).values[f] == -(1 << 15) for f in first[:48])  # undecided draws before number 48
    words[25 + place] = tie & (1 << 48) - 1
    stream = told([*words])
    mixed = law.sample(stream, 100)
    left = sum(_table(law).values[f] == -(1 << 15) for f in first)
    assert stream.taken == 25 + left + 1
    words[25 + place] += 1
    plain = law.sample(told(words), 100)
    assert mixed[48] in (3, 4) and plain[48] == 4
    np.testing.assert_array_equal(np.delete(mixed, 48), np.delete(plain, 48))


@pytest.mark.parametrize("law", [DiscreteGaussian(172.0), Skellam(900.0), LARGE[0]], ids=str)
@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, _BLOCK - 1, _BLOCK, 2 * _BLOCK + 3])
def test_drawing_adds_to_what_is_there(law: ExactSampler, size: int) -> None:
    key = NoiseKey.from_seed(2)
    before = np.arange(size, dtype=np.int64) - 7
    after = before.copy()
    law.add_to(after, key.stream("add", 0, 0))
    np.testing.assert_array_equal(after - before, law.sample(key.stream("add", 0, 0), size))


def test_draws_are_those_on_file(exact_magnitudes: Magnitudes) -> None:
    laws: dict[str, Callable[[float], ExactSampler]] = {
        "gaussian": DiscreteGaussian, "skellam": Skellam, "laplace": DiscreteLaplace
    }  # fmt: skip
    vectors = json.loads(VECTORS.read_text())
    assert {vector["law"] for vector in vectors} == laws.keys()
    for vector in vectors:
        law = laws[vector["law"]](vector["parameter"])
        words = [int(word, 16) for word in vector["words"]]
        assert NoiseKey.from_seed(vector["seed"]).stream("vectors", 1, 2).uint64(len(words)).tolist() == words
        stream = NoiseKey.from_seed(vector["seed"]).stream("vectors", 1, 2)
        assert law.sample(stream, len(vector["draws"])).tolist() == vector["draws"]
        assert slow_draws(exact_magnitudes(law), words, len(vector["draws"])) == vector["draws"]
