"""TenSEAL's doubles give the secret key away; what the `ckks` protocol releases does not."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import tenseal as ts
import tenseal.sealapi as seal  # registers the types of a context's parts
from numpy.typing import NDArray

from attacks.crypto.crafted_upload import recover_key
from attacks.crypto.key_recovery import from_doubles, from_integers, from_plaintexts, grid_point
from attacks.errors import AttackError
from protocols import SumSpec
from protocols.ckks.seal_bytes import SealBytes, make_context
from protocols.ring import Ring

GRID = 2.0**-12
RELEASED = [
    SumSpec(36_000, 20, 1, 127, 2.0),  # two ciphertexts, one with its whole c0
    SumSpec(53_824, 1000, 1, 127),  # one ciphertext without the last coefficients of c0
]


class Tenseal:
    """A TenSEAL context as a user makes it, whose secret key the test reads to compare."""

    def __init__(self, degree: int, bits: list[int], scale: int) -> None:
        self.degree = degree
        self.context = ts.context(ts.SCHEME_TYPE.CKKS, degree, coeff_mod_bit_sizes=bits)
        self.context.global_scale = 2**scale
        self.primes = tuple(q.value() for q in seal.CoeffModulus.Create(degree, bits))
        self.data_primes = self.primes[:-1]

    def sum_of(self, n_clients: int, rng: np.random.Generator, length: int | None = None) -> Any:
        shape = (n_clients, length or self.degree)
        values = np.rint(rng.uniform(-1, 1, shape) / GRID) * GRID
        total = ts.ckks_vector(self.context, values[0])
        for row in values[1:]:
            total += ts.ckks_vector(self.context, row)
        return total

    def key(self) -> NDArray[np.int8]:
        reader = SealBytes(make_context(self.degree, self.primes))
        residues = reader.plaintext(self.context.secret_key().data, len(self.primes), self.degree)[0]
        q = self.primes[0]
        Ring.of(self.degree, q).inverse(residues)
        return np.where(residues == q - 1, -1, residues.astype(np.int64)).astype(np.int8)

    def attack(self, *vectors: tuple[bytes, Any]) -> Any:
        return from_doubles(vectors, degree=self.degree, data_primes=self.data_primes)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.fixture(scope="module")
def tenseal() -> Tenseal:
    return Tenseal(4096, [60, 49], 40)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("degree", "bits", "scale", "n_clients"),
    [
        (4096, [60, 49], 40, 1),
        (4096, [60, 49], 40, 10),
        (4096, [60, 49], 30, 10),
        (4096, [40, 60], 24, 1),
        (8192, [60, 40, 40, 60], 40, 1),
    ],
)
def test_the_whole_key_follows_from_tenseals_doubles(
    degree: int, bits: list[int], scale: int, n_clients: int, rng: np.random.Generator
) -> None:
    target = Tenseal(degree, bits, scale)
    released = target.sum_of(n_clients, rng)
    attempt = target.attack((released.serialize(), released.decrypt()))
    assert attempt.key is not None and (attempt.key == target.key()).all()


def test_two_sums_of_one_ciphertext_each_do_as_well(tenseal: Tenseal, rng: np.random.Generator) -> None:
    rounds = [tenseal.sum_of(3, rng, tenseal.degree // 2) for _ in range(2)]
    attempt = tenseal.attack(*((each.serialize(), each.decrypt()) for each in rounds))
    assert attempt.key is not None and (attempt.key == tenseal.key()).all()


@pytest.mark.parametrize("release", ["on the grid", "off the grid", "float32", "flooded"])
def test_the_linear_solve_finds_nothing_in_rounded_or_flooded_doubles(
    tenseal: Tenseal, rng: np.random.Generator, release: str
) -> None:
    total = tenseal.sum_of(10, rng)
    raw = np.array(total.decrypt())
    released = {
        "on the grid": np.rint(raw / GRID) * GRID,
        "off the grid": np.rint(raw / (3 * GRID)) * 3 * GRID,
        "float32": raw.astype(np.float32),
        "flooded": raw + rng.normal(0, 1e-9, raw.shape),
    }[release]
    attempt = tenseal.attack((total.serialize(), released))
    assert attempt.key is None and attempt.solved == 1 and attempt.ternary < 0.01


def test_doubles_of_another_ciphertext_or_key_give_nothing(tenseal: Tenseal, rng: np.random.Generator) -> None:
    one, other = (tenseal.sum_of(1, rng) for _ in range(2))
    foreign = Tenseal(4096, [60, 49], 40).sum_of(1, rng)
    assert tenseal.attack((one.serialize(), other.decrypt())).key is None
    half = tenseal.sum_of(1, rng, 2048), Tenseal(4096, [60, 49], 40).sum_of(1, rng, 2048)
    assert tenseal.attack(*((each.serialize(), each.decrypt()) for each in half)).key is None
    assert tenseal.attack((foreign.serialize(), foreign.decrypt())).key is not None


def test_one_ciphertext_twice_is_one_equation_and_gives_nothing(tenseal: Tenseal, rng: np.random.Generator) -> None:
    vector = tenseal.sum_of(1, rng, 2048)
    twice = [(vector.serialize(), vector.decrypt())] * 2
    attempt = tenseal.attack(*twice)
    assert attempt.key is None and attempt.solved == 0


def test_what_cannot_be_attacked_is_refused_in_a_sentence(tenseal: Tenseal, rng: np.random.Generator) -> None:
    vector = tenseal.sum_of(1, rng)
    data, values = vector.serialize(), vector.decrypt()
    short = tenseal.sum_of(1, rng, 3000)
    for bytes_given, doubles, message in [
        (data, values[:-1], "one a value"),
        (data, [*values[:-1], float("nan")], "finite"),
        (short.serialize(), short.decrypt(), "two ciphertexts"),
        (data[:-4], values, "cut short|no serialised"),
        (data[: len(data) // 2], values, "cut short|no serialised"),
        (b"", values, "no serialised"),
        (b"\xff" * 50, values, "too long"),
        (data[:30] + b"\0" * 8 + data[38:], values, "cannot read"),
    ]:
        with pytest.raises(AttackError, match=message):
            tenseal.attack((bytes_given, doubles))
    for degree, primes in ((4096, tenseal.primes), (4096, ()), (4097, tenseal.data_primes), (4096, (12,))):
        with pytest.raises(AttackError, match="data_primes"):
            from_doubles([(data, values)], degree=degree, data_primes=primes)
    with pytest.raises(AttackError, match="other primes"):
        from_doubles([(data, values)], degree=4096, data_primes=tenseal.primes[1:])


def test_damaged_vectors_are_refused_and_never_give_a_wrong_key(tenseal: Tenseal, rng: np.random.Generator) -> None:
    vector = tenseal.sum_of(1, rng)
    data, values = vector.serialize(), vector.decrypt()
    key = tenseal.key()
    # Most of the bytes are residues; headers and shapes come first, the scale last.
    places = np.concatenate([np.arange(130), rng.integers(0, len(data), 60), len(data) - np.arange(1, 10)])
    refused = 0
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= int(rng.integers(1, 256))
        try:
            found = tenseal.attack((bytes(damaged), values)).key
            # Such as the scale's last bit do no harm.
            assert found is None or (found == key).all()
        except AttackError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 60


@pytest.mark.parametrize("spec", RELEASED, ids=lambda spec: str(spec.length))
def test_nothing_is_recovered_from_what_ckks_releases_and_rounding_alone_is_why(
    make_target: Any, rng: np.random.Generator, spec: SumSpec
) -> None:
    target = make_target(spec)
    p = target.parameters
    whole = p.n_coefficients // p.degree
    uploads = rng.integers(-127, 127, (2, 10, spec.length), endpoint=True)
    # Sums of ten, of one, of nothing but zeros: all that a decryptor would ever release, its kindest cases included.
    rounds = [target.run(list(values)) for values in uploads]
    rounds += [target.run([uploads[0, 0]]), target.run([np.zeros(spec.length, np.int64)])]
    attempt = from_integers(rounds, p)
    assert attempt.key is None and attempt.solved == (4 * whole or 6) and attempt.ternary < 0.01

    # With the noise that rounding took away, the same solve finds the key.
    key = recover_key(p, target.public_key, lambda body: target.run([], body)[1], amplitude=1)
    assert key is not None
    cases = [(target.residues(body), target.decrypt(body, key)) for body, _ in rounds]
    q = p.data_primes[0]
    for (_, exact), (_, opened) in zip(cases, rounds, strict=True):
        noise = (exact - grid_point(p, opened) + q // 2) % q - q // 2
        assert 0 < np.abs(noise).max() <= p.noise_bound(10)
    for some in [cases[i : i + 1] for i in range(4)] if whole else [cases[:2], cases[2:]]:
        unrounded = from_plaintexts(some, p)
        assert unrounded.solved == 1 and unrounded.key is not None and (unrounded.key == key).all()
    # One unit more in one coefficient of each, and all is garbage again.
    for _, exact in cases:
        exact[:: p.degree] += 1
    assert from_plaintexts(cases, p).ternary < 0.01


def test_sums_that_cannot_be_attacked_are_refused_in_a_sentence(make_target: Any) -> None:
    spec = RELEASED[0]
    target = make_target(spec)
    p = target.parameters
    body, opened = target.run([np.ones(spec.length, np.int64)])
    with pytest.raises(AttackError, match="bytes of residues"):
        from_integers([(body[:-8], opened)], p)
    with pytest.raises(AttackError, match=f"has {spec.length} integers"):
        from_integers([(body, opened[:-1])], p)
    for other, count in ((RELEASED[1], 1), (SumSpec(300, 20, 1, 100), 3)):
        short = make_target(other)
        sums = [short.run([np.ones(other.length, np.int64)]) for _ in range(count)]
        with pytest.raises(AttackError, match="two sums of at least"):
            from_integers(sums, short.parameters)


def test_an_attempt_does_not_print_the_key(tenseal: Tenseal, rng: np.random.Generator) -> None:
    released = tenseal.sum_of(1, rng)
    attempt = tenseal.attack((released.serialize(), released.decrypt()))
    assert attempt.key is not None
    assert "array" not in repr(attempt) and "key" not in repr(attempt)
    assert {each.name for each in dataclasses.fields(attempt)} == {"key", "solved", "ternary"}
