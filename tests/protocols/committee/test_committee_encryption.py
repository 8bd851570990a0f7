"""The arithmetic alone; SEAL, through TenSEAL, is the oracle of the opening."""

import dataclasses
import struct
from typing import Any

import numpy as np
import pytest
import tenseal.sealapi as seal
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from protocols.accumulator import Accumulator
from protocols.ckks.seal_bytes import SealBytes, make_context
from protocols.committee.encryption import completed, decode, decrypt, encrypt, multiply
from protocols.committee.expansion import common_polynomials
from protocols.committee.parameters import Parameters, choose
from protocols.errors import NoiseError, RangeError
from protocols.ring import Ring, largest_primes
from protocols.spec import SumSpec

SPECS = {
    "one prime, bits dropped": SumSpec(9000, 50, 1, 127, 2.0),
    "one short ciphertext": SumSpec(7, 50, 1, 1 << 20),
    "two primes": SumSpec(300, 50, 1, 1 << 40),
}


def encrypted_sum(
    parameters: Parameters, vectors: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]:
    """(a, summed keys, summed ciphertexts) of one client for each row."""
    a = common_polynomials(b"\7" * 32, parameters.primes, parameters.n_ciphertexts, parameters.degree)
    total = Accumulator(parameters.ciphertext, parameters.total)
    keys = np.zeros((len(parameters.primes), parameters.degree), object)
    for vector in vectors:
        body, key = encrypt(parameters, a, vector)
        total.add(body, what="It")
        keys += key.astype(object)
    modulus = np.array(parameters.primes, object)[:, None]
    return a, (keys % modulus).astype(np.uint64), total.total


def vectors_for(spec: SumSpec, n_clients: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(n_clients)
    vectors = rng.integers(-spec.value_bound, spec.value_bound, (n_clients, spec.length), endpoint=True)
    vectors[:, 0], vectors[:, -1] = spec.value_bound, -spec.value_bound
    return vectors


@settings(deadline=None)
@given(st.data())
def test_products_are_those_of_python(data: st.DataObject) -> None:
    q = data.draw(st.sampled_from([largest_primes(bits, 64, 1)[0] for bits in (17, 50, 60)]))
    numbers = st.lists(st.one_of(st.integers(0, q - 1), st.sampled_from([0, 1, q - 1])), min_size=9, max_size=9)
    a, b = data.draw(numbers), data.draw(numbers)
    product = multiply(np.array(a, np.uint64), np.array(b, np.uint64), q)
    assert product.tolist() == [x * y % q for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("n_clients", [1, 2, 13, 50])
def test_the_sum_opens_exactly_under_the_sum_of_keys(name: str, n_clients: int) -> None:
    spec = SPECS[name]
    parameters = choose(spec, members=7, threshold=5)
    vectors = vectors_for(spec, n_clients)
    a, keys, total = encrypted_sum(parameters, vectors)
    assert (decrypt(parameters, a, keys, total, n_clients) == vectors.sum(0)).all()


def test_ciphertexts_of_zeros_look_uniform_and_never_repeat() -> None:
    spec = SPECS["one prime, bits dropped"]
    parameters = choose(spec, members=7, threshold=5)
    a = common_polynomials(bytes(32), parameters.primes, parameters.n_ciphertexts, parameters.degree)
    bodies = [encrypt(parameters, a, np.zeros(spec.length, np.int64))[0] for _ in range(2)]
    residues = parameters.ciphertext.zeros()
    parameters.ciphertext.unpack(bodies[0], residues, what="It")
    counts = np.bincount((residues[0] * np.uint64(16) // np.uint64(parameters.ciphertext.moduli[0])).astype(int))
    assert abs(counts - parameters.n_coefficients / 16).max() < 6 * (parameters.n_coefficients / 16) ** 0.5
    assert bodies[0] != bodies[1]


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32))
def test_ciphertexts_are_what_the_definition_says(seed: int) -> None:
    """c + a s, multiplied out the slow way in the first coefficients, is the message within the errors' reach."""
    spec = SumSpec(5, 3, 1, 100)
    parameters = choose(spec, members=3, threshold=2)
    (q,), degree = parameters.primes, parameters.degree
    values = np.random.default_rng(seed).integers(-100, 101, 5)
    a = common_polynomials(bytes(32), parameters.primes, 1, degree)
    body, key = encrypt(parameters, a, values)
    sent = parameters.ciphertext.zeros()
    parameters.ciphertext.unpack(body, sent, what="It")
    polynomials = [a[0, 0].copy(), key[0].copy()]
    for polynomial in polynomials:
        Ring.of(degree, q).inverse(polynomial)
    x, s = (p.tolist() for p in polynomials)
    centred = [v - q if v > q // 2 else v for v in s]
    assert max(map(abs, centred)) < 50 and abs(np.std(centred) - 3.2 * 2**0.5) < 0.6
    for k in range(parameters.n_coefficients):
        product = sum(x[i] * s[(k - i) % degree] * (1 if i <= k else -1) for i in range(degree))
        fields = range(k, 5, parameters.n_coefficients)
        message = parameters.scale * sum(int(values[i]) * parameters.radix**f for f, i in enumerate(fields))
        off = ((int(sent[0, k]) << parameters.dropped) + product - message + q // 2) % q - q // 2
        assert -45 - (1 << parameters.dropped) < off < 45


def test_every_coefficient_carries_a_fresh_gaussian_error() -> None:
    """With no bits dropped, what is left of c + a s - m is the error itself."""
    spec = SumSpec(20_000, 50, 1, 127)
    parameters = dataclasses.replace(choose(spec, members=7, threshold=5), dropped=0)
    (q,), degree = parameters.primes, parameters.degree
    a = common_polynomials(bytes(32), parameters.primes, parameters.n_ciphertexts, degree)
    seen = []
    for _ in range(2):
        body, key = encrypt(parameters, a, np.zeros(spec.length, np.int64))
        sent = parameters.ciphertext.zeros()
        parameters.ciphertext.unpack(body, sent, what="It")
        products = []
        for a_row in a[0]:
            product = multiply(a_row, key[0], q)
            Ring.of(degree, q).inverse(product)
            products.append(product)
        errors = (sent[0] + np.concatenate(products)[: parameters.n_coefficients]) % np.uint64(q)
        errors = errors.view(np.int64)
        errors[errors > q // 2] -= q
        seen.append(errors)
    for errors in seen:
        assert abs(errors.std() / (3.2 * 2**0.5) - 1) < 0.05
        assert abs(errors.mean()) < 0.3
        assert np.abs(errors).max() < 45
    correlation = np.corrcoef(seen[0], seen[1])[0, 1]
    assert abs(correlation) < 6 / parameters.n_coefficients**0.5


def test_a_foreign_key_or_a_changed_sum_is_refused_for_its_noise() -> None:
    spec = SPECS["one prime, bits dropped"]
    parameters = choose(spec, members=7, threshold=5)
    a, keys, total = encrypted_sum(parameters, vectors_for(spec, 3))
    changed = total.copy()
    changed[0, 100] ^= np.uint64(1 << 12)
    with pytest.raises(NoiseError, match="off the grid"):
        decrypt(parameters, a, keys, changed, 3)
    with pytest.raises(NoiseError):
        decrypt(parameters, a, (keys + np.uint64(1)) % np.uint64(parameters.primes[0]), total, 3)


@pytest.mark.parametrize("name", ["one prime, bits dropped", "two primes"])
def test_fields_beyond_their_bounds_are_refused(name: str) -> None:
    spec = SPECS[name]
    parameters = choose(spec, members=7, threshold=5)
    beyond = parameters.scale * parameters.radix**parameters.fields * 6 // 10
    residues = np.zeros((len(parameters.primes), parameters.n_coefficients), np.uint64)
    for row, q in zip(residues, parameters.primes, strict=True):
        row[0] = beyond % q
    with pytest.raises((RangeError, NoiseError)):
        decode(parameters, residues, 3)


def load_secret_key(moved: SealBytes, residues: NDArray[np.uint64]) -> Any:
    """A SEAL SecretKey of transformed residues (primes, degree), in SEAL's serialised form."""
    numbers = residues.astype("<u8").tobytes()
    array = moved._header(8 + len(numbers)) + struct.pack("<Q", residues.size) + numbers
    parms_id = moved.context.key_parms_id()
    body = struct.pack("<4QQd", *parms_id, residues.size, 1.0) + array
    key = seal.SecretKey()
    with open(moved._path, "wb") as file:
        file.write(moved._header(len(body)) + body)
    key.load(moved.context, moved._path)
    return key


def test_seal_decrypts_the_opened_pair_to_the_same_sums() -> None:
    spec = SumSpec(9000, 50, 1, 127, 2.0)
    parameters = choose(spec, members=7, threshold=5)
    assert len(parameters.primes) == 1 and parameters.n_ciphertexts > 1 and parameters.dropped > 0
    vectors = vectors_for(spec, 20)
    a, keys, total = encrypted_sum(parameters, vectors)
    context = make_context(parameters.degree, parameters.primes)
    moved = SealBytes(context)
    decryptor = seal.Decryptor(context, load_secret_key(moved, keys))
    ring = Ring.of(parameters.degree, parameters.primes[0])
    c0 = np.zeros(parameters.n_ciphertexts * parameters.degree, np.uint64)
    c0[: parameters.n_coefficients] = completed(parameters, total, 20)[0]
    opened = []
    for first, a_row in zip(c0.reshape(-1, parameters.degree), a[0], strict=True):
        ring.forward(first)
        ciphertext, plaintext = seal.Ciphertext(), seal.Plaintext()
        moved.load_ciphertext(np.stack([first[None], a_row[None]]), ciphertext, context.first_parms_id())
        decryptor.decrypt(ciphertext, plaintext)
        row = moved.plaintext(plaintext, 1, parameters.degree)[0]
        ring.inverse(row)
        opened.append(row)
    by_seal = np.concatenate(opened)[None, : parameters.n_coefficients]
    assert (decode(parameters, by_seal, 20) == vectors.sum(0)).all()
    assert (decrypt(parameters, a, keys, total, 20) == vectors.sum(0)).all()
