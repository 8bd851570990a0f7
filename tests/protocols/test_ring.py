import numpy as np
import pytest
import tenseal.sealapi as seal
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.ckks.seal_bytes import SealBytes, make_context
from protocols.ring import Ring, is_prime, largest_primes, minimal_root

Q17, Q60 = largest_primes(17, 64, 1)[0], largest_primes(60, 64, 1)[0]


def schoolbook(a: list[int], b: list[int], q: int) -> list[int]:
    """a b modulo X^N + 1, from the definition."""
    n = len(a)
    product = [0] * n
    for i in range(n):
        for j in range(n):
            sign = 1 if i + j < n else -1
            product[(i + j) % n] += sign * a[i] * b[j]
    return [x % q for x in product]


def evaluations(a: list[int], q: int) -> list[int]:
    """a at the odd powers of the root, in bit-reversed order: what the transform is by definition."""
    n = len(a)
    root = minimal_root(n, q)
    bits = n.bit_length() - 1
    exponents = [2 * int(format(i, f"0{bits}b")[::-1], 2) + 1 for i in range(n)]
    return [sum(x * pow(root, e * k, q) for k, x in enumerate(a)) % q for e in exponents]


@st.composite
def polynomials(draw: st.DrawFn) -> tuple[int, int, list[int], list[int]]:
    degree = draw(st.sampled_from([4, 8, 32, 64]))
    q = draw(st.sampled_from([Q17, Q60]))
    coefficient = st.one_of(st.integers(0, q - 1), st.sampled_from([0, 1, q - 1]))
    polynomial = st.lists(coefficient, min_size=degree, max_size=degree)
    return degree, q, draw(polynomial), draw(polynomial)


@settings(deadline=None)
@given(polynomials())
def test_transform_is_evaluation_at_the_roots_and_multiplies_like_the_schoolbook(
    case: tuple[int, int, list[int], list[int]],
) -> None:
    degree, q, a, b = case
    ring = Ring(degree, q)
    x, y = np.array(a, np.uint64), np.array(b, np.uint64)
    ring.forward(x)
    ring.forward(y)
    assert x.tolist() == evaluations(a, q)
    product = np.array([int(u) * int(v) % q for u, v in zip(x, y, strict=True)], np.uint64)
    ring.inverse(product)
    assert product.tolist() == schoolbook(a, b, q)


@settings(deadline=None)
@given(
    st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=20),
    st.integers(-(2**200), 2**200),
    st.sampled_from([Q17, Q60]),
)
def test_adding_a_multiple_is_exact_for_values_and_factors_of_any_size(values: list[int], factor: int, q: int) -> None:
    total = np.arange(len(values) + 2, dtype=np.uint64)
    expected = [(i + value * factor) % q for i, value in enumerate([*values, 0, 0])]
    Ring.of(64, q).add_multiple(total, np.array(values, np.int64), factor)
    assert total.tolist() == expected


@pytest.mark.parametrize(("degree", "bits"), [(2048, 54), (4096, 44), (8192, 54), (16384, 60)])
def test_primes_are_the_ones_seal_would_choose(degree: int, bits: int) -> None:
    ours = largest_primes(bits, degree, 3)
    assert sorted(ours) == sorted(m.value() for m in seal.CoeffModulus.Create(degree, [bits] * 3))


@pytest.mark.parametrize(("degree", "bits"), [(4096, (44, 43, 16)), (8192, (54, 53, 17)), (2048, (50,))])
def test_transform_has_the_order_and_roots_of_seal(degree: int, bits: tuple[int, ...]) -> None:
    primes = tuple(largest_primes(b, degree, 1)[0] for b in bits)
    context = make_context(degree, primes)
    n_data = max(1, len(primes) - 1)
    moved = SealBytes(context)
    rng = np.random.default_rng(1)
    residues = np.stack([[rng.integers(0, q, degree, dtype=np.uint64) for q in primes[:n_data]] for _ in range(2)])
    ciphertext = seal.Ciphertext()
    moved.load_ciphertext(residues, ciphertext, context.first_parms_id())
    evaluator = seal.Evaluator(context)
    evaluator.transform_from_ntt_inplace(ciphertext)
    for polynomial, transformed in enumerate(residues):
        for index, q in enumerate(primes[:n_data]):
            ours = transformed[index].copy()
            Ring.of(degree, q).inverse(ours)
            start = (polynomial * n_data + index) * degree
            assert [ciphertext[start + i] for i in range(64)] == ours[:64].tolist()
            assert ciphertext[start + degree - 1] == int(ours[-1])


def test_primality_of_small_numbers_and_of_known_pseudoprimes() -> None:
    sieve = [n for n in range(2000) if n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))]
    assert [n for n in range(2000) if is_prime(n)] == sieve
    assert not is_prime(3215031751)  # a strong pseudoprime to the bases 2, 3, 5 and 7
    assert not is_prime(3825123056546413051)  # to the first nine prime bases
    assert is_prime((1 << 61) - 1)
