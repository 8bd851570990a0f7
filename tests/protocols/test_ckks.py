"""What is particular to CKKS: an oracle that decrypts by the definition, noise, tampering, and who holds what."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tenseal.sealapi as seal
from numpy.typing import NDArray

import protocols
from protocols import SumSpec, errors
from protocols.ckks import decryptor as decryptor_module
from protocols.ckks.parameters import Parameters, choose
from protocols.ckks.seal_bytes import SealBytes, make_context
from protocols.codec import HEADER_BYTES, Kind, read_bundle, read_frame, write_sum
from protocols.packing import Streams
from protocols.ring import Ring

SPECS = [SumSpec(300, 20, 1, 100), SumSpec(9000, 20, 1, 1000, 20.0), SumSpec(30_000, 20, 1, 127, 2.0)]
SINGLE_PRIME = SumSpec(2000, 20, 1, 1 << 24)


class Opened:
    """A decryptor whose secret key a test may look at, which the package itself never does."""

    def __init__(self, spec: SumSpec, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[Any] = []
        key_generator = seal.KeyGenerator

        class Recording:
            def __init__(self, context: Any) -> None:
                self.generator = key_generator(context)
                made.append(self.generator)

            def __getattr__(self, name: str) -> Any:
                return getattr(self.generator, name)

        monkeypatch.setattr(decryptor_module.seal, "KeyGenerator", Recording)
        self.parameters: Parameters = choose(spec)
        self.key = protocols.decryptor("ckks", spec, run_id=b"run")
        monkeypatch.undo()
        context = make_context(self.parameters.degree, self.parameters.key_primes)
        n_primes = len(self.parameters.key_primes)
        self.secret = SealBytes(context).plaintext(made[0].secret_key(), n_primes, self.parameters.degree)
        self.bundle = self.key.bundle()
        self.client = protocols.client(self.bundle)

    def aggregate(self, values: NDArray[np.int64], round_number: int = 0) -> bytes:
        server = protocols.server(self.bundle, round_number=round_number)
        for client, row in enumerate(values):
            server.add(self.client.protect(row, round_number=round_number, client_id=client))
        return server.aggregate()

    def residues(self, aggregate: bytes) -> NDArray[np.uint64]:
        frame = read_frame(aggregate, Kind.AGGREGATE)
        streams = self.parameters.streams
        residues = streams.zeros()
        streams.unpack(frame.body[len(frame.body) - streams.n_bytes :], residues, what="It")
        return residues

    def coefficients(self, residues: NDArray[np.uint64]) -> NDArray[np.object_]:
        """c_0 + c_1 s modulo the product of the data primes, centred, at the carrying coefficients."""
        p = self.parameters
        total = np.zeros(p.n_coefficients, object)
        for row, q, secret in zip(residues, p.data_primes, self.secret, strict=False):
            ring = Ring.of(p.degree, q)
            plain = row[: p.n_coefficients].astype(object)
            for i in range(p.n_ciphertexts):
                c1 = row[p.n_coefficients + i * p.degree :][: p.degree].astype(object)
                product = (c1 * secret.astype(object) % q).astype(np.uint64)
                ring.inverse(product)
                part = slice(i * p.degree, min((i + 1) * p.degree, p.n_coefficients))
                plain[part] += product[: part.stop - part.start].astype(object)
            others = p.modulus // q
            total = (total + plain * (others * pow(others, -1, q))) % p.modulus
        return np.where(total > p.modulus // 2, total - p.modulus, total)


@pytest.mark.parametrize("spec", [*SPECS, SINGLE_PRIME], ids=lambda s: str(s.length))
def test_decryption_by_the_definition_gives_the_same_sum_and_noise_within_the_bound(
    spec: SumSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Opened(spec, monkeypatch)
    p = opened.parameters
    values = np.random.default_rng(5).integers(-spec.value_bound, spec.value_bound, (20, spec.length), endpoint=True)
    aggregate = opened.aggregate(values)
    expected = values.sum(0)
    padded = np.zeros(p.fields * p.n_coefficients, object)
    padded[: spec.length] = expected
    message = sum(row * (p.scale * p.radix**f) for f, row in enumerate(padded.reshape(p.fields, -1)))
    noise = (opened.coefficients(opened.residues(aggregate)) - message).astype(np.float64)
    bound = p.noise_bound(20)
    assert np.abs(noise).max() <= bound
    # Neither zero nor far below what the proof allows for: 12 deviations, of a proxy up to 4 times the variance.
    assert bound / 40 < noise.std() < bound / 8
    assert (opened.key.open(aggregate) == expected).all()


def test_uploads_of_equal_values_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    client = protocols.client(protocols.decryptor("ckks", SPECS[0], run_id=b"run").bundle())
    values = np.zeros(300, np.int64)
    bodies = {client.protect(values, round_number=0, client_id=0)[HEADER_BYTES:] for _ in range(3)}
    assert len(bodies) == 3


@pytest.mark.parametrize("stream", ["c0", "c1"])
@pytest.mark.parametrize("spec", [*SPECS, SINGLE_PRIME], ids=lambda s: str(s.length))
def test_a_tampered_aggregate_is_not_opened_and_spends_the_round(spec: SumSpec, stream: str) -> None:
    key = protocols.decryptor("ckks", spec, run_id=b"run")
    server = protocols.server(key.bundle(), round_number=0)
    server.add(protocols.client(key.bundle()).protect(np.ones(spec.length, np.int64), round_number=0, client_id=1))
    aggregate = bytearray(server.aggregate())
    p = choose(spec)
    width = p.streams.widths[0]
    bit = 8 * (HEADER_BYTES + 16) + width * (p.n_coefficients if stream == "c1" else 0) + width - 3
    aggregate[bit // 8] ^= 1 << bit % 8
    with pytest.raises((errors.NoiseError, errors.RangeError), match="aggregate of round 0"):
        key.open(bytes(aggregate))
    with pytest.raises(errors.SpentRoundError):
        key.open(server.aggregate())


def test_a_sum_encrypted_under_another_key_is_refused_as_too_noisy_even_with_forged_ids() -> None:
    spec = SPECS[1]
    key, other = (protocols.decryptor("ckks", spec, run_id=b"run") for _ in range(2))
    server = protocols.server(other.bundle(), round_number=0)
    server.add(protocols.client(other.bundle()).protect(np.ones(spec.length, np.int64), round_number=0, client_id=1))
    foreign = server.aggregate()
    ours = protocols.server(key.bundle(), round_number=0).aggregate()
    forged = ours[: HEADER_BYTES - 8] + foreign[HEADER_BYTES - 8 :]
    with pytest.raises(errors.NoiseError, match="Noise too large: The aggregate of round 0"):
        key.open(forged)


def test_an_aggregate_of_zeros_under_forged_names_opens_to_zeros() -> None:
    # SEAL calls such a ciphertext transparent. It tells nothing about the key, and nothing may break on it.
    key = protocols.decryptor("ckks", SPECS[0], run_id=b"run")
    empty = protocols.server(key.bundle(), round_number=7).aggregate()
    streams = choose(SPECS[0]).streams
    body = write_sum({1, 2}, streams.pack(streams.zeros()))
    assert not key.open(empty[: HEADER_BYTES - 8] + len(body).to_bytes(8, "little") + body).any()


def test_a_sum_out_of_range_is_refused() -> None:
    spec = SumSpec(300, 20, 1, 100)
    key = protocols.decryptor("ckks", spec, run_id=b"run")
    liar = protocols.client(key.bundle())
    vars(liar.spec)["upload_bound"] = 10**9
    server = protocols.server(key.bundle(), round_number=0)
    server.add(liar.protect(np.full(300, 150), round_number=0, client_id=1))
    with pytest.raises(errors.RangeError, match="beyond 100"):
        key.open(server.aggregate())


def test_bundle_and_aggregate_hold_no_secret_key(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Opened(SPECS[1], monkeypatch)
    p = opened.parameters
    aggregate = opened.aggregate(np.zeros((2, 9000), np.int64))
    for index, (transformed, q) in enumerate(zip(opened.secret, p.key_primes, strict=True)):
        coefficients = transformed.copy()
        Ring.of(p.degree, q).inverse(coefficients)
        signs = np.where(coefficients > 1, -1, coefficients.astype(np.int8)).astype(np.int8)
        assert set(np.unique(signs)) == {-1, 0, 1}
        for polynomial in (transformed, coefficients):
            assert (polynomial < q).all(), index
            packed = Streams((q,), p.degree).pack(polynomial[None, :])
            for form in (polynomial[:8].tobytes(), packed[:32], signs[:64].tobytes()):
                assert form not in opened.bundle and form not in aggregate


def test_public_key_is_an_encryption_of_zero_under_the_secret_key(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Opened(SPECS[1], monkeypatch)
    p = opened.parameters
    _, _, public_key = read_bundle(opened.bundle)
    streams = Streams(p.key_primes, 2 * p.degree)
    residues = streams.zeros()
    streams.unpack(public_key, residues, what="It")
    for row, q, secret in zip(residues, p.key_primes, opened.secret, strict=True):
        b, a = row.reshape(2, -1).astype(object)
        error = ((b + a * secret.astype(object)) % q).astype(np.uint64)
        Ring.of(p.degree, q).inverse(error)
        centred = np.where(error > q // 2, error.astype(object) - q, error.astype(object))
        assert 0 < max(abs(centred)) <= 21
        assert 9 < np.var(centred.astype(float)) < 12  # 10.5 by design; 6 deviations over the coefficients


def test_nothing_secret_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Opened(SPECS[0], monkeypatch)
    for role in (opened.key, opened.client, protocols.server(opened.bundle, round_number=0)):
        text = repr(role) + str(role)
        assert len(text) < 300
        for residue in opened.secret[0, :50]:
            assert str(residue) not in text


@pytest.mark.parametrize(
    ("role", "forbidden"),
    [
        ("protocols.client(bundle)", ["protocols.ckks.decryptor", "protocols.ckks.server"]),
        ("protocols.server(bundle, round_number=0)", ["protocols.ckks.decryptor", "protocols.ckks.client", "tenseal"]),
    ],
)
def test_a_role_loads_nothing_of_the_roles_it_must_not_play(role: str, forbidden: list[str]) -> None:
    bundle = protocols.decryptor("ckks", SPECS[0], run_id=b"run").bundle()
    program = (
        f"import sys, protocols; bundle = bytes.fromhex(sys.stdin.read()); made = {role}; "
        f"print(sorted(set(sys.modules) & set({forbidden})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=bundle.hex(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_seal_objects_leave_no_bytes_and_no_files_behind() -> None:
    p = choose(SPECS[0])
    moved = SealBytes(make_context(p.degree, p.key_primes))
    key = seal.PublicKey()
    seal.KeyGenerator(moved.context).create_public_key(key)
    residues = moved.ciphertext(key, len(p.key_primes), p.degree)
    assert residues.any()
    again = seal.PublicKey()
    moved.load_ciphertext(residues, again, moved.context.key_parms_id())
    assert (moved.ciphertext(again, len(p.key_primes), p.degree) == residues).all()
    with open(moved._path, "rb") as file:
        assert file.read() == b""


def test_a_folder_serves_where_anonymous_memory_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delattr("os.memfd_create", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    key = protocols.decryptor("ckks", SPECS[0], run_id=b"run")
    client = protocols.client(key.bundle())
    server = protocols.server(key.bundle(), round_number=0)
    server.add(client.protect(np.arange(300) % 7, round_number=0, client_id=1))
    folders = list(tmp_path.iterdir())
    assert len(folders) == 2 and all(folder.stat().st_mode & 0o77 == 0 for folder in folders)
    assert (key.open(server.aggregate()) == np.arange(300) % 7).all()
    del key, client
    assert not list(tmp_path.iterdir())


def test_residues_that_seal_finds_invalid_are_not_loaded() -> None:
    p = choose(SPECS[0])
    moved = SealBytes(make_context(p.degree, p.key_primes))
    residues = np.zeros((2, len(p.data_primes), p.degree), np.uint64)
    residues[0, 0, 0] = p.data_primes[0]
    with pytest.raises(RuntimeError):
        moved.load_ciphertext(residues, seal.Ciphertext(), moved.context.first_parms_id())
