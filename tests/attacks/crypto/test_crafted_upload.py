"""The documented weakness of `ckks`: one crafted upload, and the sum it opens shows the secret key."""

from typing import Any

import numpy as np
import pytest

from attacks.crypto.crafted_upload import craft, recover_key
from attacks.crypto.key_recovery import grid_point
from attacks.crypto.keys import fits_public_key
from attacks.errors import AttackError
from protocols import SumSpec, errors

SPECS = [
    SumSpec(9000, 20, 5, 1000, 20.0),  # one ciphertext, fields that end in padding
    SumSpec(36_000, 20, 5, 127, 2.0),  # several ciphertexts
    SumSpec(2000, 20, 5, 1 << 24),  # one prime, large values
    SumSpec(300, 20, 5, 100),  # shorter than the key: several rounds
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: str(spec.length))
def test_the_crafted_upload_among_sybils_makes_the_decryptor_show_its_key(make_target: Any, spec: SumSpec) -> None:
    target = make_target(spec)
    p = target.parameters
    sybils = [np.zeros(spec.length, np.int64)] * (spec.min_clients - 1)
    key = recover_key(p, target.public_key, lambda body: target.run(sybils, body)[1], amplitude=1)
    assert key is not None and set(np.unique(key)) == {-1, 0, 1}
    assert target.rounds <= -(-p.degree // (spec.length - spec.length % p.fields)) + 1

    # What it is good for: one client's upload, opened by its reader alone.
    values = np.random.default_rng(1).integers(-100, 100, spec.length)
    q = p.data_primes[0]
    noise = (target.decrypt(target.body(values), key) - grid_point(p, values) + q // 2) % q - q // 2
    assert np.abs(noise).max() <= p.noise_bound(1)


@pytest.mark.parametrize("spec", SPECS[:2], ids=lambda spec: str(spec.length))
def test_among_honest_clients_a_larger_amplitude_drowns_their_sum(make_target: Any, spec: SumSpec) -> None:
    target = make_target(spec)
    rng = np.random.default_rng(2)

    def send(body: bytes) -> Any:
        honest = np.rint(rng.normal(0, spec.value_bound / 8, (9, spec.length))).astype(np.int64)
        return target.run(list(honest), body)[1]

    key = recover_key(target.parameters, target.public_key, send, amplitude=spec.sum_bound_of(10) // 2)
    assert key is not None and fits_public_key(target.parameters, target.public_key, key)


def test_an_honest_sum_alone_shows_no_key(make_target: Any) -> None:
    spec = SPECS[0]
    target = make_target(spec)
    honest = np.random.default_rng(3).integers(-1, 1, (10, spec.length), endpoint=True)
    found = recover_key(
        target.parameters, target.public_key, lambda body: target.run(list(honest))[1], amplitude=1, max_rounds=3
    )
    assert found is None and target.rounds == 3


def test_an_amplitude_beyond_the_bound_of_those_counted_is_refused(make_target: Any) -> None:
    spec = SPECS[3]
    target = make_target(spec)
    body = craft(target.parameters, amplitude=spec.sum_bound_of(5) + 1).body
    with pytest.raises(errors.RangeError):
        target.run([np.zeros(300, np.int64)] * 4, body)
    for amplitude in (0, spec.sum_bound + 1):
        with pytest.raises(AttackError, match="amplitude must be"):
            craft(target.parameters, amplitude=amplitude)


def test_an_upload_whose_multiplier_is_off_the_grid_is_noise_that_the_decryptor_refuses(make_target: Any) -> None:
    target = make_target(SPECS[0])
    p = target.parameters
    residues = p.streams.zeros()
    # The constant K = scale / 2, whose transform is the constant.
    residues[:, p.n_coefficients :] = p.scale // 2
    with pytest.raises(errors.NoiseError):
        target.run([np.zeros(9000, np.int64)] * 4, p.streams.pack(residues))


@pytest.mark.parametrize("start", [0, 1, 700])
def test_each_opened_value_shows_the_coefficient_that_was_announced(make_target: Any, start: int) -> None:
    spec = SPECS[1]
    target = make_target(spec)
    sybils = [np.zeros(spec.length, np.int64)] * 4
    key = recover_key(target.parameters, target.public_key, lambda body: target.run(sybils, body)[1], amplitude=1)
    assert key is not None
    crafted = craft(target.parameters, amplitude=3, start=start)
    opened = target.run(sybils, crafted.body)[1]
    assert (opened == 3 * crafted.sign * key[crafted.coefficient]).all()
    assert np.abs(crafted.sign).sum() >= spec.length * (1 - 1 / target.parameters.fields)


def test_only_the_true_key_fits_the_public_key(make_target: Any) -> None:
    target, other = make_target(SPECS[3]), make_target(SPECS[3])
    sybils = [np.zeros(300, np.int64)] * 4
    p = target.parameters
    key = recover_key(p, target.public_key, lambda body: target.run(sybils, body)[1], amplitude=1)
    assert key is not None and fits_public_key(p, target.public_key, key)
    assert not fits_public_key(p, other.public_key, key)
    nearly = key.copy()
    nearly[5] = 1 if key[5] != 1 else 0
    for wrong in (-key, np.roll(key, 1), nearly, np.zeros_like(key)):
        assert not fits_public_key(p, target.public_key, wrong)
    with pytest.raises(errors.WrongLengthError):
        fits_public_key(p, target.public_key[:-8], key)
