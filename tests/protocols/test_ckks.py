"""What is particular to CKKS: an oracle that decrypts by the definition, noise, and who holds what."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tenseal.sealapi as seal
from numpy.typing import NDArray

from protocols import Address, LocalParties, ServerRound, Setup, SumSpec, enrol
from protocols.ckks import decryption
from protocols.ckks.encryption import Encryptor
from protocols.ckks.parameters import Parameters, choose
from protocols.ckks.seal_bytes import SealBytes, make_context
from protocols.codec import FRAME_BYTES, Kind, read_frame
from protocols.packing import Streams
from protocols.ring import Ring

SPECS = [SumSpec(300, 20, 2, 100), SumSpec(9000, 20, 2, 1000, 20.0), SumSpec(30_000, 20, 2, 127, 2.0)]
SINGLE_PRIME = SumSpec(2000, 20, 2, 1 << 24)


class Oracle:
    """A run of `n` clients whose secret key a test may look at, which the package itself never does."""

    def __init__(self, spec: SumSpec, monkeypatch: pytest.MonkeyPatch, n: int = 20) -> None:
        made: list[Any] = []
        key_generator = seal.KeyGenerator

        class Recording:
            def __init__(self, context: Any) -> None:
                self.generator = key_generator(context)
                made.append(self.generator)

            def __getattr__(self, name: str) -> Any:
                return getattr(self.generator, name)

        monkeypatch.setattr(decryption.seal, "KeyGenerator", Recording)
        self.run = enrol("ckks", spec, run_id=b"run", client_ids=range(n))
        monkeypatch.undo()
        self.parameters: Parameters = choose(spec)
        self.parties = LocalParties(self.run)
        self.server = self.run.server()
        context = make_context(self.parameters.degree, self.parameters.key_primes)
        n_primes = len(self.parameters.key_primes)
        self.secret = SealBytes(context).plaintext(made[0].secret_key(), n_primes, self.parameters.degree)

    def collect(self, values: NDArray[np.int64], round_number: int = 0) -> ServerRound:
        """A round in which row i is client i's vector, ready for its decryptor."""
        opened = self.server.open_round(round_number, context=bytes(32), min_survivors=2, cohort=range(len(values)))
        self.parties.values = dict(enumerate(values))
        for to, message in opened.outbox().items():
            answer = self.parties(to, message)
            assert answer is not None
            opened.receive(answer)
        opened.close_phase()
        return opened

    def request(self, opened: ServerRound) -> bytes:
        (message,) = opened.outbox().values()
        return message

    def residues(self, opened: ServerRound) -> NDArray[np.uint64]:
        body = read_frame(self.request(opened)).body
        streams = self.parameters.streams
        residues = streams.zeros()
        streams.unpack(body[len(body) - streams.n_bytes :], residues, what="It")
        return residues

    def open(self, opened: ServerRound) -> NDArray[np.int64]:
        opened.receive(self.run.decryptors[0].answer(self.request(opened)))
        opened.close_phase()
        return opened.result.values

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
    oracle = Oracle(spec, monkeypatch)
    p = oracle.parameters
    values = np.random.default_rng(5).integers(-spec.value_bound, spec.value_bound, (20, spec.length), endpoint=True)
    opened = oracle.collect(values)
    expected = values.sum(0)
    padded = np.zeros(p.fields * p.n_coefficients, object)
    padded[: spec.length] = expected
    message = sum(row * (p.scale * p.radix**f) for f, row in enumerate(padded.reshape(p.fields, -1)))
    noise = (oracle.coefficients(oracle.residues(opened)) - message).astype(np.float64)
    bound = p.noise_bound(20)
    assert np.abs(noise).max() <= bound
    # Neither zero nor far below what the proof allows for: 12 deviations, of a proxy up to 4 times the variance.
    assert bound / 40 < noise.std() < bound / 8
    assert (oracle.open(opened) == expected).all()


def test_uploads_of_equal_values_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    oracle = Oracle(SPECS[0], monkeypatch)
    opened = oracle.collect(np.zeros((20, 300), np.int64))
    assert len({record.body_digest for record in opened.uploads.values()}) == 20


def test_a_sum_encrypted_under_another_key_is_refused_as_too_noisy(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = Oracle(SPECS[1], monkeypatch), Oracle(SPECS[1], monkeypatch)
    values = np.ones((3, 9000), np.int64)
    opened, foreign = ours.collect(values), theirs.collect(values)
    body = bytes(read_frame(ours.request(opened)).body)
    n_bytes = ours.parameters.streams.n_bytes
    forged_body = body[:-n_bytes] + bytes(read_frame(theirs.request(foreign)).body)[-n_bytes:]
    header = read_frame(ours.request(opened)).header
    with pytest.raises(decryption.NoiseError, match="Noise too large: The request of the server for round 0"):
        ours.run.decryptors[0].answer(header.write(ours.run.server_identity, forged_body))


def test_setup_and_messages_hold_no_secret_key(monkeypatch: pytest.MonkeyPatch) -> None:
    oracle = Oracle(SPECS[1], monkeypatch)
    p = oracle.parameters
    opened = oracle.collect(np.zeros((2, 9000), np.int64))
    request = oracle.request(opened)
    answer = oracle.run.decryptors[0].answer(request)
    for index, (transformed, q) in enumerate(zip(oracle.secret, p.key_primes, strict=True)):
        coefficients = transformed.copy()
        Ring.of(p.degree, q).inverse(coefficients)
        signs = np.where(coefficients > 1, -1, coefficients.astype(np.int8)).astype(np.int8)
        assert set(np.unique(signs)) == {-1, 0, 1}
        for polynomial in (transformed, coefficients):
            assert (polynomial < q).all(), index
            packed = Streams((q,), p.degree).pack(polynomial[None, :])
            for form in (polynomial[:8].tobytes(), packed[:32], signs[:64].tobytes()):
                assert all(form not in public for public in (oracle.run.setup, request, answer))


def test_public_key_is_an_encryption_of_zero_under_the_secret_key(monkeypatch: pytest.MonkeyPatch) -> None:
    oracle = Oracle(SPECS[1], monkeypatch)
    p = oracle.parameters
    streams = Streams(p.key_primes, 2 * p.degree)
    residues = streams.zeros()
    streams.unpack(Setup.from_bytes(oracle.run.setup).public_keys[:-64], residues, what="It")
    for row, q, secret in zip(residues, p.key_primes, oracle.secret, strict=True):
        b, a = row.reshape(2, -1).astype(object)
        error = ((b + a * secret.astype(object)) % q).astype(np.uint64)
        Ring.of(p.degree, q).inverse(error)
        centred = np.where(error > q // 2, error.astype(object) - q, error.astype(object))
        assert 0 < max(abs(centred)) <= 21
        assert 9 < np.var(centred.astype(float)) < 12  # 10.5 by design; 6 deviations over the coefficients


def test_nothing_secret_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    oracle = Oracle(SPECS[0], monkeypatch)
    decryptor: Any = oracle.run.decryptors[0]
    for thing in (decryptor, decryptor._key, oracle.run.client(0), oracle.server, oracle.run):
        text = repr(thing) + str(thing)
        assert len(text) < 700
        for residue in oracle.secret[0, :50]:
            assert str(residue) not in text


def test_clients_of_one_process_share_one_encryptor_and_none_of_its_randomness(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    original = Encryptor.__init__
    monkeypatch.setattr(Encryptor, "__init__", lambda *a: (made.append(a), original(*a))[1])
    run = enrol("ckks", SPECS[0], run_id=b"run", client_ids=range(5))
    for client in range(5):
        run.client(client)
    assert len(made) == 1


@pytest.mark.parametrize(
    ("role", "forbidden"),
    [
        ("client", ["protocols.ckks.decryptor", "protocols.ckks.decryption", "protocols.ckks.server"]),
        ("server", ["protocols.ckks.decryptor", "protocols.ckks.decryption", "protocols.ckks.client", "tenseal"]),
    ],
)
def test_a_role_loads_nothing_of_the_roles_it_must_not_play(role: str, forbidden: list[str]) -> None:
    run = enrol("ckks", SPECS[0], run_id=b"run", client_ids=range(2))
    identity = run.server_identity if role == "server" else run.client_identities[1]
    program = (
        "import sys; from protocols.registry import PROTOCOLS, load; from protocols.identity import Identity; "
        "setup, identity, pinned = (bytes.fromhex(line) for line in sys.stdin.read().split()); "
        f"place, options = PROTOCOLS['ckks'].{role}, {dict(min_survivors=2) if role == 'client' else {}}; "
        "made = load(place)(setup, Identity.from_bytes(identity), pinned, **options); "
        f"print(sorted(set(sys.modules) & set({forbidden})))"
    )
    given = "\n".join(data.hex() for data in (run.setup, identity.to_bytes(), run.enrolment.public))
    done = subprocess.run([sys.executable, "-c", program], input=given, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_upload_has_the_size_that_the_parameters_say(monkeypatch: pytest.MonkeyPatch) -> None:
    oracle = Oracle(SPECS[2], monkeypatch, n=2)
    opened = oracle.server.open_round(0, context=bytes(32), min_survivors=2)
    oracle.parties.values = {0: np.zeros(30_000, np.int64)}
    upload = oracle.parties(Address("client", 0), opened.broadcast.data)
    assert upload is not None and len(upload) == FRAME_BYTES[Kind.UPLOAD] + oracle.parameters.streams.n_bytes


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
    p = choose(SPECS[0])
    key = decryption.SecretKey(p)
    encryptor = Encryptor(p, key.public)
    body = encryptor.encrypt(np.arange(300) % 7)
    folders = list(tmp_path.iterdir())
    assert len(folders) == 2 and all(folder.stat().st_mode & 0o77 == 0 for folder in folders)
    residues = p.streams.zeros()
    p.streams.unpack(body, residues, what="It")
    assert (decryption.decode(p, key.decrypt(residues), 1, what="It") == np.arange(300) % 7).all()
    del key, encryptor
    assert not list(tmp_path.iterdir())


def test_residues_that_seal_finds_invalid_are_not_loaded() -> None:
    p = choose(SPECS[0])
    moved = SealBytes(make_context(p.degree, p.key_primes))
    residues = np.zeros((2, len(p.data_primes), p.degree), np.uint64)
    residues[0, 0, 0] = p.data_primes[0]
    with pytest.raises(RuntimeError):
        moved.load_ciphertext(residues, seal.Ciphertext(), moved.context.first_parms_id())
